"""What a run takes of the machine, told and refused before it begins; names in place of classes."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from environments import OFTEN, TINY
from interruptions import python

import sparl
from sparl import launch
from sparl.errors import BadValue
from sparl.training import cores, limit_threads

POINT = "environments:Point-v0"


def test_a_run_that_does_not_fit_onto_the_disk_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20_000))
    with pytest.raises(BadValue, match=r"kB on the disk, 6\.4 kB of them.*, and 20\.0 kB are free"):
        sparl.train(POINT, TINY, out=tmp_path / "run", **OFTEN)
    assert not (tmp_path / "run").exists()


def test_sizes_and_a_busy_machine_are_told_at_the_start(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cores.os, "getloadavg", lambda: (9.5, 0.0, 0.0))
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 8)
    monkeypatch.setenv("NPROC", "4")
    options = OFTEN | {"steps": 10, "eval_every": 10, "quiet": False, "buffer_min": 5}
    options |= {"autoreset": "same_step"}
    sparl.train(POINT, TINY, out=tmp_path / "run", **options)
    told = capsys.readouterr().err
    assert "up to 320 bytes of memory for the replay, and " in told
    assert "buffer_min is 5 and does nothing: dynamic_replay is False" in told
    assert "autoreset is same_step and does nothing: envs is 1" in told
    assert "buffer_drift" not in told
    assert "(load average 9.5 on 8 cores), and this run computes with 4 threads" in told


@pytest.mark.parametrize(
    "load, threads, told", [(0.5, 2, False), (6.9, 2, False), (7.1, 2, True), (8.1, 1, True)]
)
def test_a_machine_is_busy_when_there_are_too_few_cores_for_a_run(load, threads, told, monkeypatch):
    monkeypatch.setattr(cores.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 8)
    monkeypatch.setenv("NPROC", str(threads))
    note = cores.busy_note()
    assert (note is not None) == told
    assert note is None or ("--threads 1" in note) == (threads > 1)


def test_as_many_threads_compute_as_are_asked_for():
    process = python(
        """
        from pathlib import Path
        from sparl.training import limit_threads
        import jax
        limit_threads(3)
        jax.numpy.ones(3).block_until_ready()
        names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
        print(sum("XLAEigen" in name for name in names))
        """
    )
    assert process.communicate(timeout=120)[0] == "3\n"
    with pytest.raises(BadValue, match="threads is 0"):
        limit_threads(0)


def test_agents_and_methods_go_by_their_names_too(tmp_path):
    options = OFTEN | {"steps": 10, "eval_every": 10}
    run = sparl.train(POINT, TINY, "rnm", out=tmp_path / "run", **options)
    assert json.loads((run.folder / "config.json").read_text())["method"]["name"] == "rnm"
    assert launch.agent_of("dqn") == sparl.DQN()
    for agent, method, told in (
        ("sacc", "dense", "agent is 'sacc': choose of td3, sac.* Did you mean 'sac'?"),
        ("sac", "rmn", "method is 'rmn': choose of dense, rnm.* Did you mean 'rnm'?"),
    ):
        with pytest.raises(BadValue, match=told):
            sparl.train(POINT, agent, method, out=tmp_path / "other")
    with pytest.raises(BadValue, match="method is 'asq'"):
        run.prune("asq")
