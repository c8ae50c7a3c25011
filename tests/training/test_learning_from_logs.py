"""Learning from logs: before the environment is stepped, beside it, and without it."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import environments
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_ON_POLICY
from interruptions import StopAt, Stopped, outcome
from logged import log

import sparl
from sparl.config import options, spelling
from sparl.errors import BadFile, BadValue
from sparl.storage import RunFolder
from sparl.training import Interrupted, snapshot

POINT = "environments:Point-v0"
CLONING = replace(TINY, behaviour_cloning=2.5, n_step=2)
RUNS: dict[str, dict[str, Any]] = {
    "offline": {"offline": True},
    "pretrained": {"pretrain_updates": 40},
}


@pytest.fixture
def logs(tmp_path) -> Path:
    return log(tmp_path / "data.npz", POINT, 100)


def train(out: Path, logs: Path, agent: Any = CLONING, **given: Any) -> sparl.Run:
    given = {"replay": logs, "normalize_observations": True, "steps": 120} | given
    return sparl.train(POINT, agent, out=out, **OFTEN | given)


@pytest.mark.parametrize("how", RUNS)
def test_a_stopped_run_resumes_bit_for_bit_without_its_logs(how, logs, tmp_path):
    train(tmp_path / "whole", logs, **RUNS[how])
    with pytest.raises(Stopped):
        train(tmp_path / "run", logs, **RUNS[how], callbacks=[StopAt(checkpoint=2)])
    logs.unlink()
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


class Counted(sparl.Callback):
    """Counts the episodes of training."""

    episodes = 0

    def on_episode(self, step: int, episode_return: float, length: int) -> None:
        self.episodes += 1


def test_offline_no_step_is_taken_and_steps_are_updates(logs, tmp_path, capsys):
    counted = Counted()
    train(tmp_path / "run", logs, callbacks=[counted], offline=True, steps=60, quiet=False)
    folder = RunFolder(tmp_path / "run")
    engine, state = snapshot(folder)
    assert (state.step, state.updates, engine.updates) == (60, 60, 60)
    assert (counted.episodes, state.episode) == (0, 0)
    assert folder.checkpoints.read_state(60).replay.added == 100
    summary = folder.read_summary()
    assert summary is not None and [e["step"] for e in summary["evals"]] == [50, 60]
    told = capsys.readouterr().err
    assert "the replay begins with 100 transitions logged in" in told
    assert "a step is an update from the logs" in told
    assert "behaviour_cloning 2.5" not in told  # it has that


@pytest.mark.parametrize("method", [sparl.methods.DSP(), sparl.methods.GST(gate_errors=1.0)])
def test_methods_that_look_at_episodes_of_training_need_some(logs, tmp_path, method):
    with pytest.raises(BadValue, match=f"method is {method.name}, .*tolerance 1 and gate_errors 0"):
        train(tmp_path / "run", logs, method=method, offline=True, steps=60)
    blind = replace(method, tolerance=1.0, gate_errors=0.0)
    train(tmp_path / "run", logs, method=blind, offline=True, steps=60)


class Blind(environments.Point):
    """A robot that is not here: its spaces are known, and nothing else."""

    def reset(self, **given: Any) -> Any:
        raise AssertionError("there is no robot")


def test_offline_without_evaluations_needs_the_spaces_alone(logs, tmp_path):
    run = sparl.train(
        Blind,
        CLONING,
        out=tmp_path / "run",
        replay=str(logs),
        offline=True,
        normalize_observations=True,
        **OFTEN | {"eval_episodes": 0, "steps": 30},
    )
    found = outcome(run.folder)
    assert found["evals"] == [] and float(found["metrics"][-1]["critic_loss"]) > 0
    summary = RunFolder(run.folder).read_summary()
    assert summary is not None and summary["final_return"] is None
    with pytest.raises(sparl.SparlError, match="has no returns: eval_episodes is 0"):
        sparl.compare(run.folder)
    assert "Return" in run.report(video=False).read_text()


def test_learning_starts_at_once_and_before_the_first_step_if_asked(logs, tmp_path, capsys):
    train(tmp_path / "run", logs, pretrain_updates=40, steps=9, log_every=1, quiet=False)
    rows = outcome(tmp_path / "run")["metrics"]
    assert [int(row["updates"]) for row in rows] == [40 + int(row["step"]) for row in rows]
    replay = RunFolder(tmp_path / "run").checkpoints.read_state(9).replay
    assert (replay.oldest, replay.added) == (0, 109)
    assert "40 updates from the logs alone come before the first step" in capsys.readouterr().err
    train(tmp_path / "at-once", logs, steps=3, log_every=1)
    rows = outcome(tmp_path / "at-once")["metrics"]
    assert [row["updates"] for row in rows] == ["1", "2", "3"]


def test_updates_before_the_first_step_are_saved_now_and_then(logs, tmp_path, monkeypatch):
    saved = []
    saving = sparl.training.saving.Saver.save
    monkeypatch.setattr(
        "sparl.training.saving.Saver.save",
        lambda self: (saving(self), saved.append(self._host.state.updates)),
    )
    train(tmp_path / "run", logs, pretrain_updates=100, steps=1, checkpoint_every=40)
    assert saved[0] == 0 and saved[-1] == 101
    assert all(40 <= b - a < 60 for a, b in pairwise(saved[:-1]))
    assert len(saved) > 3


def test_fewer_logs_than_a_batch_wait_for_learning_starts(tmp_path):
    logs = log(tmp_path / "data.npz", POINT, 7)
    train(tmp_path / "run", logs, steps=42, log_every=1)
    rows = outcome(tmp_path / "run")["metrics"]
    assert [int(row["updates"]) for row in rows] == [max(0, step - 40) for step in range(1, 43)]


def test_the_origin_of_logs_is_recorded_and_told(logs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(tmp_path / "run", Path("data.npz"), steps=2)
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["run"]
    assert recorded["replay"] == str(logs)
    assert recorded["replay_transitions"] == 100 and len(recorded["replay_sha256"]) == 64
    page = run.report(video=False).read_text()
    assert f"100 transitions of {logs} (sha256 {recorded['replay_sha256']})" in page
    config = RunFolder(tmp_path / "run").record()
    words = spelling.command(config.run, config.agent, config.method)
    again = options.parse(words[2:])
    assert (again.run.replay, again.agent) == (str(logs), config.agent)


class Terminated(sparl.Callback):
    """Asks a run to stop right after the checkpoint of its logs."""

    asked = False

    def on_checkpoint(self, step: int, path: Path) -> None:
        if not self.asked:
            self.asked = True
            os.kill(os.getpid(), signal.SIGTERM)


def test_pretraining_that_is_asked_to_stop_is_saved(logs, tmp_path):
    train(tmp_path / "whole", logs, pretrain_updates=40, steps=20)
    with pytest.raises(Interrupted):
        train(tmp_path / "run", logs, pretrain_updates=40, steps=20, callbacks=[Terminated()])
    _, state = snapshot(RunFolder(tmp_path / "run"))
    assert state.step == 0 and 0 < state.updates < 40
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_run_stopped_before_its_logs_are_saved_begins_with_the_same_ones(logs, tmp_path):
    class Saving(sparl.Callback):
        def on_checkpoint(self, step: int, path: Path) -> None:
            raise Stopped

    with pytest.raises(Stopped):
        train(tmp_path / "run", logs, steps=20, callbacks=[Saving()])
    for checkpoint in RunFolder(tmp_path / "run").checkpoints.folder.glob("step-*"):
        checkpoint.rename(tmp_path / checkpoint.name)
    changed = logs.read_bytes()
    log(logs, POINT, 100, seed=1)
    with pytest.raises(BadFile, match=r"data.npz is not what this run was to begin with"):
        sparl.resume(tmp_path / "run", quiet=True)
    logs.write_bytes(changed)
    sparl.resume(tmp_path / "run", quiet=True)
    train(tmp_path / "whole", logs, steps=20)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_pruning_goes_on_with_the_replay_as_it_was(logs, tmp_path):
    run = train(tmp_path / "run", logs, steps=2, offline=True)
    logs.unlink()
    pruned = run.prune(
        sparl.methods.Magnitude(sparsity=0.5, prunings=1),
        steps=3,
        out=tmp_path / "pruned",
        quiet=True,
    )
    _, state = snapshot(RunFolder(pruned.folder))
    assert (state.step, state.updates) == (3, 3)
    assert RunFolder(pruned.folder).checkpoints.read_state(3).replay.added == 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"replay": "", "offline": True}, "offline is True: say which logs to learn from"),
        ({"replay": "", "pretrain_updates": 5}, "pretrain_updates is above 0: say which logs"),
        ({"offline": True, "envs": 2}, "offline is True: there are no steps for actors, envs"),
        ({"pretrain_updates": 5, "actors": 1}, "pretrain_updates is 5: with actors"),
        ({"agent": TINY_ON_POLICY}, "never from logs"),
    ],
)
def test_what_does_not_go_together_is_refused(logs, tmp_path, given, message):
    env = "environments:Steps-v0" if "agent" in given else POINT
    with pytest.raises(BadValue, match=message):
        sparl.train(env, **{"replay": str(logs), "out": tmp_path / "run"} | given)
    assert not (tmp_path / "run").exists()


def test_td3_with_cloning_becomes_better_than_its_logs(tmp_path):
    """Random pushes, most of them to the right; what is learned of them holds the point."""
    logs = log(tmp_path / "data.npz", POINT, 1000)
    with np.load(logs) as arrays:
        logged = arrays["rewards"].sum() / arrays["timeouts"].sum()
    # A larger alpha than the paper's: logs of random actions are not worth imitating.
    agent = replace(TINY, learning_rate=3e-3, gamma=0.9, tau=0.05, behaviour_cloning=10.0)
    rarely = {name: 600 for name in ("steps", "eval_every", "checkpoint_every", "log_every")}
    run = train(tmp_path / "run", logs, agent, offline=True, **rarely)
    learned = run.evaluate(20).mean_return
    assert learned > 0.6 * logged, (learned, logged)
