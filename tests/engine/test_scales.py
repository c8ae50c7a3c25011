"""Rewards that are divided by the running deviation of the discounted return."""

from __future__ import annotations

import numpy as np
import pytest
from environments import OFTEN, TINY_XQC

import sparl
from sparl.engine.scales import DiscountedReturns
from sparl.replay import Replay
from sparl.storage import RunFolder
from sparl.training import snapshot


def returns_of(rewards, gamma, cuts=()):
    """G after every step, of episodes that end behind the steps in `cuts`."""
    found, running = [], 0.0
    for i, reward in enumerate(rewards):
        running = reward + gamma * running
        found.append(running)
        running = 0.0 if i in cuts else running
    return found


def test_episodes_of_several_environments_are_kept_apart():
    returns = DiscountedReturns(gamma=0.5)
    assert returns.scale == 1.0
    first, second = [1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0]
    for i in range(4):
        returns.include(np.array(first[i : i + 1]), np.array([i == 1]), 0)
        if i < 3:
            returns.include(np.array(second[i : i + 1]), np.array([False]), 1)
    expected = [*returns_of(first, 0.5, [1]), *returns_of(second, 0.5)]
    assert returns.scale == pytest.approx(1 / np.std(expected), rel=1e-6)
    returns.cut(1)
    returns.include(np.array([5.0]), np.array([False]), 0)
    returns.include(np.array([6.0]), np.array([False]), 1)
    expected += [5.0 + 0.5 * (4.0 + 0.5 * 3.0), 6.0]
    assert returns.scale == pytest.approx(1 / np.std(expected), rel=1e-6)


@pytest.mark.parametrize("envs", [3])
def test_every_step_of_a_run_counts_once(tmp_path, envs):
    sparl.train(
        "environments:Point-v0", TINY_XQC, out=tmp_path / "run", envs=envs, **OFTEN | {"steps": 90}
    )
    engine, state = snapshot(RunFolder(tmp_path / "run"))
    assert (
        engine.discounted_returns is not None
        and engine.discounted_returns.statistics.count == state.step
    )
    replay = Replay(100, engine.columns, envs)
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.load_replay(state.step, replay)
    stored = replay.span(0, state.step)
    streams: list[list[float]] = [[] for _ in range(envs)]
    expected: list[float] = []
    for i, row in enumerate(stored):
        of_stream = streams[i % envs]
        of_stream.append(row[engine.columns.reward])
        expected.append(returns_of(of_stream, 0.99)[-1])
        if row[-1] > 0:
            of_stream.clear()
    assert float(engine.discounted_returns.scale) == pytest.approx(1 / np.std(expected), rel=1e-4)
