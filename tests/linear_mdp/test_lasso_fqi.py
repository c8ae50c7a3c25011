"""Fitted Q-iteration: the Lasso's optimality, exact answers, recovery, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl import envs
from sparl.errors import BadEnvironment, BadValue
from sparl.linear_mdp import (
    LSVI,
    HardSparse,
    LassoFQI,
    Regression,
    RidgeFQI,
    SpreadSparse,
    Table,
    Transitions,
    collect,
    commit,
    exploration,
    greedy_in,
    of_episodes,
    uniformly,
)


def explored(mdp, episodes, seed=0):
    assert mdp.exploratory is not None
    return of_episodes(mdp, mdp.simulate(mdp.exploratory, episodes, np.random.default_rng(seed)))


@given(st.integers(0, 10_000), st.floats(0.01, 0.3))
@settings(max_examples=15, deadline=None)
def test_the_weights_are_optimal_for_the_lasso(seed, penalty):
    """Karush-Kuhn-Tucker: with the objective |y - X w|^2 / n + lambda |w|_1, the gradient
    2 X'(y - X w) / n is lambda sign(w_j) where w_j is not 0, and within lambda elsewhere."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 12))
    y = x[:, 3] - 0.5 * x[:, 7] + 0.3 * rng.normal(size=40)
    counts = rng.integers(1, 4, 40).astype(float)
    w = LassoFQI(penalty=penalty).regress(Regression(x, y, counts, 5, 8, 1.0))
    gradient = 2 * x.T @ (counts * (y - x @ w)) / counts.sum()
    chosen = w != 0
    np.testing.assert_allclose(gradient[chosen], penalty * np.sign(w[chosen]), atol=2e-3)
    assert np.abs(gradient[~chosen]).max(initial=0) <= penalty + 2e-3
    assert chosen[3]


def test_merging_equal_rows_changes_nothing():
    mdp = HardSparse(4, H=3, k=2)
    data = explored(mdp, 60)
    table, rows = Table(data, mdp.feature_map, mdp.reward_map), np.arange(data.count)
    targets = table.targets(np.array([0.3, 1.0, 0.2, 0.0])[: len(table.features)])
    merged, single = table.regression(rows, targets), table.regression(rows, targets, False)
    assert len(merged[0]) < len(single[0]) == data.count
    fits = [
        LassoFQI(penalty=0.05).regress(Regression(*part, 3, 60, 3.0)) for part in (merged, single)
    ]
    np.testing.assert_allclose(*fits, atol=1e-4)
    ridge = [RidgeFQI().regress(Regression(*part, 3, 60, 3.0)) for part in (merged, single)]
    np.testing.assert_allclose(*ridge, atol=1e-9)


@pytest.mark.parametrize("rows", [5, 30])
def test_ridge_solves_the_normal_equations(rows):
    rng = np.random.default_rng(0)
    x, y, counts = rng.normal(size=(rows, 12)), rng.normal(size=rows), np.full(rows, 2.0)
    w = RidgeFQI(ridge=0.7).regress(Regression(x, y, counts, 5, 8, 1.0))
    np.testing.assert_allclose(2 * x.T @ (y - x @ w), 0.7 * w, atol=1e-9)


@pytest.mark.parametrize("learner", [LassoFQI(penalty=1e-7), RidgeFQI(ridge=1e-6)])
def test_values_become_exact_with_much_data(learner):
    """But for the actions of the start that the exploratory policy never takes."""
    mdp = HardSparse(2, H=4, k=1)
    data = explored(mdp, 3000)
    learned = replace(learner, fold=False).fit(data, mdp.feature_map, 4, mdp.reward_map)
    q = mdp.rewards + np.einsum("xad,hd->hxa", mdp.features[mdp.pair], learned.weights)
    best = mdp.best()[0]
    np.testing.assert_allclose(q[:, 1:], best[:, 1:], atol=0.15)
    np.testing.assert_allclose(q[:, 0, 1], best[:, 0, 1], atol=0.15)
    assert mdp.value(greedy_in(mdp, learned)) == pytest.approx(3.0)


def test_the_secret_is_recovered_at_the_theorys_order_of_exploration():
    m, episodes, found = 256, 1024, 0
    for seed in range(20):
        mdp = HardSparse(m, seed=seed)
        assert mdp.exploratory is not None
        n1 = exploration(episodes, 5, 6, m + 4, 0.0098)
        rng = np.random.default_rng(seed)
        got = commit(mdp, LassoFQI(), episodes, n1, mdp.exploratory, rng)
        chosen = [i for i, _ in got.learned.selected()[0]]
        # w_1 = (H - 1) (e_k + 3/4 e_v + e_g): no more matters to the value, though s is 5.
        found += got.found and set(chosen[:3]) == {mdp.secret, m + 1, m + 2}
        assert len(chosen) < 12
    assert found >= 19


def test_where_data_name_nothing_the_lasso_finds_the_secret_and_ridge_does_not():
    """512 episodes of uniform exploration, 256 coordinates that could matter, of which two do."""
    found = {LassoFQI(): 0, RidgeFQI(): 0}
    for seed, learner in product(range(10), found):
        mdp = SpreadSparse(256, seed=seed)
        assert mdp.exploratory is not None
        rng = np.random.default_rng(seed)
        found[learner] += commit(mdp, learner, 513, 512, mdp.exploratory, rng).found
    assert found[LassoFQI()] >= 9
    assert found[RidgeFQI()] <= 4


def test_regret_adds_the_losses_of_exploration_and_of_the_learned_policy():
    mdp = HardSparse(8, k=3)
    assert mdp.exploratory is not None
    got = commit(mdp, LassoFQI(penalty=1e9), 100, 40, mdp.exploratory, np.random.default_rng(0))
    assert not got.found and not any(got.learned.selected())
    # Nothing was selected: all actions are equal, but for the rewards there and then.
    idle = mdp.value(greedy_in(mdp, got.learned))
    wanted = 40 * (5 - mdp.value(mdp.exploratory)) + 60 * (5 - idle)
    assert got.regret == pytest.approx(wanted)


def test_exploration_grows_as_the_theory_says():
    def n1(n, d=68):
        return exploration(n, 5, 6, d, 0.0098)

    assert n1(64 * 4096) / n1(4096) == pytest.approx(16, rel=0.01)  # 64^(2/3)
    assert 1 < n1(4096, d=1028) / n1(4096) < 1.2
    with pytest.raises(
        BadValue, match=r"N1, .*, is 9, more than the N = 5 in all: explore for few"
    ):
        exploration(5, 5, 6, 68, 0.0098)


def test_n1_above_n_is_refused():
    mdp = HardSparse(4)
    with pytest.raises(BadValue, match=r"is 11, more than the N = 10 in all"):
        commit(mdp, RidgeFQI(), 10, 11, mdp.uniform(), np.random.default_rng(0))


def test_rank_one_updates_of_lsvi_equal_a_fresh_solution(monkeypatch):
    """The rank-one steps of LSVI against the ridge problem of all transitions so far."""
    mdp = HardSparse(4, H=4, k=1)
    seen, given_states, given_pairs = [], [], []
    values, simulate = LSVI._values, HardSparse.simulate

    def note(self, mdp, leads, spread):
        seen.append((leads.copy(), spread.copy()))
        return values(self, mdp, leads, spread)

    def play(self, policy, episodes, rng):
        played = simulate(self, policy, episodes, rng)
        given_states.append(played.states[0])
        given_pairs.append(mdp.pair[played.states[0, :-1], played.actions[0]])
        return played

    monkeypatch.setattr(LSVI, "_values", note)
    monkeypatch.setattr(HardSparse, "simulate", play)
    LSVI(epsilon=0.5, bonus=0.5, ridge=0.5).regret(mdp, 30, np.random.default_rng(0))
    pairs = np.concatenate(given_pairs[:29])
    after = mdp.observe(np.concatenate([states[1:] for states in given_states[:29]]))
    x = mdp.features[pairs]
    inverse = np.linalg.inv(x.T @ x + 0.5 * np.eye(mdp.dimension))
    leads, spread = seen[29]
    np.testing.assert_allclose(leads, mdp.features @ inverse @ x.T @ after, atol=1e-9)
    wanted = np.einsum("pd,de,pe->p", mdp.features, inverse, mdp.features)
    np.testing.assert_allclose(spread, wanted, atol=1e-9)


class Corridor(gym.Env):
    """Five places; action 1 goes right, 0 left; 1 for coming to the right end, which ends it."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 2
        return self.seen(), {}

    def step(self, action):
        self.place = max(0, self.place + (1 if action else -1))
        return self.seen(), float(self.place == 4), self.place == 4, False, {}

    def seen(self):
        return np.array([self.place, self.np_random.normal()])


def place_map(observations):
    """One-hot of the place and the action, and twenty features of noise."""
    n = len(observations)
    found = np.zeros((n, 2, 30))
    places = observations[:, 0].astype(int)
    for action in range(2):
        found[np.arange(n), action, 5 * action + places] = 1
    found[:, :, 10:] = np.sin(observations[:, 1:, None] * np.arange(1, 21))
    return found


def test_fqi_learns_any_environment_with_a_feature_map():
    env = gym.wrappers.TimeLimit(Corridor(), 12)
    data = collect(env, uniformly(2), episodes=400)
    assert data.count == len(data.rewards) > 400
    learned = LassoFQI(penalty=0.01).fit(data, place_map, horizon=4)
    assert learned.weights.shape == (4, 30)
    # In the last step only the way into the goal is worth anything.
    last = learned.selected()[3]
    assert [i for i, _ in last] == [5 + 3] and 0.8 < last[0][1] <= 1
    observation, _ = env.reset(seed=5)
    state, total, ended = None, 0.0, False
    while not ended:
        action, state = learned.predict(observation, state)
        observation, reward, terminated, cut, _ = env.step(action)
        total, ended = total + reward, terminated or cut
    assert (total, state) == (1.0, 2)
    batch = np.array([[3.0, 0.0], [2.0, 0.0]])
    actions, states = learned.predict(batch, np.array([3, 3]), np.array([False, True]))
    assert (actions[0], states.tolist()) == (1, [4, 1])


def test_a_cross_validated_penalty_finds_what_matters():
    mdp = HardSparse(8, k=3)
    data = explored(mdp, 240)
    learned = LassoFQI(penalty="cv").fit(data, mdp.feature_map, 6, mdp.reward_map)
    assert learned.weights[0, :8].argmax() == 3
    with pytest.raises(BadValue, match=r"too few for 5 folds"):
        LassoFQI(penalty="cv", fold=False).fit(explored(mdp, 1), mdp.feature_map, 6, mdp.reward_map)


def small(**changed):
    data = {
        "observations": np.zeros((6, 2)),
        "actions": np.zeros(6, int),
        "rewards": np.ones(6),
        "next_observations": np.ones((6, 2)),
        "terminated": np.zeros(6, bool),
        "episodes": np.arange(6),
    }
    return Transitions(**(data | changed))


def nan_at(row):
    found = np.ones(6)
    found[row] = np.nan
    return found


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"rewards": nan_at(4)}, "rewards of transition 4 are not finite"),
        ({"observations": np.full((6, 2), np.inf)}, "observations of transition 0 are not finite"),
        ({"rewards": np.ones(5)}, "5 rewards"),
        ({"observations": np.zeros((6, 3))}, r"shapes \(6, 3\) and \(6, 2\)"),
    ],
)
def test_malformed_data_sets_are_refused(changed, message):
    with pytest.raises(BadValue, match=message):
        small(**changed)


def test_an_empty_data_set_is_refused():
    empty = {k: v[:0] for k, v in vars(small()).items()}
    with pytest.raises(BadValue, match="data set of transitions is empty: collect"):
        Transitions(**empty)


@pytest.mark.parametrize(
    "features, message",
    [
        (lambda o: np.ones((len(o), 3)), r"gives shape \(2, 3\) for .*\[2, actions, features\]"),
        (lambda o: np.ones((1, 2, 3)), r"gives shape \(1, 2, 3\)"),
        (lambda o: np.full((len(o), 2, 3), np.nan), "feature 0 of action 0 is nan for .*finite"),
    ],
)
def test_malformed_feature_maps_are_refused(features, message):
    with pytest.raises(BadValue, match=message):
        LassoFQI(fold=False).fit(small(), features, 2)


def test_data_that_does_not_fit_the_feature_map_is_refused():
    def one(observations):
        return np.ones((len(observations), 1, 2))

    with pytest.raises(BadValue, match=r"action 7 of transition 0: .* actions 0 to 0"):
        LassoFQI(fold=False).fit(small(actions=np.full(6, 7)), one, 2)
    with pytest.raises(BadValue, match=r"known rewards have shape \(2, 9\)"):
        LassoFQI(fold=False).fit(small(), one, 2, lambda o: np.ones((len(o), 9)))
    with pytest.raises(BadValue, match="a known reward is not finite"):
        LassoFQI(fold=False).fit(small(), one, 2, lambda o: np.full((len(o), 1), np.nan))
    with pytest.raises(BadValue, match=r"bounds is \(1.0, 0.0\)"):
        LassoFQI(fold=False).fit(small(), one, 2, bounds=(1.0, 0.0))
    with pytest.raises(BadValue, match="6 episodes cannot be split into 7 folds"):
        LassoFQI().fit(small(), one, 7)
    with pytest.raises(BadValue, match="horizon is 0"):
        LassoFQI().fit(small(), one, 0)


def test_options_out_of_range_are_named():
    for made, message in (
        (lambda: LassoFQI(penalty=-1.0), "penalty is -1"),
        (lambda: LassoFQI(delta=0.0), "delta is 0"),
        (lambda: RidgeFQI(ridge=0.0), "ridge is 0"),
        (lambda: LSVI(epsilon=2.0), "epsilon is 2"),
        (lambda: LSVI(bonus=-1.0), "bonus is -1"),
    ):
        with pytest.raises(BadValue, match=message):
            made()


def test_collect_refuses_no_amount_and_continuous_actions():
    env = gym.wrappers.TimeLimit(Corridor(), 12)
    for amount in ({}, {"episodes": 0}, {"steps": 0}):
        with pytest.raises(BadValue, match="episodes"):
            collect(env, uniformly(2), **amount)
    with pytest.raises(BadEnvironment, match=r"continuous actions.*FewActions"):
        collect(envs.make("Pendulum-v1"), uniformly(2), steps=5)
