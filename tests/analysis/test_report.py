"""The HTML report of runs: its figures, what it leaves out, and that it needs no other file."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import environments
import numpy as np
import pytest
from edits import edit
from environments import OFTEN, TINY_DQN, TINY_SAC
from PIL import Image

import sparl
from sparl import analysis, methods
from sparl.analysis import report
from sparl.cli import main
from sparl.errors import BadFile, BadRun, BadValue
from sparl.storage import files
from sparl.training import inspect

STEPS, POINT = "environments:Steps-v0", "environments:Point-v0"
METHODS = {
    "dense": methods.Dense(),
    "rnm": methods.RNM("1:4", interval=30),
    "static": methods.Static(0.8),
    "gst": methods.GST(interval=100, smallest=2, sparsity=0.3, increment=0.3, tolerance=1.0),
    "dsp": methods.DSP(interval=10, begin=0.1, end=0.6, tolerance=1.0),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of each kind of layout with DQN, a second seed, and one of SAC without an update."""
    folder = tmp_path_factory.mktemp("trained")
    for name, method in METHODS.items():
        sparl.train(STEPS, TINY_DQN, method, out=folder / name, **OFTEN)
    sparl.train(STEPS, TINY_DQN, out=folder / "dense-1", seed=1, **OFTEN)
    sparl.train(POINT, TINY_SAC, METHODS["rnm"], out=folder / "sac", **OFTEN | {"steps": 40})
    return folder


def copied(run, tmp_path, name="run"):
    shutil.copytree(run, tmp_path / name)
    return tmp_path / name


class ReportParser(HTMLParser):
    """A report's elements with their attributes, its tables by caption, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(self.source)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass
        if tag == "table":
            self.tables[self._caption.strip()] = self._rows

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.texts.append(data)
        if "table" in self._open and "caption" in self._open:
            self._caption += data
        elif "td" in self._open or ("th" in self._open and "table" in self._open):
            self._rows[-1][-1] += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def cells(self, caption: str) -> list[list[str]]:
        return [[" ".join(cell.split()) for cell in row] for row in self.tables[caption]]


def write_report(runs, tmp_path, **options) -> ReportParser:
    return ReportParser(report(runs, tmp_path / "report.html", **{"video": False} | options))


@pytest.mark.parametrize("name", [*METHODS, "sac"])
def test_figures_equal_those_of_the_summary_and_of_inspect(trained, tmp_path, name):
    html = write_report(trained / name, tmp_path)
    summary = json.loads((trained / name / "summary.json").read_text())
    networks = inspect(trained / name)["networks"]
    kept, total = summary["policy_weights_kept"], summary["policy_weights_total"]
    for expected in (
        f"Policy's return {summary['evals'][-1]['return']:.1f} mean over 2 episodes",
        f"late training {summary['final_return']:.1f}",
        f"Best evaluation {summary['best_return']:.1f}",
        f"Policy's weights {kept:,} of {total:,}: {kept / total:.1%}",
        f"{summary['policy_bytes']:,} bytes; dense",
        *(
            f"{words} {summary[f'average_compression_ratio{of}']:.3f}"
            for words, of in {"Average compression": "", "with indices": "_with_indices"}.items()
            if name != "sac"  # an average over updates
        ),
        f"{summary['steps_per_second']:,.0f} steps/s",
    ):
        assert expected in html.text
    rows = html.cells("What each layer of the policy holds")
    assert rows[-1][2:] == [
        f"{count:,}" for count in (kept, total, summary["policy_bytes"], macs(trained / name))
    ]
    # SAC's actor has rows more than its policy; all other layers are one and the same.
    actor = networks["q" if "q" in networks else "actor"]["layers"]
    for row, layer in zip(rows[1:-1], actor[:-1], strict=False):
        shape, before = (" × ".join(map(str, layer[k])) for k in ("shape", "original_shape"))
        size = shape if shape == before else f"{shape}, was {before}"
        assert row[:4] == [layer["name"], layer["layout"], layer["pattern"] or "", size]
        assert row[4] == f"{layer['kept']:,}"
        assert row[6:] == [f"{layer['bytes']:,}", f"{layer['macs']:,}"]
    everything = html.cells("What each layer of each network holds")
    assert [row[0] for row in everything if len(row) == 1] == list(networks)
    totals = [row[2] for row in everything if row[0] == "total"]
    assert totals == [f"{network['weights_kept']:,}" for network in networks.values()]
    assert "Left out" not in html.text


def macs(run: Path) -> int:
    (network,) = inspect(run / "policy")["networks"].values()
    return network["macs"]


def picture(element: dict[str, str]) -> np.ndarray:
    kind, content = element["src"].split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("name", METHODS)
def test_pictures_show_which_weights_are_stored(trained, tmp_path, name):
    html = write_report(trained / name, tmp_path)
    layers = sparl.load(trained / name).policy.network.layers
    shown = [e for e in html.of("img") if e.get("class") == "matrix"]
    for element, layer in zip(shown, layers, strict=True):
        pixels, weights = picture(element), np.asarray(layer.to_dense())
        assert pixels.shape == (*layer.shape, 4)
        kept = np.asarray(layer.active()) > 0
        np.testing.assert_array_equal(pixels[..., 3] > 0, kept)
        red, _, blue, _ = np.moveaxis(pixels.astype(int), -1, 0)
        np.testing.assert_array_equal((red > blue)[kept], (weights >= 0)[kept])
        assert f"{layer.kept:,} are stored ({layer.name}" in element["alt"]
    cut = any(layer.shape[0] < 16 for layer in layers[:-1])
    assert cut == (name == "dsp") == ("was 16 × 16" in html.text)


def test_runs_are_grouped_and_aggregated_as_compare_does(trained, tmp_path):
    runs = [trained / name for name in ("dense", "rnm", "dense-1")]
    html = write_report(runs, tmp_path)
    compared = sparl.compare(runs)
    rows = html.cells("Variants, aggregated over their seeds")
    assert rows[0][:3] == ["variant", "seeds", "policy's return"]
    for row, variant in zip(rows[1:], compared.variants, strict=True):
        assert row[:3] == [variant.label, str(len(variant.seeds)), f"{variant.policy_return:.1f}"]
        assert f"{variant.policy_weights_kept:,.0f}" in row
    for note in compared.notes:
        assert note in html.text
    alts = [e["aria-label"] for e in html.of("svg") if e.get("role") == "img"]
    ends = {run: json.loads((run / "summary.json").read_text())["evals"] for run in runs}
    (description,) = (
        alt for alt in alts if alt.startswith("Evaluation return against environment steps")
    )
    for run, label in zip(runs, ("dense, seed 0", "rnm, seed 0", "dense, seed 1"), strict=True):
        first, *_, last = ends[run]
        assert f"{label}: {first['return']:.1f} to {last['return']:.1f}" in description
    assert any(alt.startswith("The policy's return against its kept weights") for alt in alts)


def test_environments_have_sections_and_incomparable_runs_are_shown_with_the_reason(
    trained, tmp_path
):
    again = copied(trained / "dense", tmp_path, "again")
    html = write_report([trained / "dense", again, trained / "sac"], tmp_path)
    assert "2 runs" not in html.text
    assert "3 runs of 2 variants" in html.text
    assert f"{trained / 'dense'} and {again} are the same variant with the same seed" in html.text
    titles = re.findall(r"<h2>(.*?)</h2>", html.source)
    assert titles == [STEPS, POINT]


def test_an_unfinished_run_is_shown_up_to_its_newest_step(trained, tmp_path):
    run = copied(trained / "rnm", tmp_path)
    edit(run / "config.json", lambda content: content["run"].update(steps=400))
    with open(run / "metrics.csv", "a", encoding="utf-8") as file:
        file.write("300,99")  # a row that is being written
    html = write_report([run, trained / "dense"], tmp_path)
    assert "unfinished: step 200 of 400" in html.text
    assert "rnm steps=400, unfinished" in html.text
    newest = json.loads((run / "summary.json").read_text())["evals"][-1]["return"]
    assert f"Newest return {newest:.1f} at step 200" in html.text
    shutil.rmtree(run / "checkpoints")
    (run / "summary.json").unlink()
    (run / "metrics.csv").write_text("step,eval_return\n")
    html = write_report(run, tmp_path)
    assert "unfinished: step 0 of 400" in html.text
    assert "no evaluation so far" in html.text


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def table(run: Path, content: bytes) -> None:
    """Another metrics.csv, of which the summary knows nothing."""
    (run / "metrics.csv").write_bytes(content)
    edit(run / "summary.json", lambda summary: summary.pop("tables"))


def altered(path: Path) -> None:
    """A digit of the last row becomes another."""
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda run: remove(run / "checkpoints"), "the policy: .* has no checkpoint yet"),
        (
            lambda run: remove(run / "policy"),
            "its layers and a film of it: .*policy.json is missing",
        ),
        (lambda run: remove(run / "metrics.csv"), "All curves: .*metrics.csv is missing"),
        (lambda run: table(run, b"step,b\n1,x\n"), "metrics.csv .*line 2, column b is 'x'"),
        (lambda run: table(run, b"step,b\n1,2,3\n"), "line 2 has 3 cells and line 1 has 2"),
        (lambda run: table(run, b"step,step\n1,2\n"), "has a column twice"),
        (lambda run: table(run, b"a,b\n1,2\n"), "has no column step"),
        (lambda run: table(run, b"\xff\n"), "metrics.csv cannot be read"),
        (lambda run: altered(run / "metrics.csv"), "metrics.csv is altered: its digest"),
        (lambda run: altered(run / "restructures.csv"), "restructures.csv is altered: its digest"),
        (lambda run: (run / "summary.json").write_text("{"), "summary.json cannot be read"),
        (lambda run: (run / "summary.json").write_text("[]"), "summary.json .* no JSON object"),
        (lambda run: (run / "summary.json").write_text("{}"), "summary.json .*env: it is missing"),
    ],
)
def test_what_cannot_be_shown_is_listed_with_the_reason(trained, tmp_path, change, reason):
    run = copied(trained / "rnm", tmp_path)
    change(run)
    html = write_report(run, tmp_path)
    assert re.search(f"Left out .*{reason}", html.text)
    assert "How to repeat this run" in html.text


def test_restructurings_are_drawn_and_constant_figures_listed(trained, tmp_path):
    html = write_report(trained / "dsp", tmp_path)
    with open(trained / "dsp" / "restructures.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    alts = " ".join(e.get("aria-label", "") for e in html.of("svg"))
    ends = [float(rows[i]["neurons_q"]) for i in (0, -1)]
    assert (
        f"Hidden neurons against environment steps. neurons_q: {ends[0]:g} to {ends[1]:g}" in alts
    )
    assert "Never changed: " in html.text
    assert f"dsp changed about the networks, {len(rows)} times in all" in html.text
    assert "Neurons that are left in the hidden layers." in html.text
    with open(trained / "dsp" / "metrics.csv", encoding="utf-8", newline="") as file:
        losses = [row["loss"] for row in csv.DictReader(file) if row["loss"]]
    ends = f"{float(losses[0]):g} to {float(losses[-1]):g}"
    assert f"Loss against environment steps: {ends}" in alts


def test_the_command_versions_and_configuration_to_repeat_a_run_are_shown(trained, tmp_path):
    html = write_report(trained / "rnm", tmp_path)
    config = json.loads((trained / "rnm" / "config.json").read_text())
    command = f"sparl train {STEPS} --agent dqn --method rnm --steps 200 --pattern 1:4"
    assert command in "".join(html.texts)
    for name, version in config["versions"].items():
        assert f"{name} {version}" in html.text
    assert f"cores {config['machine']['cores']}" in html.text
    assert (
        json.dumps(config, indent=2, sort_keys=True).split()
        == html.text[html.text.index("config.json {") :].split()[1:][
            : len(json.dumps(config, indent=2).split())
        ]
    )


def test_a_pruned_run_shows_the_command_that_prunes_its_source_again(trained, tmp_path):
    run = copied(trained / "dsp", tmp_path)
    begun_from = "/elsewhere/first/checkpoints/step-000000200"
    edit(run / "config.json", lambda content: content["run"].update(begun_from=begun_from))
    html = write_report(run, tmp_path)
    assert "sparl prune /elsewhere/first --method dsp --steps 200" in html.text
    assert "the networks of another run, /elsewhere/first, which must exist" in html.text


def test_exports_and_their_measurements_are_listed(trained, tmp_path):
    run = copied(trained / "rnm", tmp_path)
    exported = sparl.export(run)
    (run / "export" / "other").mkdir()
    (run / "export" / "other" / "export.json").write_text("{" * 1234)  # not read, but listed
    device = {"flash": 4000, "ram": 900, "instructions": 1234.0, "cortex_m4": "passed"}
    (run / "export" / "c-float32" / "device.json").write_text(json.dumps(device))
    row = {"told": "exported C", "median_us": 1.25, "p99_us": 2.0}
    (run / "export" / "latency.json").write_text(json.dumps({"rows": [row, {"told": "half"}]}))
    (run / "export" / "odd").mkdir()
    (run / "export" / "odd" / "export.json").write_text('{"to": 3, "error": [1]}')
    html = write_report(run, tmp_path)
    assert html.cells("On an emulated Cortex-M4F")[1:] == [["float32", "4,000", "900", "1,234"]]
    assert html.cells("One action, in microseconds")[1:] == [["exported C", "1.2", "2.0"]]
    files = dict(html.cells("Files in the run folder"))
    assert files["export/other/export.json"] == "1,234"
    assert {"export/c-float32/policy.c", "export/c-float32/policy.h"} <= files.keys()
    (run / "export" / "latency.json").write_text('{"rows": 5}')
    assert "One action, in microseconds" not in write_report(run, tmp_path).tables
    (row,) = html.cells("Exported by sparl export")[1:]
    assert row == ["c", "float32", f"{exported['bytes']:,}", f"{exported['error']['max']:.1e}"]
    size = (run / "policy" / "policy.safetensors").stat().st_size
    assert files["policy/policy.safetensors"] == f"{size:,}"
    parts = {name: int(n.replace(",", "")) for name, n in html.cells("Bytes of the policy")}
    total = parts.pop("total")
    dense = parts.pop("the dense network")
    assert sum(parts.values()) == total < dense
    assert total == json.loads((run / "summary.json").read_text())["policy_bytes"]


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> $\\frac{"


def test_names_with_markup_are_escaped(trained, tmp_path):
    run = copied(trained / "rnm", tmp_path, EVIL.replace("/", ""))
    edit(run / "config.json", lambda content: content["run"].update(env=EVIL))
    edit(run / "config.json", lambda content: content.update(versions={EVIL: EVIL}))
    edit(run / "summary.json", lambda content: content.update(env=EVIL, tables={}))
    table = (run / "restructures.csv").read_text()
    (run / "restructures.csv").write_text(table.replace("kept_q", "kept_<b>q$^"))
    for runs in (run, [run, trained / "dense"]):
        html = write_report(runs, tmp_path, video=True)
        assert not html.of("script") and not html.of("b onerror")
        assert not [a for _, attributes in html.elements for a in attributes if a[:2] == "on"]
        assert EVIL in "".join(html.texts)
        assert "<b>q$^" in html.text
        assert_self_contained(html)


def assert_self_contained(html: ReportParser) -> None:
    for tag, attributes in html.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "a")
        for name in ("src", "href", "xlink:href", "srcset", "poster", "data", "action"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/", "data:video/", "#")), attributes
    assert not re.search(r"url\((?!#)|@import|@font-face", html.source)
    (policy,) = (e["content"] for e in html.of("meta") if "http-equiv" in e)
    assert policy.startswith("default-src 'none';")


def test_the_report_is_one_file_with_unique_ids_ordered_headings_and_described_pictures(
    trained, tmp_path
):
    for runs in ([trained / "dense", trained / "rnm", trained / "sac"], trained / "dsp"):
        html = write_report(runs, tmp_path, video=True)
        assert_self_contained(html)
        ids = [attributes["id"] for _, attributes in html.elements if "id" in attributes]
        referred = re.findall(r'(?:href="#|url\(#)([\w-]+)', html.source)
        assert set(referred) <= set(ids)
        levels = [int(tag[1]) for tag, _ in html.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        assert all(e.get("alt") for e in html.of("img"))
        assert all(e.get("aria-label") or "aria-hidden" in e for e in html.of("svg"))
        assert len(html.of("table")) == html.source.count("<caption>")
        assert html.elements[0] == ("html", {"lang": "en"})


def test_the_same_runs_give_the_same_bytes(trained, tmp_path):
    runs = [trained / name for name in ("dense", "rnm")]
    one = report(runs, tmp_path / "one.html", video=False).read_bytes()
    assert one == report(runs, tmp_path / "other.html", video=False).read_bytes()


def test_text_has_enough_contrast_in_light_and_dark():
    """WCAG: a contrast of 4.5 for text, of 3 for lines."""
    css = (Path(analysis.__file__).parent / "html" / "report.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in css.split("@media")[:2]
    )
    dark_block = css.split("@media")[2]
    for colors in (light, dict(re.findall(r"--([\w-]+): (#\w{6})", dark_block)) or dark):
        for ground in ("paper", "panel"):
            for text in ("ink", "quiet", "accent"):
                assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
            for i in range(10):
                assert contrast(colors[f"series-{i}"], colors[ground]) >= 3.0, (i, ground)
        assert contrast(colors["ink"], colors["warm"]) >= 4.5


def contrast(one: str, other: str) -> float:
    def luminance(color: str) -> float:
        shares = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_first_run_of_each_variant_is_filmed(trained, tmp_path):
    html = write_report([trained / n for n in ("dense", "dense-1", "rnm")], tmp_path, video=True)
    films = [e["src"] for e in html.of("img") if e["src"].startswith("data:image/gif")]
    films += [e["src"] for e in html.of("video")]
    assert len(films) == 2
    assert "Not filmed: dense, seed 0 is filmed for this variant." in html.text
    html = write_report(trained / "dense", tmp_path)
    assert "Not filmed, as no video was wanted." in html.text


@pytest.mark.parametrize("fault", ["render", "reset"])
def test_the_report_says_why_there_is_no_film(trained, tmp_path, monkeypatch, fault):
    def fail(self, **options):
        raise RuntimeError("the lamp is broken")

    monkeypatch.setattr(environments.Steps, fault, fail)
    html = write_report(trained / "dense", tmp_path, video=True)
    assert re.search("Not filmed: .*the lamp is broken", html.text)
    assert "Policy's return" in html.text


def test_errors_a_user_can_fix_are_one_sentence(trained, tmp_path, monkeypatch):
    with pytest.raises(BadRun, match="no runs to report on"):
        report([])
    with pytest.raises(BadRun, match="is no run folder of sparl and has none inside"):
        report(tmp_path)
    for out in (tmp_path, tmp_path / "nowhere" / "report.html"):
        with pytest.raises(BadValue, match="cannot be written: name a file in an existing folder"):
            report(trained, out)

    def full(path, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_bytes", full)
        with pytest.raises(BadValue, match="cannot be written: No space left on device"):
            write_report(trained / "dense", tmp_path)
    run = copied(trained / "dense", tmp_path)
    (run / "config.json").write_text("{")
    with pytest.raises(BadFile, match=r"config\.json cannot be read"):
        report(run, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_writes_the_report_and_its_progress(trained, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", str(trained / "dense"), "--out", str(out), "--video"]) == 0
    printed = capsys.readouterr()
    name, size, unit = printed.out.rsplit(maxsplit=2)
    assert name == f"{out}:" and float(size) > 0 and unit in ("kB", "MB")
    assert printed.err == f"reading {trained / 'dense'}\nfilming {trained / 'dense'}\n"
    silent = ["report", str(trained / "dense"), "--out", str(out), "--no-video", "--quiet"]
    assert main(silent) == 0
    assert capsys.readouterr().err == ""
    assert main(["report", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("sparl: ")
    assert sparl.report is report
