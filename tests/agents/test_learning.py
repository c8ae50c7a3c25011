"""Training learns: to swing a pendulum up, to balance a pole; sparse, or dense."""

from dataclasses import replace

import numpy as np
import pytest

import sparl
from sparl.layouts import RowSparse
from sparl.methods import DSP, SET
from sparl.methods.common import neurons

# Five thousand steps are enough with larger steps than the default. Of four seeds each, dense and
# sparse, every one came to between -155 and -190 (evaluations from step 4,000 on); a pendulum
# that only hangs or whirls has -1,200 and less.
QUICK = sparl.TD3(
    hidden=(64, 64),
    learning_rate=3e-3,
    tau=0.02,
    gamma=0.98,
    batch_size=128,
    learning_starts=500,
)
SWUNG_UP, UNTRAINED = -400, -1000


class Watch(sparl.Callback):
    def __init__(self) -> None:
        self.returns: dict[int, float] = {}
        self.restructured: list[int] = []

    def on_evaluation(self, step, evaluation) -> None:
        self.returns[step] = evaluation.mean_return

    def on_restructure(self, step, figures) -> None:
        self.restructured.append(step)


def learned(out, env, config, method="dense", *, steps, seed=1, **options):
    """What is seen of a run while it learns, and its policy."""
    watch = Watch()
    options |= {"steps": steps, "seed": seed, "eval_every": 500, "quiet": True}
    return watch, sparl.train(env, config, method, out=out, callbacks=[watch], **options).policy


@pytest.mark.parametrize(
    "method", [sparl.RNM("2:4", interval=1000), SET(0.8)], ids=lambda m: m.name
)
def test_td3_learns_to_swing_a_pendulum_up(tmp_path, method):
    watch, policy = learned(tmp_path / "run", "Pendulum-v1", QUICK, method, steps=5000)
    # The first evaluation comes before the first update.
    assert watch.returns[500] < UNTRAINED
    # The median of the last three: a policy that still learns may dip once.
    assert np.median([watch.returns[step] for step in (4000, 4500, 5000)]) > SWUNG_UP
    assert isinstance(policy.network.layers[1], RowSparse)
    assert watch.restructured == [1500, 2500, 3500, 4500]


def test_td3_swings_a_pendulum_up_with_a_tenth_of_the_neurons(tmp_path):
    """DSP; of seeds 1 to 3 the medians came to -249, -234 and -361, with 77 weights of 4352."""
    method = DSP(interval=250, floor=0.1)
    watch, policy = learned(tmp_path / "run", "Pendulum-v1", QUICK, method, steps=5000)
    assert neurons.widths(policy.network) == (7, 7)
    assert np.median([watch.returns[step] for step in (4000, 4500, 5000)]) > SWUNG_UP


QUICK_SAC = sparl.SAC(
    hidden=(64, 64),
    learning_rate=3e-3,
    tau=0.02,
    gamma=0.98,
    batch_size=128,
    learning_starts=500,
)


def test_sac_learns_to_swing_a_pendulum_up(tmp_path):
    """Three thousand steps; of seeds 0 to 3 the medians came to -182, -169, -292 and -157."""
    watch, _ = learned(tmp_path / "run", "Pendulum-v1", QUICK_SAC, steps=3000)
    assert watch.returns[500] < UNTRAINED
    assert np.median([watch.returns[step] for step in (2000, 2500, 3000)]) > SWUNG_UP


def test_a_simba_learns_from_four_environments_and_normalised_observations(tmp_path):
    """Three thousand steps of them together; of seeds 0 to 2 the medians came to -216, -180 and
    -181, with blocks of 64 to -215, -184 and -185."""
    options = {"envs": 4, "normalize_observations": True, "checkpoint_every": 2000}
    simba = replace(QUICK_SAC, network="simba", hidden=(32, 32))
    watch, _ = learned(tmp_path / "run", "Pendulum-v1", simba, steps=3000, **options)
    assert watch.returns[500] < UNTRAINED
    assert np.median([watch.returns[step] for step in (2000, 2500, 3000)]) > SWUNG_UP


QUICK_DQN = sparl.DQN(
    hidden=(128, 128),
    learning_rate=2.5e-4,
    n_step=10,
    tau=0.02,
    gamma=0.98,
    epsilon_steps=2000,
    learning_starts=500,
)


def test_dqn_learns_to_balance_a_pole(tmp_path):
    """Six thousand steps. Of seeds 1 to 3 the medians came to 310, 339 and 237 of 500 at most; an
    untrained pole falls within 60 steps."""
    watch, _ = learned(tmp_path / "run", "CartPole-v1", QUICK_DQN, steps=6000, seed=2)
    assert watch.returns[500] < 60
    assert np.median([watch.returns[step] for step in (5000, 5500, 6000)]) > 150


@pytest.mark.parametrize("agent", [sparl.PrimalDual(), sparl.ActorCritic()])
def test_on_policy_agents_learn_to_balance_a_pole(tmp_path, agent):
    """A mean return of 75 over ten training episodes, within 5,000 steps; chance has 22. All of 20
    seeds each came to it (results/primal_dual)."""
    returns: list[float] = []

    class Episodes(sparl.Callback):
        def on_episode(self, step, episode_return, length) -> None:
            returns.append(episode_return)

    options = {"steps": 5_000, "seed": 1, "eval_every": 5_000, "quiet": True}
    sparl.train("CartPole-v1", agent, out=tmp_path / "run", callbacks=[Episodes()], **options)
    assert np.mean(returns[:10]) < 50
    assert np.convolve(returns, np.full(10, 0.1), "valid").max() > 75
