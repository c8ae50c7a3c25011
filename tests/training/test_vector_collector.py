"""Several environments stepped together: what reaches the replay, and that a run can be resumed."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import Any

import environments
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_DQN, TINY_ON_POLICY, drawn_by, length
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl import envs
from sparl.cli import main
from sparl.config import RunConfig
from sparl.errors import BadEnvironment, BadValue, EnvironmentFailed
from sparl.methods import Dense
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder
from sparl.training import Interrupted, Trainer

COUNTING, RAGGED = "environments:Counting-v0", "environments:Ragged-v0"
MODES = ("disabled", "next_step", "same_step")
FREELY = OFTEN | {"steps": 200, "checkpoint_every": 1000}
"""No checkpoint before the end, so that no environment waits for another."""


def played(tmp_path, options: dict[str, Any]) -> Trainer:
    """A run of the counting environment, when it is over."""
    run = RunConfig(COUNTING, **{k: v for k, v in options.items() if k != "quiet"})
    trainer = Trainer(RunFolder(tmp_path / "run"), run, TINY, Dense(), quiet=True)
    trainer.run()
    return trainer


def assert_no_reset_in(replay: Replay, steps: int) -> None:
    """Every row is a step of one episode, all steps of an episode are there, and it ends where the
    environment ended it."""
    rows = replay.span(0, steps)
    assert replay.added == steps
    before, reward, after = rows[:, :3], rows[:, 4], rows[:, 5:8]
    terminated, ended = rows[:, -2], rows[:, -1]
    np.testing.assert_array_equal(after[:, :2], before[:, :2])  # the same episode
    np.testing.assert_array_equal(after[:, 2], before[:, 2] + 1)
    np.testing.assert_array_equal(reward, after[:, 2])  # a reset gives 0
    lengths = np.array([length(int(drawn)) for drawn in before[:, 0]])
    over = after[:, 2] == lengths
    np.testing.assert_array_equal(terminated > 0, over & (before[:, 0] % 2 == 0))
    cut = []
    for drawn in np.unique(before[:, 0]):
        of_episode = np.flatnonzero(before[:, 0] == drawn)
        assert before[of_episode, 2].tolist() == list(range(len(of_episode)))
        # Each says where the next one lies.
        following = of_episode + 1 - ended[of_episode]
        assert following[:-1].tolist() == of_episode[1:].tolist()
        assert ended[of_episode[-1]] == 1
        if not over[of_episode[-1]]:
            cut.append(drawn)
    assert len(cut) <= 3  # those under way when the run was over


@pytest.mark.parametrize("autoreset", MODES)
@pytest.mark.parametrize("checkpoint_every", [40, 1000])
def test_no_reset_reaches_the_replay_and_every_step_does(autoreset, checkpoint_every, tmp_path):
    environments.Counting.stepped.clear()
    options = FREELY | {"envs": 3, "autoreset": autoreset, "eval_every": 1000}
    trainer = played(tmp_path, options | {"checkpoint_every": checkpoint_every})
    assert_no_reset_in(trainer.replay, 200)
    rows = trainer.replay.span(0, 200)
    stored = {(int(row[0]), int(row[2])) for row in rows}
    # The one evaluation, at the run's end, steps environments of its own.
    evaluated = {drawn_by(envs.episode_seed(0, "eval", i)) for i in range(2)}
    stepped = {step for step in environments.Counting.stepped if step[0] not in evaluated}
    assert stored <= stepped
    if checkpoint_every == 1000:
        # But for those in the last step of all environments, which the run's end did not need.
        assert len(stepped - stored) <= 2
    else:
        assert len(stepped - stored) > 5  # of environments that waited for others
        cut = rows[(rows[:, -1] == 1) & (rows[:, 7] < [length(int(d)) for d in rows[:, 0]])]
        assert len(cut) <= 3  # no checkpoint cut an episode


@pytest.mark.parametrize("autoreset", MODES)
def test_no_reset_reaches_the_replay_from_processes_of_their_own(autoreset, tmp_path):
    options = FREELY | {"envs": 2, "vectorization": "async", "autoreset": autoreset}
    trainer = played(tmp_path, options)
    assert_no_reset_in(trainer.replay, 200)
    same = played(tmp_path / "sync", options | {"vectorization": "sync"})
    np.testing.assert_array_equal(trainer.replay.rows, same.replay.rows)


def test_every_episode_has_the_seed_of_its_number(tmp_path):
    """Whichever environment it is played in, none twice and none left out."""
    trainer = played(tmp_path, FREELY | {"envs": 3})
    drawn = {int(row[0]) for row in trainer.replay.span(0, 200)}
    assert drawn == {drawn_by(envs.episode_seed(0, "train", i)) for i in range(len(drawn))}
    assert trainer.state.episode == len(drawn)


def test_episodes_are_told_as_they_were(tmp_path):
    told: list[tuple[int, float, int]] = []

    class Episodes(sparl.Callback):
        def on_episode(self, step, episode_return, length) -> None:
            told.append((step, episode_return, length))

    sparl.train(COUNTING, TINY, out=tmp_path / "run", callbacks=[Episodes()], envs=3, **FREELY)
    replay = Replay(1000, Columns(3, 1))
    RunFolder(tmp_path / "run").checkpoints.load_replay(200, replay)
    rows = replay.span(0, 200)
    lengths = np.array([length(int(drawn)) for drawn in rows[:, 0]])
    over = np.flatnonzero(rows[:, 7] == lengths)
    wanted = [
        (int(i) + 1, n * (n + 1) / 2, int(n)) for i, n in zip(over, lengths[over], strict=True)
    ]
    assert len(told) > 30 and told == wanted


def test_as_many_updates_are_made_as_with_one_environment(tmp_path):
    """And rows of the log, and evaluations, at the same steps."""
    found = []
    for count in (1, 3):
        out = tmp_path / str(count)
        sparl.train(COUNTING, TINY, out=out, envs=count, **OFTEN)
        rows = outcome(out)["metrics"]
        found.append([(row["step"], row["updates"], row["eval_return"] == "") for row in rows])
    assert found[0] == found[1]


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "td3": (replace(TINY, n_step=3), {"autoreset": "disabled"}),
    "td3-next-step": (replace(TINY, n_step=3), {"autoreset": "next_step"}),
    "td3-same-step": (TINY, {"autoreset": "same_step", "buffer_size": 70}),
    "td3-async": (TINY, {"vectorization": "async"}),
    "dqn": (TINY_DQN, {"env": "environments:Steps-v0"}),
    "on-policy": (replace(TINY_ON_POLICY, batch_size=6), {"env": "environments:Steps-v0"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_of_several_environments_ends_with_the_same_bytes(case, tmp_path):
    agent, options = CASES[case]
    options = OFTEN | {"env": RAGGED, "envs": 3, "normalize_observations": True} | options
    sparl.train(agent=agent, out=tmp_path / "whole", **options)
    with pytest.raises(Stopped):
        stop = StopAt(checkpoint=3)
        sparl.train(agent=agent, out=tmp_path / "run", callbacks=[stop], **options)
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_run_of_several_environments_that_was_interrupted_goes_on(tmp_path):
    class Interrupting(sparl.Callback):
        def on_evaluation(self, step, evaluation) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    options = FREELY | {"envs": 3}
    with pytest.raises(Interrupted, match="sparl train --resume"):
        sparl.train(COUNTING, TINY, out=tmp_path / "run", callbacks=[Interrupting()], **options)
    (step,) = RunFolder(tmp_path / "run").checkpoints.steps()
    assert 50 < step <= 50 + 3 * 6  # as many as were left of the episodes under way
    sparl.resume(tmp_path / "run", quiet=True)
    replay = Replay(1000, Columns(3, 1))
    RunFolder(tmp_path / "run").checkpoints.load_replay(200, replay)
    assert_no_reset_in(replay, 200)


def test_an_environment_among_several_that_raises_saves_what_was_learned(tmp_path):
    environments.Broken.steps = 0
    out = tmp_path / "run"
    options = OFTEN | {"eval_every": 1000, "checkpoint_every": 1000, "envs": 3}
    message = r"raised ArithmeticError in step: a gear came off \(step 87, .* seeds \d+, \d+, \d+\)"
    with pytest.raises(EnvironmentFailed, match=message) as caught:
        sparl.train("environments:Broken-v0", TINY, out=out, **options)
    assert "The checkpoint of step 87 is safe" in str(caught.value)
    replay = Replay(200, Columns(2, 1))
    RunFolder(out).checkpoints.load_replay(87, replay)
    assert np.flatnonzero(replay.span(0, 87)[:, -1] == 1).tolist() == [57, 58, 59, 84, 85, 86]
    sparl.resume(out, quiet=True)


def test_an_agent_that_learns_on_policy_wants_a_batch_of_all_environments(tmp_path):
    agent = replace(TINY_ON_POLICY, batch_size=2)
    told = r"batch_size is 2: with envs 3 it must be a multiple .* does: 3"
    with pytest.raises(BadValue, match=told):
        sparl.train("environments:Steps-v0", agent, out=tmp_path / "run", envs=3, **OFTEN)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"envs": 0}, "envs is 0: it must be at least 1"),
        ({"vectorization": "envpool", "inputs": (0,)}, "envpool: inputs are for gym"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(BadValue, match=message):
        RunConfig("CartPole-v1", **options)


def test_envpool_that_is_missing_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "envpool", None)
    options = OFTEN | {"envs": 3, "vectorization": "envpool"}
    with pytest.raises(BadEnvironment, match=r'needs the package envpool.*"sparl\[envs\]"'):
        sparl.train("CartPole-v1", TINY_DQN, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


# Its own spaces have bounds in float64, of which gymnasium warns.
with_envpool = pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning")


@with_envpool
def test_an_environment_that_envpool_has_not_is_refused(tmp_path):
    pytest.importorskip("envpool")
    options = OFTEN | {"envs": 3, "vectorization": "envpool"}
    with pytest.raises(BadEnvironment, match=r"envpool has no .*Point-v0 .*vectorization sync"):
        sparl.train("environments:Point-v0", TINY, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@with_envpool
def test_a_run_in_envpool_stores_no_reset_and_resumes(tmp_path):
    pytest.importorskip("envpool")
    options = OFTEN | {"env": "CartPole-v1", "envs": 3, "vectorization": "envpool"}
    sparl.train(agent=TINY_DQN, out=tmp_path / "whole", **options)
    replay = Replay(1000, Columns(4, 2, True))
    RunFolder(tmp_path / "whole").checkpoints.load_replay(200, replay)
    rows = replay.span(0, 200)
    assert (rows[:, 5] == 1).all()  # the step in which it resets has no reward
    fallen = (np.abs(rows[:, 6]) > 2.4) | (np.abs(rows[:, 8]) > 12 * 2 * np.pi / 360)
    np.testing.assert_array_equal(rows[:, -2] > 0, fallen)
    assert fallen.sum() > 3
    with pytest.raises(Stopped):
        stop = StopAt(checkpoint=2)
        sparl.train(agent=TINY_DQN, out=tmp_path / "run", callbacks=[stop], **options)
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_the_command_line_has_several_environments(tmp_path, capsys):
    arguments = ["--steps", "60", "--hidden", "8", "--learning-starts", "20", "--eval-episodes"]
    out = ["1", "--quiet", "--out", str(tmp_path / "run")]
    told = ["--envs", "3", "--autoreset", "same_step", "--normalize-observations"]
    assert main(["train", COUNTING, *arguments, *out, *told]) == 0
    run = RunFolder(tmp_path / "run").read_config()[0]
    assert (run.envs, run.vectorization, run.autoreset) == (3, "sync", "same_step")
    assert run.normalize_observations
    with pytest.raises(SystemExit):
        main(["train", "--help-all"])
    help_text = capsys.readouterr().out
    for option in ("--envs", "--vectorization", "--autoreset", "--normalize-observations"):
        assert option in help_text
