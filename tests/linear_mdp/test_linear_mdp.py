"""The hard instance has the figures worked out for it; planning agrees with other ways."""

from __future__ import annotations

from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import sparl
from sparl.errors import BadValue
from sparl.linear_mdp import LSVI, HardSparse, SparseLinearMDP, SpreadSparse


def tiny(seed: int, horizon: int = 3) -> SparseLinearMDP:
    """A random MDP of three states, with one, two and three actions: features are probabilities of
    a few next states each, and one feature that does not matter."""
    rng = np.random.default_rng(seed)
    psi = np.zeros((5, 3))
    psi[:4] = rng.dirichlet(np.ones(3), 4)
    blocks = [np.hstack([rng.dirichlet(np.ones(4), n), rng.normal(size=(n, 1))]) for n in (1, 2, 3)]
    return SparseLinearMDP(blocks, psi, [rng.random(n) for n in (1, 2, 3)], horizon, start=1)


@pytest.mark.parametrize("m", [16, 64, 256])
def test_the_hard_instance_has_the_figures_of_its_construction(m):
    mdp = HardSparse(m, H=6, k=m // 3)
    assert mdp.dimension == m + 4
    assert mdp.actions.tolist() == [m, 2 * m, 1, 1]
    assert mdp.support.tolist() == [m // 3, m, m + 1, m + 2, m + 3]
    assert mdp.exploratory is not None
    assert round(mdp.eigenvalue(mdp.exploratory), 4) == 0.0098
    assert mdp.best()[1] == pytest.approx(5.0)
    # By hand: 1/2 to stay, 1/4 to the goal, at five steps in the good state.
    inside = 0.0
    for steps in range(1, 6):
        inside = 1 + 0.5 * inside + 0.25 * (steps - 1)
    assert mdp.value(mdp.exploratory) == pytest.approx(inside)


def test_the_uniform_policys_eigenvalue_falls_with_the_number_of_actions():
    found = [HardSparse(m).eigenvalue(HardSparse(m).uniform()) for m in (16, 64, 256)]
    assert found == pytest.approx([1.2e-3, 3.1e-4, 7.9e-5], rel=0.03)


def test_only_the_secret_action_leads_to_the_good_state():
    mdp = HardSparse(8, k=5)
    leads = mdp.transitions[0, :8]
    np.testing.assert_array_equal(leads[:, 1], np.arange(8) == 5)
    np.testing.assert_array_equal(leads[:, 3], np.arange(8) != 5)
    sign = np.sign(mdp.features[8:24, 5])
    inside = mdp.transitions[1]
    np.testing.assert_allclose(inside[:, 1], 0.5 + sign / 4)
    np.testing.assert_allclose(inside[:, 2], 0.25)
    np.testing.assert_allclose(inside[:, 3], 0.25 - sign / 4)
    assert sign.sum() == 0


@pytest.mark.parametrize("m", [16, 64, 256])
def test_the_spread_instance_has_the_figures_of_its_construction(m):
    mdp = SpreadSparse(m, s=3, H=6, seed=m)
    assert mdp.dimension == m + 2
    assert mdp.actions.tolist() == [2 * m, 1]
    assert mdp.support.tolist() == [*mdp.secret, m, m + 1]
    assert mdp.best()[1] == pytest.approx(6.0)
    assert mdp.exploratory is not None
    # Half of those alive stay: 1 + 1/2 + ... + 1/32 steps of six are in the first state.
    assert mdp.value(mdp.exploratory) == pytest.approx(63 / 32)
    assert mdp.eigenvalue(mdp.exploratory) == pytest.approx(63 / 32 / 6)


def test_secret_signs_decide_who_stays_alive():
    mdp = SpreadSparse(8, s=2, seed=1)
    agree = (mdp.features[:16, mdp.secret] == mdp.signs).mean(1)
    np.testing.assert_allclose(mdp.transitions[0, :, 0], agree)
    np.testing.assert_array_equal(mdp.transitions[1, :, 0], 0)
    drawn = {tuple(SpreadSparse(16, seed=seed).secret) for seed in range(8)}
    assert len(drawn) > 3


def test_a_learner_without_the_exploratory_policy_pays_at_least_the_bound():
    """Over all secrets; within three standard errors of the mean."""
    m, episodes = 16, 16
    for learner in (LSVI(), LSVI(epsilon=0.0, bonus=0.3)):
        found = np.array(
            [
                learner.regret(HardSparse(m, k=k), episodes, np.random.default_rng([k, i]))[-1]
                for k in range(m)
                for i in range(4)
            ]
        )
        error = found.std() / np.sqrt(len(found))
        assert found.mean() > HardSparse(m).lower_bound(episodes) - 3 * error
        # The bound is no empty one: who knew nothing for good would pay (H - 1) N.
        assert found.mean() < 5 * episodes * 0.9


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_planning_finds_the_best_of_all_policies(seed):
    mdp = tiny(seed, horizon=2)
    q, best = mdp.best()
    choices = list(product(*(range(n) for n in mdp.actions)))
    values = []
    for first, second in product(choices, choices):
        policy = np.zeros((2, *mdp.available.shape))
        policy[0, range(3), first] = policy[1, range(3), second] = 1
        values.append(mdp.value(policy))
    assert best == pytest.approx(max(values))
    assert mdp.value(mdp.greedy(q)) == pytest.approx(best)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_occupancies_are_probabilities_and_give_the_value(seed):
    mdp = tiny(seed)
    found = mdp.occupancy(mdp.uniform())
    np.testing.assert_allclose(found.sum((1, 2)), 1)
    assert (found * mdp.rewards).sum() == pytest.approx(mdp.value(mdp.uniform()))


def test_mean_returns_of_simulated_and_played_episodes_equal_the_value():
    mdp = tiny(3)
    policy, rng, count = mdp.uniform(), np.random.default_rng(0), 4000
    simulated = mdp.simulate(policy, count, rng)
    returns = mdp.rewards[simulated.states[:, :-1], simulated.actions].sum(1)
    played = np.zeros(1000)
    for i in range(len(played)):
        mdp.reset(seed=i)
        cut = False
        while not cut:
            _, reward, _, cut, _ = mdp.step(rng.integers(mdp.actions[mdp._state]))
            played[i] += reward
    for found in (returns, played):
        assert abs(found.mean() - mdp.value(policy)) < 4 * found.std() / np.sqrt(len(found))


def test_the_hard_instance_is_a_gymnasium_environment():
    env = gym.make("sparl/HardSparse-v0", m=8, H=4, seed=3)
    assert env.spec is not None and env.spec.kwargs == {"m": 8, "H": 4, "seed": 3}
    check_env(env.unwrapped, skip_render_check=True)
    mdp = env.unwrapped
    assert isinstance(mdp, HardSparse)
    observation, _ = env.reset(seed=0)
    assert observation.tolist() == [1, 0, 0, 0]
    # Of 16 actions the start has 8: 8 more is the same one again.
    observation, reward, ended, cut, _ = env.step(mdp.secret + 8)
    assert (observation.tolist(), reward, ended, cut) == ([0, 1, 0, 0], 0.0, False, False)
    steps = [env.step(0) for _ in range(3)]
    assert [(ended, cut) for _, _, ended, cut, _ in steps] == [(False, i == 2) for i in range(3)]
    assert HardSparse(8, seed=3).secret == mdp.secret
    assert len({HardSparse(16, seed=s).secret for s in range(8)}) > 3


def test_an_agent_trains_on_the_hard_instance(tmp_path):
    tiny_dqn = sparl.DQN(hidden=(8,), batch_size=8, learning_starts=40)
    options = {"steps": 60, "eval_every": 30, "eval_episodes": 1, "quiet": True}
    policy = sparl.train("sparl/HardSparse-v0", tiny_dqn, out=tmp_path / "run", **options)
    assert 0 <= policy.predict(np.eye(4, dtype=np.float32)[0])[0] < 32


def test_actions_that_do_not_exist_are_refused():
    mdp = HardSparse(4)
    mdp.reset(seed=0)
    with pytest.raises(BadValue, match="action 8: there are the actions 0 to 7"):
        mdp.step(8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"m": 12}, "m is 12: it must be a power of 2"),
        ({"m": 1}, "m is 1"),
        ({"H": 1}, "H is 1: it must be at least 2"),
        ({"k": 16}, "k is 16: there are the actions 0 to 15"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(BadValue, match=message):
        HardSparse(**options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"m": 12}, "m is 12: it must be a power of 2"),
        ({"m": 8, "s": 9}, "s is 9: there are 8 coordinates"),
        ({"s": 0}, "s is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_of_the_spread_instance_out_of_range_are_named(options, message):
    with pytest.raises(BadValue, match=message):
        gym.make("sparl/SpreadSparse-v0", **options)


def made(features=None, psi=None, rewards=None, **options):
    """Two states, which are the two features themselves."""
    features = [np.eye(2)[:1], np.eye(2)[1:]] if features is None else features
    psi = np.eye(2) if psi is None else psi
    rewards = [np.zeros(1), np.ones(1)] if rewards is None else rewards
    return SparseLinearMDP(features, psi, rewards, options.pop("horizon", 2), **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"psi": np.array([[1.0, 0.1], [0.0, 1.0]])}, r"action 0 in state 0 .*\[1.0, 0.1\]"),
        ({"psi": np.array([[1.5, -0.5], [0.0, 1.0]])}, "no probabilities"),
        ({"psi": np.full((2, 2), np.nan)}, "psi is not finite"),
        ({"psi": np.eye(3)}, "psi has 3 states: there are features of 2"),
        ({"features": [np.ones((1, 3)), np.ones((1, 2))]}, r"state 0 have shape \(1, 3\)"),
        ({"features": [np.array([[np.inf, 0]]), np.eye(2)[1:]]}, "state 0 are not finite"),
        ({"rewards": [np.zeros(2), np.zeros(1)]}, r"rewards of state 0 have shape \(2,\)"),
        ({"rewards": [np.zeros(1), np.full(1, 2.0)]}, "state 1 are not within 0 and 1"),
        ({"horizon": 0}, "horizon is 0"),
        ({"start": 2}, "start is 2: there are the states 0 to 1"),
        ({"exploratory": [np.ones(1)] * 2}, "smallest eigenvalue is .*never meets"),
        ({"exploratory": [np.ones(1)]}, "probabilities for 1 states: give them for all 2"),
        ({"exploratory": [np.full(1, 0.5), np.ones(1)]}, "in state 0: give 1 probabilities"),
    ],
)
def test_malformed_mdps_are_refused(options, message):
    with pytest.raises(BadValue, match=message):
        made(**options)


def test_redundant_features_are_refused():
    twice = [np.array([[0.5, 0.5, 0.0]]), np.array([[0.0, 0.0, 1.0]])]
    psi = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(BadValue, match=r"3 features .* have rank 2"):
        made(features=twice, psi=psi)
