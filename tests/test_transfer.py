"""`sparl transfer`: a new run that learns on in another environment."""

from __future__ import annotations

import json
import shutil
from typing import Any

import jax
import numpy as np
import pytest
import tyro
from environments import LIMIT, OFTEN, TINY, TINY_CROSSQ, TINY_DQN, Point
from gymnasium import spaces
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl import methods
from sparl.cli import continuing, main
from sparl.config import spelling
from sparl.errors import BadRun, BadValue
from sparl.layouts import Dense
from sparl.storage import RunFolder
from sparl.training import snapshot

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
MIRRORED = f"{__file__}:Mirrored"
SHORT = OFTEN | {"steps": 120, "normalize_observations": True}
LEARNED = {
    "crossq": (POINT, TINY_CROSSQ, methods.RNM("2:4", interval=15)),
    "td3": (POINT, TINY, methods.SET(0.5, interval=20)),
    "dqn": (STEPS, TINY_DQN, methods.DSP(interval=10, begin=0.1, end=0.6, tolerance=1.0)),
    "ppo": (POINT, sparl.PPO(hidden=(16, 16), rollout=40, batch_size=20), methods.Magnitude(0.7)),
}


class Mirrored(Point):
    """What pushed the point to the right pushes it to the left."""

    action_space: spaces.Space = spaces.Box(np.float32([-3.0]), np.float32([1.0]))

    def __init__(self, render_mode: str | None = None, strength: float = 1.0) -> None:
        super().__init__(render_mode)
        self.strength = strength

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        return super().step(-self.strength * np.asarray(action))


class Begins(sparl.Callback):
    """The first checkpoint, before anything was learned."""

    step = -1

    def on_checkpoint(self, step, path) -> None:
        if self.step < 0:
            self.step = step
            self.engine = snapshot(RunFolder(path.parent.parent))[0]
            self.content = json.loads((path / "state.json").read_text())


@pytest.fixture(scope="module", params=LEARNED)
def learned(request, tmp_path_factory):
    """A run that has learned, of several agents and methods."""
    out = tmp_path_factory.mktemp("learned") / request.param
    env, agent, method = LEARNED[request.param]
    sparl.train(env, agent, method, out=out, **SHORT)
    return out


@pytest.fixture(scope="module")
def swings(tmp_path_factory):
    """A run of TD3 that keeps the point near 0."""
    agent = sparl.TD3(hidden=(32, 32), batch_size=32, learning_starts=200)
    out = tmp_path_factory.mktemp("swings") / "run"
    options = OFTEN | {"steps": 1500, "eval_every": 500, "checkpoint_every": 1500}
    return sparl.train(POINT, agent, sparl.RNM("2:4"), out=out, **options)


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_it_begins_where_the_other_run_stands_with_an_empty_replay(learned, tmp_path):
    before = {p: p.read_bytes() for p in sorted(learned.rglob("*")) if p.is_file()}
    source, _ = snapshot(RunFolder(learned))
    env = RunFolder(learned).record().run.env
    begins = Begins()
    told = {"learning_starts": 20, "callbacks": [begins], "quiet": True}
    run = sparl.transfer(learned, env, steps=60, out=tmp_path / "there", **told)
    assert begins.step == 0 and begins.content["replay"]["added"] == 0
    assert begins.content["state"]["returns"] == []
    assert begins.engine.layouts == source.layouts
    for name, part in source.learner.parts.items():
        there = begins.engine.learner.parts[name]
        for one, other in zip(leaves(part), leaves(there), strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(*map(leaves, (source.statistics, begins.engine.statistics)), strict=True):
        np.testing.assert_array_equal(one, other)
    # It learned on, and the other run stays as it is.
    assert snapshot(RunFolder(run.folder))[0].updates > 0
    assert before == {p: p.read_bytes() for p in sorted(learned.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", LEARNED)
def test_a_method_goes_on_or_what_it_left_stays(name, tmp_path):
    env, agent, method = LEARNED[name]
    sparl.train(env, agent, method, out=tmp_path / "here", **SHORT)
    run = sparl.transfer(tmp_path / "here", env, steps=80, out=tmp_path / "there", quiet=True)
    goes_on = name in ("crossq", "td3")
    found = RunFolder(run.folder).read_config().method
    assert found == (method if goes_on else methods.Dense())
    before, after = (sparl.load(tmp_path / at).policy.network for at in ("here", "there"))
    assert [layer.shape for layer in after.layers] == [layer.shape for layer in before.layers]
    sparse = [not isinstance(layer, Dense) for layer in after.layers]
    assert sparse == [not isinstance(layer, Dense) for layer in before.layers]
    state = snapshot(RunFolder(run.folder))[0].method_state
    assert bool(state) == goes_on


def test_until_its_replay_is_filled_it_acts_as_it_has_learned(swings, tmp_path):
    where = {"steps": 100, "out": tmp_path / "there", "quiet": True}
    run = sparl.transfer(swings.folder, POINT, **where)
    agent = RunFolder(run.folder).read_config().agent
    assert agent.learning_starts == 1000  # as many as it took, and 1,000 at least
    rows = np.linspace(-1, 1, 40, dtype=np.float32).reshape(20, 2)
    np.testing.assert_array_equal(run.predict(rows)[0], swings.predict(rows)[0])
    (returned,) = RunFolder(run.folder).read_summary()["evals"][-1:]
    assert returned["return"] > -6
    state = snapshot(RunFolder(run.folder))[1]
    assert len(state.returns) == 100 // LIMIT and min(state.returns) > -8  # random ones: -20


def test_it_learns_in_the_other_environment(swings, tmp_path):
    """The same pushes to the other side: what it knew is worse than nothing there."""
    limit = {"max_episode_steps": LIMIT, "quiet": True}
    options = {"steps": 2500, "learning_starts": 200, "eval_every": 500} | limit
    there = sparl.transfer(swings.folder, Mirrored, out=tmp_path / "there", **options)
    assert swings.evaluate().mean_return > -6
    assert there.evaluate().mean_return > -8
    stays = {"steps": 100, "out": tmp_path / "stays"} | limit
    assert sparl.transfer(swings.folder, Mirrored, **stays).evaluate().mean_return < -25
    # Actions are in the new bounds.
    assert there.policy.spaces.low == (-3.0,) and there.policy.spaces.high == (1.0,)


@pytest.mark.parametrize("name", ["crossq", "dqn"])
def test_it_resumes_bit_for_bit_without_the_other_run(name, tmp_path):
    env, agent, method = LEARNED[name]
    out = tmp_path / "here"
    sparl.train(env, agent, method, out=out, **SHORT)
    told = {"steps": 120, "learning_starts": 30, "seed": 3, "quiet": True}
    sparl.transfer(out, env, out=tmp_path / "whole", **told)
    with pytest.raises(Stopped):
        stop = {"callbacks": [StopAt(checkpoint=2)]}
        sparl.transfer(out, env, out=tmp_path / "run", **told, **stop)
    shutil.rmtree(out)
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_its_command_makes_it_again(swings, tmp_path):
    options = {"env_kwargs": {"strength": 0.5}, "max_episode_steps": 10, "envs": 2, "seed": 7}
    run = sparl.transfer(
        swings.folder, MIRRORED, steps=100, learning_rate=1e-4, out=tmp_path / "run", **options
    )
    config, agent, method, _ = RunFolder(run.folder).read_config()
    words = spelling.command(config, agent, method)
    assert words[:3] == ["sparl", "transfer", str(swings.folder)]
    asked = tyro.cli(continuing.Transfer, args=words[2:])
    assert asked.env == config.env and asked.env_kwargs == config.env_kwargs
    for name in ("steps", "seed", "eval_every", "eval_episodes", "envs", "max_episode_steps"):
        assert getattr(asked, name) == getattr(config, name), name
    assert (asked.learning_rate, asked.learning_starts) == (1e-4, 1000)
    # What is pruned from it is no transfer.
    small = sparl.prune(
        run.folder, methods.RNM("1:4"), steps=20, env=MIRRORED, out=tmp_path / "small", quiet=True
    )
    config, agent, method, _ = RunFolder(small.folder).read_config()
    assert spelling.command(config, agent, method)[:2] == ["sparl", "prune"]


def test_the_command_line_tells_returns_before_and_after(swings, tmp_path, capsys):
    out = tmp_path / "there"
    words = ["transfer", str(swings.folder), MIRRORED, "--env-kwargs", "strength=0.5"]
    words += ["--max-episode-steps", str(LIMIT), "--steps", "60", "--eval-episodes", "3"]
    assert main([*words, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"sparl eval {out}" in told
    assert "before" in told and "after" in told and "over 3 episodes" in told
    assert RunFolder(out).read_config().run.env_kwargs == {"strength": 0.5}


class Wider(Point):
    observation_space: spaces.Space = spaces.Box(-np.inf, np.inf, (3,))

    def observe(self) -> Any:
        return np.append(super().observe(), np.float32(0.0))


class Handed(Point):
    action_space: spaces.Space = spaces.Box(-1.0, 1.0, (2,))


@pytest.mark.parametrize(
    "env, options, message",
    [
        (Wider, {}, r"other observations .*\(3,\), and \(2,\) there"),
        (Handed, {}, "other actions .*: 2, and 1 there"),
        (POINT, {"normalize_observations": True}, "normalize_observations decides what"),
        (POINT, {"frame_stack": 2}, "frame_stack decides what networks see"),
        (POINT, {"learning_starts": -1}, "learning_starts is -1"),
    ],
    ids=["observations", "actions", "normalized", "stacked", "starts"],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(swings, env, options, message, tmp_path):
    with pytest.raises(BadValue, match=message):
        sparl.transfer(swings.folder, env, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_checkpoint_and_a_taken_folder_are_named(swings, tmp_path):
    with pytest.raises(BadRun, match="is no run folder of sparl"):
        sparl.transfer(tmp_path / "nothing", POINT)
    with pytest.raises(BadRun, match="already holds another run"):
        sparl.transfer(swings.folder, POINT, out=swings.folder)
