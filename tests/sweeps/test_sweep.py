"""A sweep that is stopped, killed and ended: what it leaves is what it would have left."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from interruptions import process_environment

import sparl
from sparl.cli import main
from sparl.cli.sweep_command import tell
from sparl.errors import BadRun, BadValue
from sparl.storage import Checkpoints, RunFolder, exclusive_folder
from sparl.training import Interrupted

POINT, BROKEN = "environments:Point-v0", "environments:Broken-v0"
OPTIONS = {"hidden": [8, 8], "batch_size": 8, "learning_starts": 20, "eval_every": 1000}
OPTIONS |= {"eval_episodes": 1, "checkpoint_every": 100, "log_every": 100}
STUDY = {"envs": [POINT, BROKEN], "variants": {"tiny": {}}, "steps": 2000, "options": OPTIONS}
LIMIT = 100
"""Seconds that anything may take."""


def newest(run: Path) -> int:
    """The step of the newest checkpoint; 0 without one."""
    return max(Checkpoints(run / "checkpoints").steps(), default=0)


def free(run: Path) -> bool:
    """Whether no process trains in it."""
    try:
        with exclusive_folder(run):
            return True
    except BadRun:
        return False


def wait_for(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_sweep_stopped_and_killed_ends_as_if_it_had_not_been(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study, out = tmp_path / "study.yaml", tmp_path / "out"
    study.write_text(json.dumps(STUDY))
    run = out / "environments-Point-v0" / "tiny-0"

    def stop():
        wait_for(lambda: newest(run))
        os.kill(os.getpid(), signal.SIGINT)

    # Ctrl-C: the run saves, and the message has the command that goes on.
    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted, match=r"2 of 2 .* sparl sweep .*study\.yaml --out .* --jobs 1"):
        sparl.sweep(study, out=out, jobs=1, quiet=True)
    thread.join()
    saved = newest(run)
    assert 0 < saved < STUDY["steps"] and "stopped" in run.with_suffix(".log").read_text()
    # kill -9: the run ends with the sweep, and its folder is free at once.
    words = ["sweep", str(study), "--out", str(out), "--jobs"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "sparl", *words, "1", "--quiet"], env=process_environment()
    )
    wait_for(lambda: newest(run) > saved)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    wait_for(lambda: free(run))
    assert not (run / "summary.json").exists()
    # The same command: what can be done is done, what fails is told of.
    assert main([*words, "2"]) == 1
    printed = capsys.readouterr()
    log = out / "failed" / "environments-Broken-v0" / "tiny-0.log"
    assert "1 of 2 runs failed" in printed.err and str(log) in printed.err
    assert "a gear came off" in log.read_text() and "a gear came off" in printed.err
    assert not (out / "environments-Broken-v0" / "tiny-0").exists()
    assert "tiny" in printed.out and "2,000 steps" in printed.out
    assert (run.parent / "comparison" / "table.md").exists()
    # Its folder is one that can be compared, by the names of the study.
    assert [variant.label for variant in sparl.compare(out).variants] == ["tiny"]
    # As if nothing had happened.
    options = {name: OPTIONS[name] for name in ("eval_every", "eval_episodes", "checkpoint_every")}
    whole = tmp_path / "whole"
    sparl.train(
        POINT,
        sparl.TD3(hidden=(8, 8), batch_size=8, learning_starts=20),
        steps=STUDY["steps"],
        out=whole,
        quiet=True,
        log_every=100,
        **options,
    )
    evals = (RunFolder(whole).read_summary() or {})["evals"]
    with open(run.parent / "curves.csv", encoding="utf-8") as file:
        rows = [
            (row["variant"], int(row["step"]), row["eval_return"]) for row in csv.DictReader(file)
        ]
    assert rows == [("tiny", e["step"], f"{e['return']:.6g}") for e in evals]


def test_a_sweep_that_cannot_be_run_begins_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadValue, match="jobs is 0"):
        sparl.sweep(STUDY, out="out", jobs=0)
    with pytest.raises(BadValue, match="out is missing"):
        sparl.sweep(STUDY)
    with pytest.raises(BadValue, match="no option width"):
        sparl.sweep(STUDY | {"options": {"width": 3}}, out="out")
    assert not list(tmp_path.iterdir())


def test_a_run_that_failed_is_tried_again_unless_that_is_not_wanted(tmp_path):
    often = OPTIONS | {"checkpoint_every": 40}
    study = {"envs": [BROKEN], "variants": {"tiny": {}}, "steps": 200, "options": often}
    options = {"out": tmp_path, "jobs": 1, "quiet": True}
    found = sparl.sweep(study, **options)
    (log,) = found.failed
    # The run was set aside: what it said of itself names where it is now.
    with pytest.raises(BadRun, match=r"1 of 1 runs failed\. The same") as told:
        tell(found, quiet=True)
    (named,) = re.findall(r"sparl train --resume ([^\s,]+)", str(told.value))
    assert (Path(named) / "config.json").exists() and "failed" in Path(named).parts
    log.write_text("of the first call")
    assert sparl.sweep(study, retry=False, **options).failed == (log,)
    assert log.read_text() == "of the first call"
    assert sparl.sweep(study, **options).failed == (log,)
    assert "a gear came off" in log.read_text()
