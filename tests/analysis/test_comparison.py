"""Comparison of finished runs: what is read, grouped, refused, aggregated and written."""

from __future__ import annotations

import copy
import csv
import json
import os
import shutil
import signal
import subprocess
import sys

import gymnasium as gym
import pytest
from edits import edit
from environments import OFTEN, TINY

import sparl
from sparl.analysis import plots, tables
from sparl.cli import main
from sparl.errors import BadFile, BadRun, BadValue
from sparl.networks import accounting
from sparl.training import inspect

ENV = "environments:Point-v0"
METHODS = {"dense": sparl.methods.Dense(), "rnm": sparl.RNM("1:4", interval=30)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A real run of each method."""
    folder = tmp_path_factory.mktemp("trained")
    for name, method in METHODS.items():
        sparl.train(ENV, TINY, method, out=folder / name, **OFTEN)
    return folder


@pytest.fixture
def make_run(trained, tmp_path):
    """Makes a run folder: a real run's, with another seed, options or evaluations.

    Evaluations are of steps 10, 20, …, each of 0.5 s; the final return is the last one.
    """

    def make(name, like="dense", seed=0, returns=(1.0, 2.0), summary=None, **options):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file in ("config.json", "summary.json"):
            shutil.copy(trained / like / file, folder)
        steps = [10 * (i + 1) for i in range(len(returns))]

        def config(content):
            content["run"]["seed"] = seed
            for key, value in options.items():
                of = next(part for part in ("run", "agent", "method") if key in content[part])
                content[of][key] = value

        def figures(content):
            del content["tables"]
            content["evals"] = [
                {"step": s, "return": r} for s, r in zip(steps, returns, strict=True)
            ]
            changed = {"seed": seed, "final_return": returns[-1], "wall_seconds": 4.0}
            content.update(changed | (summary or {}))
            content["steps"] = options.get("steps", content["steps"])
            content["env"] = options.get("env", content["env"])

        edit(folder / "config.json", config)
        edit(folder / "summary.json", figures)
        rows = [f"{step},{0.05 * step}" for step in steps]
        (folder / "metrics.csv").write_text("\n".join(["step,wall_seconds", *rows]) + "\n")
        return folder

    return make


def test_sizes_in_the_summary_equal_those_of_inspect(trained):
    for name in METHODS:
        summary = json.loads((trained / name / "summary.json").read_text())
        networks = inspect(trained / name)["networks"]
        online = [networks[n] for n in ("actor", "critic_0", "critic_1")]
        assert summary["weights_kept"] == sum(n["weights_kept"] for n in online)
        assert summary["weights_total"] == sum(n["weights_total"] for n in online)
        assert summary["policy_weights_kept"] == networks["actor"]["weights_kept"]
        assert summary["policy_weights_total"] == networks["actor"]["weights_total"]
        assert summary["policy_bytes"] == networks["actor"]["bytes"]
        assert (summary["weights_kept"] < summary["weights_total"]) == (name == "rnm")


def test_runs_of_one_variant_are_grouped_and_aggregated(make_run):
    make_run("b-2", seed=2, returns=(-8.0, -1.0, -3.0))
    make_run("b-1", seed=1, returns=(-9.0, -6.0, -1.0))
    make_run("rnm", "rnm", seed=5, returns=(-10.0, -9.5, -9.0))
    folder = make_run("b-3", seed=3, returns=(-9.0, -8.0, -5.0)).parent
    compared = sparl.compare(folder)
    assert [v.label for v in compared.variants] == ["dense", "rnm"]
    dense, rnm = compared.variants
    assert (dense.seeds, rnm.seeds) == ((1, 2, 3), (5,))
    assert dense.policy_returns == (-1.0, -3.0, -5.0)
    assert dense.policy_return == -3.0
    assert (dense.low, dense.high) == (-5.0, -1.0)
    assert (rnm.low, rnm.high) == (None, None)
    assert dense.steps_per_second == 200 / 4.0
    # From -10 to the best IQM, -3.
    assert compared.reach == pytest.approx(-10 + 0.9 * 7)
    assert "(-10.0)" in compared.reach_meaning
    assert "(-3.0)" in compared.reach_meaning
    # Steps 20 and 30, and never: the median of the three is 30.
    assert (dense.steps_to_reach, dense.seconds_to_reach) == (30, pytest.approx(1.5))
    assert dense.seeds_reaching == 2
    assert (rnm.steps_to_reach, rnm.seconds_to_reach, rnm.seeds_reaching) == (None, None, 0)
    assert dense.policy_weights_kept == dense.policy_weights_total > rnm.policy_weights_kept
    assert rnm.average_compression_ratio == pytest.approx(1 - rnm.weights_kept / rnm.weights_total)


def test_a_return_to_reach_can_be_given(make_run):
    runs = [make_run("a", returns=(1.0, 5.0)), make_run("b", seed=1, returns=(3.0, 2.0))]
    (variant,) = sparl.compare(runs, reach=3.0).variants
    assert (variant.steps_to_reach, variant.seeds_reaching) == (15, 2)
    (variant,) = sparl.compare(runs, reach=4.0).variants
    assert (variant.steps_to_reach, variant.seeds_reaching) == (None, 1)  # half is not most
    with pytest.raises(BadValue, match="reach is nan"):
        sparl.compare(runs, reach=float("nan"))


def test_variants_with_other_names_are_set_beside_the_one_called_dense(make_run):
    runs = [make_run("a", "rnm", returns=(1.0, 5.0)), make_run("b", returns=(3.0, 2.0))]
    compared = sparl.compare(runs).named(["dense", "wide"])
    assert [variant.label for variant in compared.variants] == ["dense", "wide"]
    (difference,) = compared.differences
    assert (difference.label, difference.against, difference.mean) == ("wide", "dense", -3.0)


def test_runs_of_a_sweep_have_its_names_for_their_variants(make_run, tmp_path):
    names = [f"Point/{name}-{seed}" for name in ("small", "wide-2") for seed in (0, 1)]
    for name in names:
        hidden = [8, 8] if "small" in name else [16, 16]
        make_run(f"sweep/{name}", seed=int(name[-1]), hidden=hidden)
    by_options = ["dense hidden=8,8", "dense hidden=16,16"]

    def labels(*runs):
        return [variant.label for variant in sparl.compare(runs).variants]

    sweep = tmp_path / "sweep"
    assert labels(sweep) == labels(sweep / "Point") == by_options  # no study has named them
    (sweep / "study.json").write_text(json.dumps(dict.fromkeys(names)))
    assert labels(sweep) == labels(sweep / "Point") == ["small", "wide-2"]
    # Beside a run of no sweep, and where the study calls one variant by two names.
    alone = make_run("alone", hidden=[4, 4])
    assert labels(alone, sweep) == ["dense hidden=4,4", *by_options]
    (sweep / "Point" / "small-1").rename(sweep / "Point" / "other-1")
    (sweep / "study.json").write_text(json.dumps(dict.fromkeys([*names, "Point/other-1"])))
    assert sorted(labels(sweep)) == sorted(by_options)
    (sweep / "study.json").write_text("{")
    assert sorted(labels(sweep)) == sorted(by_options)


def test_notes_explain_intervals_and_other_differences(make_run):
    one, other = make_run("a"), make_run("b", "rnm", learning_rate=0.5, hidden=[8, 8])
    notes = "\n".join(sparl.compare([one, other]).notes)
    assert "1 seed: no interval" in notes
    assert "these variants also differ in: learning_rate 0.001 / 0.5\n" in notes
    four = [make_run(f"c{i}", seed=i) for i in range(4)]
    notes = "\n".join(sparl.compare(four).notes)
    assert "bootstrap" in notes
    for absent in ("no interval", "trimmed", "differ"):
        assert absent not in notes


@pytest.mark.parametrize(
    "field, value, way_out",
    [
        ("env", "environments:Falling-v0", "Compare each environment by itself"),
        ("steps", 300, "--steps N"),
        ("eval_every", 7, "same eval_every"),
        ("eval_episodes", 3, "same eval_episodes"),
        ("max_episode_steps", 7, "longer episodes earn more"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(make_run, field, value, way_out):
    one, other = make_run("one"), make_run("other", "rnm", **{field: value})
    before = {"env": ENV, **OFTEN}.get(field)
    with pytest.raises(BadRun) as refused:
        sparl.compare([one, other])
    message = str(refused.value)
    assert f"{one} and {other} cannot be compared" in message
    assert f"{field} is {before} in the first and {value} in the second" in message
    assert way_out in message


def test_the_same_seed_twice_is_refused_but_a_run_named_twice_counts_once(make_run):
    one, other = make_run("one", seed=4), make_run("other", seed=4)
    with pytest.raises(BadRun, match=r"one and .*other are the same variant .* seed 4"):
        sparl.compare([one, other])
    (variant,) = sparl.compare([one, one / ".." / "one"]).variants
    assert variant.seeds == (4,)


def test_the_policys_return_is_that_of_its_own_evaluation(make_run):
    """Of a run that collapsed and recovered, not the mean over the collapse."""
    make_run("a", returns=(9.0, 500.0), summary={"final_return": 120.0})
    (variant,) = (compared := sparl.compare(make_run("b", seed=1).parent)).variants
    assert variant.policy_returns == (500.0, 2.0) and variant.late_returns == (120.0, 2.0)
    assert "policy that each run has left, mean over 2 episodes" in compared.notes[0]


def test_nothing_is_reached_where_training_made_nothing_better(make_run):
    worse = make_run("worse", returns=(-5.0, -6.0))
    compared = sparl.compare(worse)
    assert compared.reach is None and compared.variants[0].steps_to_reach is None
    assert "No return to reach: no variant ended above the lowest first" in compared.headline
    assert "reach" not in tables.markdown(compared).splitlines()[2]
    # Nor by a policy that has learned nothing yet.
    table = "step,wall_seconds,updates\n10,0.5,0\n20,1.0,30\n"
    (worse / "metrics.csv").write_text(table)
    (variant,) = sparl.compare(worse, reach=-6.0).variants
    assert variant.steps_to_reach == 20


def test_a_run_that_is_not_finished_is_left_out(make_run):
    running, longer, done = make_run("running"), make_run("longer", seed=1), make_run("c", seed=2)
    (running / "summary.json").unlink()
    with pytest.raises(BadRun, match=r"not finished: it has no summary.json. .*--resume .*running"):
        sparl.compare([running])
    # What a run leaves that is being prolonged: the summary of its first end.
    edit(longer / "config.json", lambda content: content["run"].update(steps=400))
    with pytest.raises(BadRun, match="is of step 200 of 400"):
        sparl.compare([longer])
    compared = sparl.compare([running, done])
    assert compared.variants[0].seeds == (2,)
    assert "left out" in compared.notes[0] and f"--resume {running}" in compared.notes[0]


def test_a_stopped_run_is_refused(tmp_path):
    class Stop(sparl.Callback):
        def on_checkpoint(self, step, path):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sparl.train(ENV, TINY, out=tmp_path / "stopped", callbacks=[Stop()], **OFTEN)
    with pytest.raises(BadRun, match="stopped is not finished"):
        sparl.compare(tmp_path)


def test_an_empty_comparison_is_refused(tmp_path):
    with pytest.raises(BadRun, match="no runs to compare"):
        sparl.compare([])
    with pytest.raises(BadRun, match="is no run folder of sparl and has none inside"):
        sparl.compare([tmp_path])


def test_unreadable_and_foreign_files_are_refused(make_run):
    torn, foreign, poor, other = (make_run(name) for name in ("torn", "foreign", "poor", "other"))
    (torn / "summary.json").write_text('{"steps": 2')
    with pytest.raises(BadFile, match=r"torn/summary.json cannot be read"):
        sparl.compare([torn])
    (foreign / "summary.json").write_text("[1, 2]")
    with pytest.raises(BadFile, match=r"foreign/summary.json is not as sparl wrote it: it is no"):
        sparl.compare([foreign])
    (poor / "metrics.csv").write_text("step,wall_seconds\n10,0.5\n")
    with pytest.raises(BadFile, match=r"poor/metrics.csv has no row of step 20"):
        sparl.compare([poor])
    (poor / "metrics.csv").unlink()
    with pytest.raises(BadFile, match=r"metrics.csv is missing"):
        sparl.compare([poor])
    edit(other / "summary.json", lambda content: content.update(evals=[]))
    with pytest.raises(BadFile, match=r"evals is \(\)"):
        sparl.compare([other])
    edit(other / "summary.json", lambda content: content.update(seed=9))
    with pytest.raises(BadRun, match="is of another run"):
        sparl.compare([other])


def test_summaries_without_sizes_fall_back_to_the_checkpoint(trained, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(trained / "rnm", old)
    summary = json.loads((old / "summary.json").read_text())
    sizes = accounting.sizes(inspect(old), inspect(old / "policy"))
    assert sizes.items() <= summary.items()
    edit(old / "summary.json", lambda content: [content.pop(key) for key in sizes])
    (before,) = sparl.compare([old]).variants
    (now,) = sparl.compare([trained / "rnm"]).variants
    assert before.figures() == now.figures()


def test_csv_files_hold_every_figure_and_every_evaluation(make_run, tmp_path):
    compared = sparl.compare(
        [make_run("a", returns=(0.1, 0.2)), make_run("b", seed=1), make_run("c", "rnm")]
    )
    tables.write_csv(compared, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row, variant in zip(rows, compared.variants, strict=True):
        assert row["label"] == variant.label
        assert [int(seed) for seed in row["seeds"].split()] == list(variant.seeds)
        assert [float(x) for x in row["late_returns"].split()] == list(variant.late_returns)
        assert float(row["policy_return"]) == variant.policy_return
        assert (float(row["low"]) if row["low"] else None) == variant.low
        assert float(row["policy_bytes"]) == variant.policy_bytes
        assert float(row["reach"]) == compared.reach
    tables.write_curves(compared, tmp_path / "curves.csv")
    with open(tmp_path / "curves.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0].values()) == [ENV, "dense", "0", "10", "0.5", "0.1"]
    assert list(lines[0]) == ["env", "variant", "seed", "step", "wall_seconds", "eval_return"]
    assert len(lines) == 6


def test_curves_have_a_line_and_a_band_for_each_variant(make_run):
    compared = sparl.compare(
        [make_run("a", returns=(0.0, 4.0)), make_run("b", seed=1), make_run("c", "rnm")]
    )
    figure = plots.curves(compared)
    for axes, x in zip(figure.axes, ([10, 20], [0.5, 1.0]), strict=True):
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in lines] == ["dense", "rnm"]
        assert list(axes.lines[0].get_xdata()) == pytest.approx(x)
        assert list(axes.lines[0].get_ydata()) == [0.5, 3.0]
        assert len(axes.collections) == 1  # one seed of rnm has no band
        assert axes.collections[0].get_datalim(axes.transData).y1 == 4.0


def test_curves_go_on_where_one_seed_has_ended(make_run):
    longer = make_run("b", seed=1, returns=(5.0, 7.0, 9.0))
    figure = plots.curves(sparl.compare([make_run("a", returns=(1.0, 2.0)), longer]))
    assert list(figure.axes[0].lines[0].get_ydata()) == [3.0, 4.5, 5.5]


def test_evaluations_that_wait_for_an_episodes_end_are_all_drawn(make_run):
    late = make_run("b", seed=1, returns=(5.0, 7.0))

    def later(content):
        for evaluation, step in zip(content["evals"], (13, 22), strict=True):
            evaluation["step"] = step

    edit(late / "summary.json", later)
    rows = "step,wall_seconds\n13,0.65\n22,1.1\n"
    (late / "metrics.csv").write_text(rows)
    figure = plots.curves(sparl.compare([make_run("a", returns=(1.0, 2.0)), late]))
    assert list(figure.axes[0].lines[0].get_xdata()) == [13, 20, 22]
    assert list(figure.axes[0].lines[0].get_ydata()) == [3.0, 3.5, 4.5]


def test_what_was_changed_while_a_run_went_on_makes_it_another_variant(make_run):
    same, other = make_run("a"), make_run("b", seed=1)
    changed = [{"step": 10, "changed": {"learning_rate": [0.05, 0.0003]}}]
    prolonged = [{"step": 10, "changed": {"steps": [100, 200]}}]
    edit(other / "config.json", lambda content: content.update(changes=changed))
    labels = [v.label for v in sparl.compare([same, other]).variants]
    assert labels == ["dense", "dense learning_rate=0.05->0.0003"]
    edit(other / "config.json", lambda content: content.update(changes=prolonged))
    compared = sparl.compare([same, other])
    (variant,) = compared.variants
    assert variant.seeds == (0, 1)
    # Schedules of the prolonged run went by fewer steps.
    (told,) = [note for note in compared.notes if note.startswith("prolonged")]
    assert told.endswith(": b from 100 steps")


def test_an_altered_environment_is_another_variant(make_run):
    spec = gym.spec("CartPole-v1")
    short = copy.deepcopy(spec)
    short.max_episode_steps = 20
    one, other = (
        make_run(name, seed=seed, env_spec=of.to_json())
        for seed, (name, of) in enumerate((("a", spec), ("b", short)))
    )
    assert len(sparl.compare([one, other]).variants) == 2
    for i, broken in enumerate(("{", "[1]", "3")):  # of a config.json that somebody edited
        odd = make_run(f"odd{i}", seed=2, env_spec=broken)
        assert len(sparl.compare([one, odd]).variants) == 2


def test_notes_name_runs_that_ended_early(make_run):
    early = make_run("b", seed=1, summary={"ended": "it was good", "steps": 20})
    notes = "\n".join(sparl.compare([make_run("a"), early]).notes)
    assert "ended before all steps were made: b at 20" in notes


def test_returns_are_drawn_against_the_policys_weights_on_a_log_axis(make_run):
    compared = sparl.compare([make_run("a"), make_run("b", seed=1), make_run("c", "rnm")])
    (axes,) = plots.return_against_size(compared).axes
    assert axes.get_xscale() == "log"
    assert len(axes.containers) == 2
    for container, variant in zip(axes.containers, compared.variants, strict=True):
        assert container.has_yerr == (variant.low is not None)
        (x,), (y,) = container.lines[0].get_data()
        assert (x, y) == (variant.policy_weights_kept, variant.policy_return)


def test_the_command_prints_a_table_within_100_columns(trained, capsys):
    assert main(["compare", str(trained), "--reach", "-1000"]) == 0
    printed = capsys.readouterr().out
    assert f"{ENV}, 200 steps. Return to reach: -1000.0, as given." in printed
    for word in ("dense", "rnm", "1 seed: no interval", "compete"):
        assert word in printed
    assert max(len(line) for line in printed.splitlines()) <= 100
    assert "…" not in printed


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_a_narrow_terminal_cuts_no_number(make_run, width, monkeypatch, capsys):
    make_run("a", returns=(1.0, 2.0), hidden=[1234567, 1])
    compared = sparl.compare(make_run("b", "rnm", 5, returns=(-98765.4, -54321.9)).parent)
    monkeypatch.setenv("COLUMNS", str(width))
    tables.print_comparison(compared)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for variant in compared.variants:
        for heading, cell in compared.columns[1:]:
            assert cell(variant) in words, heading
        assert all(word in "".join(words) for word in variant.label.split())


def test_a_notebook_shows_runs_policies_and_comparisons(trained, make_run):
    run = sparl.load(trained / "rnm")
    html = run._repr_html_()
    assert "<td>policy&#x27;s return</td>" in html and "td3 with rnm, seed 0" in html
    kept = run.policy.network.layers[1].kept
    layers = run.policy._repr_html_()
    assert "row-sparse 1:4" in layers and f">{kept}<" in layers
    compared = sparl.compare([trained / "dense", make_run("<b>", "rnm", steps=200)])
    told = compared._repr_html_()
    assert told.count("<tr>") == 5 and "<b>" not in told  # with the table of differences
    going_on = make_run("going_on")
    (going_on / "summary.json").unlink()
    assert "unfinished" in sparl.load(going_on)._repr_html_()


def test_the_command_writes_every_output_that_is_requested(trained, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    single = {name: tmp_path / f"one.{name}" for name in ("markdown", "csv", "curves")}
    arguments = ["compare", str(trained / "dense"), str(trained / "rnm"), "--json"]
    arguments += ["--out", str(out), "--plots", str(tmp_path / "plots")]
    arguments += [str(part) for name, path in single.items() for part in (f"--{name}", path)]
    assert main(arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert [variant["label"] for variant in content["variants"]] == ["dense", "rnm"]
    assert content["variants"][0]["runs"] == [str(trained / "dense")]
    pictures = ["curves.png", "return_against_size.png"]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [*pictures, "curves.csv", "table.csv", "table.md"]
    )
    for folder in (out, tmp_path / "plots"):
        for name in pictures:
            assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    for name, path in {"markdown": "table.md", "csv": "table.csv", "curves": "curves.csv"}.items():
        assert single[name].read_text() == (out / path).read_text()
    lines = (out / "table.md").read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("|---")]
    for begin, rows in zip(starts, (2, 1), strict=True):  # variants; differences from the first
        table = lines[begin - 1 : begin + 1 + rows]
        assert len({line.count("|") for line in table}) == 1
    assert sum(line.startswith(("| dense ", "| rnm ")) for line in lines) == 3


def test_errors_of_the_command_are_one_sentence_and_exit_1(trained, tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("sparl: ")
    assert main(["compare"]) == 1
    assert "no runs to compare" in capsys.readouterr().err
    nowhere = tmp_path / "nowhere" / "table.csv"
    assert main(["compare", str(trained), "--csv", str(nowhere)]) == 1
    assert f"{nowhere} cannot be written" in capsys.readouterr().err


def test_other_commands_do_not_wait_for_matplotlib_and_scipy():
    code = "import sys, sparl.cli; print({'matplotlib', 'scipy.stats'} & set(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "set()"


def test_plots_begin_at_0_end_with_a_tick_and_name_their_lines(make_run):
    compared = sparl.compare(
        [make_run("a", returns=(1.0, 9.0, 2.0), hidden=[7]), make_run("$x_1", "rnm")]
    )
    figure = plots.curves(compared)
    for axes, end in zip(figure.axes, (30, 1.5), strict=True):
        assert axes.get_xlim() == (0, end) and axes.get_xticks()[-1] == end
    names = {text.get_text(): text for text in figure.axes[1].texts}
    assert {*names} == {variant.label for variant in compared.variants}
    assert not any(text.get_parse_math() for text in names.values())
    (dot, *_) = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert (*dot.get_xdata(), *dot.get_ydata()) == (20, 9.0)
