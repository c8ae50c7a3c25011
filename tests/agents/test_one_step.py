"""Primal-dual pi learning and the TD actor-critic: each against a second one in numpy, how they
explore, and which transitions they learn from."""

import json
from dataclasses import replace

import numpy as np
import pytest
from environments import OFTEN, TINY_ON_POLICY
from on_policy_reference import OneStep, Reference
from reference import named
from support import LATE, assert_follows, distance, exact_start, fields, rows, trajectory

import sparl
from sparl.agents import ActorCritic, OneStepAgent, PrimalDual
from sparl.engine import Engine
from sparl.errors import BadEnvironment, BadValue
from sparl.methods import RNM
from sparl.replay import Columns
from sparl.storage import RunFolder
from sparl.training import inspect

COLUMNS = Columns(5, 4, discrete=True)
SETTINGS = {
    "hidden": (16, 12),
    "batch_size": 8,
    "learning_rate": 3e-3,
    "value_learning_rate": 1e-2,
    "entropy_bonus": 0.05,
}
PRIMAL_DUAL = PrimalDual(advantage_penalty=0.7, residual_weight=0.6, **SETTINGS)
ONE_STEP = ActorCritic(**SETTINGS)
UPDATES, SEED = 100, 7
STEPS = "environments:Steps-v0"


def batches() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rows(rng, PRIMAL_DUAL.batch_size, COLUMNS) for _ in range(UPDATES)]


@pytest.fixture(scope="module")
def primal_dual() -> list[dict]:
    return trajectory(PRIMAL_DUAL, COLUMNS, batches(), SEED)


def followed(reference_type: type[Reference], start: dict, config: OneStepAgent) -> list[dict]:
    own = (0.0, 0.0)
    if isinstance(config, PrimalDual):
        own = config.advantage_penalty, config.residual_weight
    rates = (config.learning_rate, config.value_learning_rate)
    reference = reference_type(exact_start(start), *rates, config.entropy_bonus, *own)
    states = []
    for batch in batches():
        reference.update(fields(batch, COLUMNS))
        states.append(named(reference.online, {}))
    return states


@pytest.mark.parametrize(
    ("config", "reference"), [(PRIMAL_DUAL, Reference), (ONE_STEP, OneStep)], ids=["pd", "td"]
)
def test_follows_an_independent_reference_for_100_updates(config, reference):
    states = trajectory(config, COLUMNS, batches(), SEED)
    assert set(states[0]) == {"actor", "critic"}
    assert_follows(states, followed(reference, states[0], config), learned=500)


class SemiGradient(Reference):
    def slopes(self, batch, delta):
        by_value, by_next = super().slopes(batch, delta)
        return by_value, 0 * by_next


class WholeGradient(Reference):
    def slopes(self, batch, delta):
        by_value, by_next = super().slopes(batch, delta)
        return by_value, by_next / self.share


class NeverTerminates(Reference):
    def goes_on(self, batch):
        return batch.discount


class WithoutDuality(Reference):
    def slopes(self, batch, delta):
        by_delta = 2 * self.c * delta
        return -by_delta, self.share * self.goes_on(batch) * by_delta


class JudgedBefore(Reference):
    def advantage(self, before, after):
        return before


class WithoutEntropy(Reference):
    def update(self, batch):
        self.entropy_bonus = 0.0
        super().update(batch)


@pytest.mark.parametrize(
    "wrong",
    [
        SemiGradient,
        WholeGradient,
        NeverTerminates,
        WithoutDuality,
        JudgedBefore,
        WithoutEntropy,
        OneStep,
    ],
)
def test_the_tolerance_tells_a_wrong_rule(primal_dual, wrong):
    expected = followed(wrong, primal_dual[0], PRIMAL_DUAL)
    assert distance(primal_dual[-1], expected[-1]) > 30 * LATE


def test_it_explores_by_its_policy_and_acts_by_the_likeliest_choice():
    logits = np.float32([0.0, 2.0, 1.0, -3.0])

    def network(x):
        return np.repeat(logits[:, None], x.shape[1], axis=1)

    rng, seen = np.random.default_rng(0), np.zeros((4000, 5), np.float32)
    drawn = PRIMAL_DUAL.explore(network, seen, 4, 0, rng)
    expected = np.exp(logits) / np.exp(logits).sum()
    counts = np.bincount(drawn, minlength=4) / len(drawn)
    assert np.abs(counts - expected).max() < 5 * (0.25 / len(drawn)) ** 0.5
    assert PRIMAL_DUAL.act(network, np.zeros((3, 5), np.float32)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("learning_starts", [0, 10])
def test_every_transition_is_learned_from_once_and_while_it_is_new(
    tmp_path, monkeypatch, learning_starts
):
    learned, update = [], Engine.update

    def recorded(engine, batch):
        learned.append(batch.copy())
        update(engine, batch)

    monkeypatch.setattr(Engine, "update", recorded)
    config = replace(TINY_ON_POLICY, batch_size=6, learning_starts=learning_starts)
    sparl.train(STEPS, config, out=tmp_path / "run", **OFTEN | {"steps": 45})
    # 45 or 35 steps of learning make 7 or 5 whole batches.
    assert len(learned) == (45 - learning_starts) // 6
    # The second observation counts the steps of an episode, of which there are 20 at most.
    clock = np.concatenate([batch[:, 1] for batch in learned])
    steps = (np.arange(learning_starts, learning_starts + len(clock)) % 20) / 20
    np.testing.assert_allclose(clock, steps, atol=1e-6)
    assert all((batch[:, -1] == np.float32(config.gamma)).all() for batch in learned)


def test_sparse_networks_train_resume_and_are_saved(tmp_path):
    """Bit for bit, across restructurings, stopped in the middle of a batch."""
    config = replace(TINY_ON_POLICY, batch_size=6)
    method = RNM("2:4", interval=5, sparse_layers="all")
    options = OFTEN | {"steps": 100}
    sparl.train(STEPS, config, method, out=tmp_path / "whole", **options)
    sparl.train(STEPS, config, method, out=tmp_path / "run", **options | {"steps": 40})
    sparl.resume(tmp_path / "run", steps=100, quiet=True)
    whole, run = ((tmp_path / name / "policy" / "policy.safetensors") for name in ("whole", "run"))
    assert whole.read_bytes() == run.read_bytes()
    policy = sparl.load(tmp_path / "run")
    assert policy.predict(np.zeros(2, np.float32))[0] in (3, 4, 5)
    assert inspect(tmp_path / "run")["networks"].keys() == {"actor", "critic"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("value_learning_rate", 0.0),
        ("entropy_bonus", -1.0),
        ("advantage_penalty", -0.5),
        ("residual_weight", 1.5),
    ],
)
def test_options_out_of_range(option, value):
    with pytest.raises(BadValue, match=f"{option} is {value}"):
        PrimalDual(**{option: value})


def test_a_run_of_before_the_residual_weight_goes_on_with_the_whole_gradient(tmp_path):
    sparl.train(STEPS, TINY_ON_POLICY, out=tmp_path / "run", **OFTEN)
    path = tmp_path / "run" / "config.json"
    recorded = json.loads(path.read_text())
    del recorded["agent"]["residual_weight"], recorded["digest"]
    path.write_text(json.dumps(recorded))
    assert RunFolder.open(tmp_path / "run").record().agent.residual_weight == 1.0


def test_a_replay_smaller_than_a_batch_is_refused(tmp_path):
    config = replace(TINY_ON_POLICY, batch_size=6)
    with pytest.raises(BadValue, match=r"buffer_size is 5.*a rollout, 6"):
        sparl.train(STEPS, config, out=tmp_path / "run", **OFTEN | {"buffer_size": 5})


def test_continuous_actions_are_refused_with_what_fits(tmp_path):
    with pytest.raises(BadEnvironment, match=r"primal_dual needs discrete ones.*: td3, sac"):
        sparl.train("environments:Point-v0", TINY_ON_POLICY, out=tmp_path / "run", **OFTEN)
