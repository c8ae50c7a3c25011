"""What a file says is checked before anything is made of it, and damage is found and named."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from edits import edit
from environments import OFTEN, TINY

import sparl
from sparl.errors import BadCheckpoint, BadFile, SparlError
from sparl.storage import RunFolder, Table, files, read_table
from sparl.training import inspect

ENV = "environments:Point-v0"
OLD = Path(__file__).parents[1] / "helpers" / "runs_0_1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    sparl.train(ENV, TINY, sparl.RNM("2:4", interval=20), out=out, **OFTEN)
    return out


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of a finished run, to be altered."""
    return shutil.copytree(trained, tmp_path / "run")


def test_an_error_says_which_file_which_field_and_which_value(run):
    edit(run / "config.json", lambda content: content["run"].update(steps="many"))
    with pytest.raises(BadCheckpoint) as refused:  # the name that it had in 0.1
        RunFolder(run).read_config()
    error = refused.value
    assert type(error) is BadFile
    assert (error.file, error.field, error.value) == (run / "config.json", "run.steps", "many")
    assert "run.steps is 'many': Expected `int`" in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["run"].update(stepps=3), "run.stepps is no field that this sparl knows"),
        (lambda c: c["run"].pop("env"), "run.env: it is missing"),
        (lambda c: c["run"].update(steps=True), "run.steps is True: Expected `int`, got `bool`"),
        (lambda c: c["run"].update(steps=1e3), "run.steps is 1000.0: Expected `int`"),
        (lambda c: c["run"].update(steps=-5), "steps is -5: it must be at least 1"),
        (lambda c: c["run"].update(steps=10**25), "10000000000000000000000000 is out of bounds"),
        (lambda c: c["run"].update(inputs=[0, "1"]), r"run.inputs\[1\] is '1'"),
        (lambda c: c["agent"].update(gamma=2), "gamma is 2.0: it must be within 0 and 1"),
        (lambda c: c["agent"].update(hidden=None), "agent.hidden: Expected `array`, got `null`"),
        (lambda c: c["method"].update(pattern="9:4"), "pattern 9:4 is not possible"),
        (lambda c: c["spaces"].update(low=[]), "low and high are 0 and 1 bounds"),
        (lambda c: c["spaces"].update(observation_shape=[2**40]), "sizes are above 0"),
        (lambda c: c.update(more=1), "more is no field"),
        (lambda c: c["agent"].update(name=3), "agent.name is no text"),
    ],
)
def test_fields_of_a_config_that_are_not_what_they_should_be_are_named(run, change, message):
    edit(run / "config.json", change)
    with pytest.raises(BadFile, match=message):
        RunFolder(run).record()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1, "format": 1}', "has the field 'format' twice"),
        ('{"format": NaN}', "has the number NaN"),
        ('{"format": 1e999}', "has the number '1e999'"),
        ('{"format": %s}' % ("1" * 5000), "has the number 1111"),
        ("[" * 100_000, "nested too deep"),
        ("[" * 40 + "]" * 40, "nested too deep"),
        ('{"a": "\\u0000"}', "has the text"),
        ('{"a": "\\ud800"}', "has the text"),
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "policy/policy.json", "summary.json"])
def test_what_is_no_strict_json_is_refused(run, name, text, message):
    (run / name).write_text(text)
    read = {
        "config.json": lambda: RunFolder(run).read_config(),
        "policy/policy.json": lambda: sparl.Policy.load(run / "policy"),
        "summary.json": lambda: RunFolder(run).read_summary(),
    }[name]
    with pytest.raises(BadFile, match=f"{message}|policy format"):
        read()


@pytest.mark.parametrize("name", ["config.json", "policy/policy.json"])
def test_a_file_that_is_none_is_refused_and_nothing_waits_for_it(run, name):
    path = run / name
    for make in (os.mkdir, os.mkfifo, lambda at: os.symlink("/dev/zero", at)):
        path.unlink() if path.is_file() or path.is_symlink() else None
        make(path)
        with pytest.raises(BadFile, match="is no file"):
            files.read_json(path)
        path.rmdir() if path.is_dir() else path.unlink()
        path.touch()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile, match="utf-8"):
        files.read_json(path)


def test_digests_tell_of_a_change_and_how_to_mean_it(run):
    for name in ("config.json", "policy/policy.json", "summary.json"):
        content = json.loads((run / name).read_text())
        assert len(content["digest"]) == 64
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"seed": 0', '"seed": 4'))
    with pytest.raises(
        BadFile, match=r'altered.*If you edited it yourself, take its line "digest"'
    ):
        RunFolder(run).read_config()
    edit(run / "config.json", lambda content: None)
    assert RunFolder(run).read_config().run.seed == 4


def test_the_tables_of_a_run_are_covered_by_its_summary_and_its_checkpoints(run):
    before = sparl.compare(run).as_dict()
    path = run / "metrics.csv"
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 331):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(BadFile, match=r"metrics\.csv is altered"):
            sparl.compare(run)
    with pytest.raises(BadFile, match=r"metrics\.csv is altered.*move it away"):
        sparl.resume(run, steps=240, quiet=True)
    path.write_bytes(content[:-20])
    with pytest.raises(BadFile, match=r"metrics\.csv is shorter than when it was last saved"):
        sparl.compare(run)
    path.write_bytes(content)
    assert sparl.compare(run).as_dict() == before


def test_a_table_that_was_moved_away_begins_anew(run, capsys):
    (run / "metrics.csv").unlink()
    sparl.resume(run, steps=240)
    assert "metrics.csv is gone: its rows up to step 200 are missing" in capsys.readouterr().err
    steps = read_table(run / "metrics.csv")["step"]
    assert steps.tolist() == [225, 240]


def test_a_table_is_hashed_as_it_grows(tmp_path):
    table = Table(tmp_path / "t.csv", ["step", "loss"])
    assert table.mark().bytes == 0
    for step in range(1, 50):
        table.append({"step": step, "loss": step / 7})
        assert table.mark() == Table(table.path, []).mark()
    mark = table.mark()
    table.append({"step": 50, "loss": None})
    assert read_table(table.path, mark)["step"].tolist() == list(range(1, 51))
    table.cut(mark)
    assert table.mark() == mark


def huge(content) -> None:
    """A network of 10^9 x 10^9, as far as the text goes."""
    for layer in content["layers"]:
        layer["shape"] = [10**9, 10**9]
        layer.pop("pattern", None)
        layer["layout"] = "dense"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (huge, "the network has|has 1000000000 inputs"),
        (lambda c: c["layers"][0].update(shape=[10**12, 2]), r"layers\[0\].shape\[0\]"),
        (lambda c: c["layers"][0].update(shape=[0, 2]), r"layers\[0\].shape\[0\] is 0"),
        (lambda c: c["layers"][1]["pattern"].update(kept=3), "kept"),
        (lambda c: c["layers"][1].update(layout="lazy"), r"layers\[1\].layout"),
        (lambda c: c["observation"].update(shape=['1];system("id");//']), "Expected `int`"),
        (lambda c: c["observation"].update(shape=[10**9]), "the network has"),
        (lambda c: c["action"].update(first='0;system("id")'), "first"),
        (lambda c: c["action"].update(low=[-1.0, -1.0]), "low and high are 2 and 1"),
        (lambda c: c["wiring"]["stages"][1].update(reads=[7]), "layer 1 reads the values"),
        (lambda c: c["wiring"]["stages"][0].update(activation="exec"), "activation"),
        (lambda c: c["wiring"]["stages"].pop(), "3 layers and 2 stages"),
        (lambda c: c.update(sha256="../../etc/passwd"), "sha256"),
        (lambda c: c.update(squash=1), "squash"),
    ],
)
def test_a_policy_that_claims_what_it_has_not_is_refused_before_it_is_made(run, change, message):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edit(run / "policy" / "policy.json", change)
    for read in (sparl.load, lambda folder: sparl.export(folder, "c", run / "c")):
        with pytest.raises(BadFile, match=message):
            read(run / "policy")
    assert not (run / "c").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200_000


def test_a_config_that_claims_far_larger_networks_than_its_checkpoint_is_refused(run):
    edit(run / "config.json", lambda content: content["agent"].update(hidden=[10**6, 10**6]))
    for use in (lambda: inspect(run), lambda: sparl.resume(run, quiet=True)):
        with pytest.raises(BadFile, match=r"far more than .*learner.safetensors has numbers for"):
            use()


def test_a_policy_written_twice_gives_the_same_bytes(run, tmp_path):
    policy = sparl.Policy.load(run / "policy")
    policy.save(tmp_path / "again")
    for name in ("policy.json", "policy.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (run / "policy" / name).read_bytes()


def test_files_without_digests_are_read_as_older_versions_wrote_them():
    for name in ("td3-rnm", "dqn-dsp"):
        folder = RunFolder(OLD / name)
        assert "digest" not in (OLD / name / "config.json").read_text()
        assert folder.read_config().run.env == folder.record().run.env
        assert folder.read_summary() is not None


def test_a_link_in_a_run_folder_is_not_written_through(run, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("keep")
    for name in (".lock", "metrics.csv", ".config.json.part"):
        shutil.rmtree(run)
        shutil.copytree(OLD / "td3-rnm", run)
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(mine)
        with pytest.raises((SparlError, OSError)):
            sparl.resume(run, steps=450, quiet=True)
        assert mine.read_text() == "keep"


def test_numbers_that_are_not_finite_are_refused_in_a_file_of_arrays(run):
    path = run / "policy" / "policy.safetensors"
    arrays = files.read_arrays(path, json.loads((run / "policy/policy.json").read_text())["sha256"])
    arrays["layer_0.bias"] = np.full_like(arrays["layer_0.bias"], np.nan)
    sha256 = files.write_arrays(path, arrays)
    edit(run / "policy" / "policy.json", lambda content: content.update(sha256=sha256))
    with pytest.raises(BadFile, match="outputs differ from the golden ones by nan"):
        sparl.load(run / "policy")


def put(folder: Path, text: str) -> None:
    with files.replaced_folder(folder) as new:
        (new / "text").write_text(text)


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    folder, renamed = tmp_path / "folder", []
    put(folder, "first")
    put(folder, "second")
    with pytest.raises(ZeroDivisionError), files.replaced_folder(folder) as new:
        (new / "text").write_text("third")
        raise ZeroDivisionError

    def fail_at_the_second(old, new):
        renamed.append(new)
        if len(renamed) == 2:
            raise OSError("no")
        return rename(old, new)

    rename = os.replace
    monkeypatch.setattr(os, "replace", fail_at_the_second)
    with pytest.raises(OSError, match="no"):
        put(folder, "fourth")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "text").read_text() == "second"


def test_a_folder_that_a_kill_left_aside_is_brought_back(tmp_path):
    folder = tmp_path / "folder"
    put(folder, "first")
    folder.rename(tmp_path / ".folder.old")  # between the two renames
    files.recover_folder(folder)
    assert (folder / "text").read_text() == "first"
    put(folder, "second")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
