"""Checkpoints are complete or absent, cheap to add, and damage is found and named."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest
from edits import edit
from environments import OFTEN, TINY

import sparl
from sparl.errors import BadFile, BadRun
from sparl.storage import RunFolder, checkpoint, files

ENV = "environments:Point-v0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    sparl.train(ENV, TINY, sparl.RNM("2:4", interval=20), out=out, **OFTEN)
    return out


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a finished run, to be damaged."""
    return shutil.copytree(trained, tmp_path / "run")


def newest(run):
    return sorted((run / "checkpoints").glob("step-*"))[-1]


def test_the_newest_three_are_kept(run):
    names = sorted(path.name for path in (run / "checkpoints").glob("step-*"))
    assert names == ["step-000000120", "step-000000160", "step-000000200"]


def test_each_save_writes_only_the_new_transitions(run):
    segments = sorted(path.name for path in (run / "checkpoints" / "replay").iterdir())
    assert segments == [f"{a:012d}-{a + 40:012d}.safetensors" for a in range(0, 200, 40)]


def test_a_kill_between_the_renames_of_a_replaced_checkpoint_loses_nothing(run):
    aside = newest(run).rename(newest(run).with_name(".step-000000200.old"))
    sparl.resume(run, steps=210)
    assert newest(run).name == "step-000000210" and not aside.exists()
    (change,) = RunFolder(run).changes()
    assert change.step == 200


def test_segments_that_no_checkpoint_needs_are_dropped(tmp_path):
    options = OFTEN | {"buffer_size": 50}
    sparl.train(ENV, TINY, out=tmp_path / "run", **options)
    segments = sorted(path.name for path in (tmp_path / "run/checkpoints/replay").iterdir())
    # The oldest of three checkpoints, of step 120, holds transitions 70 to 120.
    assert segments[0] == f"{40:012d}-{80:012d}.safetensors"


def test_no_file_of_a_run_needs_pickle(run):
    files = [path for path in run.rglob("*") if path.is_file() and path.parent.name != "tb"]
    kinds = {path.suffix for path in files if path.name != ".lock"}
    assert kinds == {".json", ".csv", ".safetensors"}


@pytest.mark.parametrize("name", ["learner.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_damage_is_named_with_an_intact_checkpoint(run, name, damage):
    path = newest(run) / name
    _damage(path, damage)
    with pytest.raises(BadFile) as caught:
        sparl.resume(run, quiet=True)
    assert str(path) in str(caught.value)
    way_out = str(run / "checkpoints" / "step-000000160")
    assert f"sparl train --resume {way_out}" in str(caught.value)
    # And that is a way out: the damaged one is replaced by what it should have been.
    sparl.resume(way_out, quiet=True)
    sparl.resume(run, quiet=True)


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_damage_to_the_replay_is_named(run, damage):
    path = run / "checkpoints" / "replay" / f"{160:012d}-{200:012d}.safetensors"
    _damage(path, damage)
    with pytest.raises(BadFile, match=path.name):
        sparl.resume(run, quiet=True)


def test_a_checkpoint_of_another_format_is_refused(run):
    path = newest(run) / "state.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(BadFile, match=r"format 99.*version of sparl in the run's config"):
        sparl.resume(run, quiet=True)


def test_a_config_of_another_format_or_shape_is_refused(run):
    path = run / "config.json"
    before = path.read_text()
    edit(path, lambda content: content.update(format=99))
    with pytest.raises(BadFile, match="format 99"):
        sparl.resume(run, quiet=True)
    path.write_text(before)
    edit(path, lambda content: content.update(run={"env": ENV, "stepps": 3}))
    with pytest.raises(BadFile, match=r"run\.stepps is no field") as refused:
        sparl.resume(run, quiet=True)
    assert (refused.value.file, refused.value.field) == (path, "run.stepps")
    path.write_text(before)
    edit(path, lambda content: content["agent"].update(hidden=[8, 8]))
    with pytest.raises(BadFile, match=r"does not fit the run's config\.json"):
        sparl.resume(run, quiet=True)


@pytest.mark.parametrize("where", ["replay", "learner.safetensors", "state.json"])
def test_a_full_disk_leaves_earlier_checkpoints_and_no_partial_files(tmp_path, monkeypatch, where):
    out = tmp_path / "run"
    write = files.write_bytes
    saves = []

    def full(path, content):
        if where in str(path) and path.suffix in (".json", ".safetensors"):
            saves.append(path)
            if len(saves) == 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(BadRun, match=r"No space left.*checkpoint of step 80 is safe") as caught:
        sparl.train(ENV, TINY, out=out, **OFTEN)
    assert f"sparl train --resume {out}" in str(caught.value)
    assert not [path for path in (out / "checkpoints").rglob("*.part")]
    assert checkpoint.Checkpoints(out / "checkpoints").steps() == [40, 80]
    monkeypatch.undo()
    sparl.resume(out, quiet=True)


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def fails(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError):
        files.write_bytes(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def _damage(path, damage):
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        # A digit of a number, or a bit of a weight: still well-formed, and wrong.
        at = content.rindex(b"0") if path.suffix == ".json" else len(content) - 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
