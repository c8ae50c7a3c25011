"""Episodes that never end, numbers that are not finite, frames as a memory."""

from __future__ import annotations

import csv
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from environments import OFTEN, TINY

import sparl
from sparl import envs
from sparl.cli import main
from sparl.envs import check
from sparl.errors import BadEnvironment, BadValue, Diverged
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder
from sparl.training import snapshot


class Endless(gym.Env):
    """Counts on and on; may once give a number that is not finite, in step 30 of an episode."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    broken = False

    def __init__(self, length=0, bad=None, first=0.0):
        self.length, self.bad, self.first, self.episode = length, bad, float(first), 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        return np.float32([self.first if self.episode > 2 else 0.0, 0.0]), {}

    def step(self, action):
        self.t += 1
        breaks = self.t == 30 and self.bad and self.episode >= 2 and not Endless.broken
        Endless.broken = Endless.broken or bool(breaks)
        observation = np.float32([self.t, np.inf if breaks and self.bad == "observation" else 0.0])
        reward = {"reward": float("nan"), "large": -1e39}.get(self.bad, 1.0) if breaks else 1.0
        return observation, reward, False, self.t == self.length, {}


@pytest.fixture(autouse=True)
def whole(monkeypatch):
    monkeypatch.setattr(Endless, "broken", False)


LOOSE = OFTEN | {"eval_every": 1000, "eval_max_steps": 25}


def test_endless_episodes_are_cut_when_a_checkpoint_is_overdue(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sparl.training.state.ENDLESS", 60)
    run = sparl.train(Endless, TINY, out=tmp_path / "run", **LOOSE | {"quiet": False})
    # Due after 40 steps, overdue 60 later.
    assert RunFolder(run.folder).checkpoints.steps() == [101, 200]
    assert "episodes under way at step 101 were cut to save in time" in capsys.readouterr().err


def test_a_shared_environment_is_evaluated_where_an_endless_episode_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("sparl.training.state.ENDLESS", 60)
    options = OFTEN | {"eval_max_steps": 25, "eval_env": "shared"}
    run = sparl.train(Endless(), TINY, out=tmp_path / "run", **options)
    with open(run.folder / "metrics.csv", encoding="utf-8") as file:
        rows = [(int(row["step"]), row["eval_return"]) for row in csv.DictReader(file)]
    # Rows of steps at which an evaluation falls due come with it; the others do not wait.
    expected = [(25, ""), (75, ""), (101, "25"), (125, ""), (175, ""), (200, "25")]
    assert [(step, value and f"{float(value):g}") for step, value in rows] == expected


def test_what_waits_for_the_end_of_an_episode_is_learned_where_it_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("sparl.training.state.ENDLESS", 60)
    agent = replace(TINY, train_unit="episodes")
    run = sparl.train(Endless, agent, out=tmp_path / "run", **LOOSE)
    states = [RunFolder(run.folder).checkpoints.read_state(step) for step in (101, 200)]
    assert [state.state["updates"] for state in states] == [101 - 40, 200 - 40]
    # The last evaluation is of the policy that is left.
    last = (run.folder / "metrics.csv").read_text().splitlines()[-1]
    assert last.split(",")[:3] == ["200", "1", "160"]


def test_a_known_limit_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("sparl.training.state.ENDLESS", 1)
    options = LOOSE | {"max_episode_steps": 95}
    run = sparl.train(Endless, TINY, out=tmp_path / "run", **options)
    assert RunFolder(run.folder).checkpoints.steps() == [95, 190, 200]


def test_endless_episodes_of_an_evaluation_are_cut_and_told_of(tmp_path, capsys):
    options = OFTEN | {"eval_max_steps": 25, "quiet": False}
    run = sparl.train(Endless, TINY, out=tmp_path / "run", **options)
    told = capsys.readouterr().err
    assert told.count("2 episodes of an evaluation were cut after 25 steps") == 1
    assert run.evaluate(1).as_dict()["cut"] == 1


@pytest.mark.parametrize("bad", ["observation", "reward", "large"])
def test_numbers_that_are_not_finite_are_left_out_and_saved_before(tmp_path, bad):
    options = LOOSE | {"env_kwargs": {"length": 45, "bad": bad}}
    with pytest.raises(Diverged, match=r"not finite \(step 74, .*nonfinite skip.*step 74 is safe"):
        sparl.train(Endless, TINY, out=tmp_path / "run", **options)
    sparl.resume(tmp_path / "run", quiet=True)
    replay = Replay(1000, Columns(2, 1))
    RunFolder(tmp_path / "run").checkpoints.load_replay(200, replay)
    assert np.isfinite(replay.span(0, replay.added)).all()


@pytest.mark.parametrize("options", [{}, {"envs": 2}], ids=["one", "two"])
def test_such_steps_are_skipped_if_asked(tmp_path, capsys, options):
    asked: dict = {"env_kwargs": {"length": 45, "bad": "observation"}, "nonfinite": "skip"}
    run = sparl.train(
        Endless, TINY, out=tmp_path / "run", **LOOSE | asked | options | {"quiet": False}
    )
    assert "an observation was not finite; the step is left out" in capsys.readouterr().err
    replay = Replay(1000, Columns(2, 1))
    RunFolder(run.folder).checkpoints.load_replay(200, replay)
    rows = replay.span(0, replay.added)
    assert replay.added < 200
    assert np.isfinite(rows).all()
    if options:  # two streams in turn
        return
    # Each of its steps is followed by one of the same episode, or marked as its last.
    last = rows[:-1, -1] > 0
    np.testing.assert_array_equal(rows[1:, 0], np.where(last, 0, rows[:-1, 0] + 1))


@pytest.mark.parametrize("number", [1, 2])
def test_an_environment_that_gives_nothing_finite_stops_at_last(tmp_path, number):
    asked = {"env_kwargs": {"length": 45, "first": "inf"}, "nonfinite": "skip", "envs": number}
    with pytest.raises(Diverged, match="100 episodes in a row gave nothing finite"):
        sparl.train(Endless, TINY, out=tmp_path / "run", **LOOSE | asked)


class Sometimes(Endless):
    """Begins, by some seeds, with an observation that is not finite."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        bad = self.np_random.random() < 0.3
        return (np.full(2, np.nan, np.float32) if bad else observation), info


@pytest.mark.parametrize("agent", [TINY, sparl.PPO(hidden=(8,), rollout=30, batch_size=10)])
@pytest.mark.parametrize("number", [1, 3])
def test_first_observations_that_are_not_finite_are_skipped(tmp_path, agent, number):
    asked = LOOSE | {"env_kwargs": {"length": 7}, "envs": number, "steps": 100, "eval_episodes": 9}
    run = sparl.train(Sometimes, agent, out=tmp_path / "run", nonfinite="skip", **asked)
    replay = Replay(1000, Columns(2, 1))
    RunFolder(run.folder).checkpoints.load_replay(100, replay)
    rows = replay.span(0, replay.added)
    assert len(rows) == 100 and np.isfinite(rows).all()
    # A stream's first steps have 1 in their next observation, all others one more than before.
    assert np.array_equal(rows[:, 0] + 1, rows[:, 4])
    with pytest.raises(Diverged, match=r"gave an? (first )?observation that is not finite"):
        sparl.train(Sometimes, agent, out=tmp_path / "other", **asked)


class Late(Endless):
    """Its first steps have rewards that are not finite."""

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, np.nan if self.episode == 1 else reward, *rest


def test_an_on_policy_agent_whose_first_steps_are_left_out_learns_from_what_there_is(tmp_path):
    agent = sparl.PPO(hidden=(8,), rollout=4, batch_size=4, n_epochs=2)
    asked = LOOSE | {"env_kwargs": {"length": 10}, "steps": 60, "nonfinite": "skip"}
    run = sparl.train(Late, agent, out=tmp_path / "run", **asked)
    assert snapshot(RunFolder(run.folder))[1].updates == 60 // 4 * 2


class Falling(Endless):
    """Loses a point a step for seven steps; by some seeds breaks in step 3, or in the first."""

    breaks = 0.5

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.at = int(self.np_random.choice([0, 3])) if self.np_random.random() < self.breaks else 9
        return (observation if self.at else observation + np.inf), info

    def step(self, action):
        self.t += 1
        observation = np.float32([self.t, np.nan if self.t == self.at else 0.0])
        return observation, -1.0, self.t == 7, False, {}


class Broken(Falling):
    breaks = 1.0


def test_episodes_of_an_evaluation_that_break_have_no_return(tmp_path, capsys):
    asked = OFTEN | {"nonfinite": "skip", "eval_episodes": 20, "quiet": False}
    run = sparl.train(Falling, TINY, out=tmp_path / "run", **asked)
    assert "episodes of an evaluation were left out" in capsys.readouterr().err
    found = run.evaluate(20)
    assert set(found.returns) == {-7.0} and found.left_out == 20 - len(found.returns) > 3
    (best,) = {e["return"] for e in (RunFolder(run.folder).read_summary() or {})["evals"]}
    assert best == -7.0


def test_an_evaluation_without_a_whole_episode_does_not_end_training(tmp_path):
    run = sparl.train(Broken, TINY, out=tmp_path / "run", nonfinite="skip", **OFTEN)
    assert (RunFolder(run.folder).read_summary() or {})["evals"] == []
    with pytest.raises(Diverged, match="no episode of the evaluation has a return"):
        _ = run.evaluate(3).mean_return


def test_skipping_needs_own_resets():
    with pytest.raises(BadValue, match="nonfinite is skip"):
        sparl.RunConfig("Pendulum-v1", envs=2, autoreset="next_step", nonfinite="skip")


def test_frames_are_a_memory_that_predict_carries(tmp_path):
    options = LOOSE | {"env_kwargs": {"length": 20}, "frame_stack": 3}
    run = sparl.train(Endless, TINY, out=tmp_path / "run", **options)
    assert run.policy.spaces.frames == 3
    env = envs.EnvMaker("it", envs.find(envs.describe(Endless).name), frame_stack=3)()
    plain = envs.make(envs.describe(Endless).name)
    stacked, _ = env.reset(seed=0)
    single, _ = plain.reset(seed=0)
    state = None
    for _ in range(5):
        wanted, _ = run.predict(stacked)
        action, state = run.predict(single, state)
        np.testing.assert_array_equal(action, wanted)
        stacked, single = env.step(action)[0], plain.step(action)[0]
    batch, _ = run.predict(np.stack([single, single]), np.stack([state, state]), [True, False])
    np.testing.assert_array_equal(batch[0], run.predict(single)[0])
    np.testing.assert_array_equal(batch[1], run.predict(stacked)[0])
    # As many at once as there are frames are no frames of one.
    many, _ = run.predict(np.stack([single] * 3), None, [True] * 3)
    assert many.shape == (3, *np.shape(action))


def test_what_the_check_finds(capsys):
    make = envs.EnvMaker("it", envs.find(envs.describe(Endless).name))
    found = {finding.what for finding in check(make, 100).findings}
    assert "no episode ended in 100 steps, no limit" in found
    assert "entries 1 never changed" in found
    assert "every reward was 1" in found
    assert main(["check", "Pendulum-v1", "--steps", "400"]) == 0
    told = capsys.readouterr().out
    assert "3 observations, 1 continuous actions" in told
    assert "agents that fit: td3, sac" in told
    assert "random actions return -" in told
    assert "actions in the middle of their range return -" in told


class Old(Endless):
    """As environments of the old gym."""

    def reset(self, **options):
        return super().reset(**options)[0]


class Seedless(Endless):
    def reset(self):
        return super().reset()


class Failing(Endless):
    def step(self, action):
        raise OSError("no such port")


@pytest.mark.parametrize(
    "kind, says",
    [
        (Old, r"reset gave ndarray.*The package shimmy"),
        (Seedless, "reset raised TypeError: .*seed"),
        (Failing, "step raised OSError: no such port"),
        (gym.Env, "has no observation_space"),
    ],
)
def test_the_check_says_what_an_environment_does_that_cannot_be(kind, says):
    with pytest.raises(BadEnvironment, match=says):
        check(envs.EnvMaker("it", envs.find(envs.describe(kind).name)), 20)


def test_the_check_needs_a_step_and_a_seed():
    make = envs.EnvMaker("it", envs.find("Pendulum-v1"))
    for options, says in ({"steps": 0}, "steps is 0"), ({"seed": -1}, "seed is -1"):
        with pytest.raises(BadValue, match=says):
            check(make, **options)


def test_what_doing_nothing_earns():
    """Pendulum's reward at zero torque, played by hand; discrete actions have no middle."""
    found = check(envs.EnvMaker("it", envs.find("Pendulum-v1")), 400)
    env = gym.make("Pendulum-v1")
    returns = []
    for number in range(2):
        env.reset(seed=envs.episode_seed(0, "check", number))
        returns.append(sum(float(env.step(np.zeros(1))[1]) for _ in range(200)))
    assert found.middle_return == pytest.approx(np.mean(returns), rel=1e-6)
    assert found.middle_return != found.random_return
    assert check(envs.EnvMaker("it", envs.find("CartPole-v1")), 100).middle_return is None
