"""The average of a policy's weights: what evaluations and saved policies have, and nothing else."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from support import rows

from sparl.agents import SAC, CrossQ
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.methods import Dense
from sparl.replay import Columns

COLUMNS = Columns(5, 3)
OVER = 4
AGENT = CrossQ(hidden=(8, 8), batch_size=16, policy_delay=2, policy_average=OVER)


class NoNoise(np.random.Generator):
    """Draws the middle of the normal distribution."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64())

    def standard_normal(self, size: int) -> np.ndarray:
        return np.zeros(size)


def vector(engine: Engine, name: str) -> np.ndarray:
    """All values of a network: weights, biases, and its norms with their statistics."""
    part = engine.learner.parts["actor"]
    values = part.target if name == "target_actor" else part.values
    return np.array(values, np.float64)


def test_it_is_the_exponential_mean_over_updates_of_the_policy():
    engine = Engine(AGENT, Dense(), COLUMNS, 0)
    rng = np.random.default_rng(0)
    expected = vector(engine, "actor")
    for update in range(9):
        engine.update(rows(rng, AGENT.batch_size, COLUMNS))
        if update % 2:
            expected += (vector(engine, "actor") - expected) / OVER
        np.testing.assert_allclose(vector(engine, "target_actor"), expected, atol=1e-6)
    assert np.abs(expected - vector(engine, "actor")).max() > 1e-3


def test_evaluations_and_policies_have_it_and_exploration_the_newest():
    averaged = Engine(AGENT, Dense(), COLUMNS, 0)
    newest = Engine(replace(AGENT, policy_average=0), Dense(), COLUMNS, 0)
    rng = np.random.default_rng(0)
    for _ in range(9):
        batch = rows(rng, AGENT.batch_size, COLUMNS)
        averaged.update(batch)
        newest.update(batch)
    observation = rng.normal(size=(1, 5)).astype(np.float32)
    # Learning is the same, and so is what explores; with no noise it is the mean.
    np.testing.assert_array_equal(vector(averaged, "actor"), vector(newest, "actor"))
    explored = [engine.explore(observation, 0, NoNoise()) for engine in (averaged, newest)]
    np.testing.assert_array_equal(*explored)
    np.testing.assert_allclose(newest.act(observation), explored[0], atol=1e-6)
    acted = averaged.act(observation)
    assert np.abs(acted - explored[0]).max() > 1e-3
    saved = np.asarray(averaged.policy()(jnp.asarray(observation.T))).T
    np.testing.assert_allclose(saved, acted, atol=1e-6)


@pytest.mark.parametrize("agent", [SAC, CrossQ])
def test_it_cannot_be_negative(agent):
    with pytest.raises(BadValue, match="policy_average is -1"):
        agent(policy_average=-1)
