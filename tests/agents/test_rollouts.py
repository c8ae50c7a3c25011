"""On-policy agents with several epochs of minibatches: what they are given to learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl.agents.common.discrete import chosen
from sparl.agents.common.one_step import OneStepAgent
from sparl.errors import BadValue
from sparl.networks import Networks
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder

STEPS = "environments:Steps-v0"


@dataclass(frozen=True)
class Clipped(OneStepAgent):
    """A policy gradient with clipped ratios over rollouts, as small as it can be."""

    name: ClassVar[str] = "clipped"
    metrics: ClassVar[Any] = {"loss": "train/loss", "ratio": "train/ratio"}

    rollout: int = 32
    passes: int = 2
    batch_size: int = 8
    learning_rate: float = 1e-3

    @property
    def rollout_steps(self) -> int:
        return self.rollout

    @property
    def epochs(self) -> int:
        return self.passes

    @property
    def extras(self) -> tuple[str, ...]:
        return "log_prob", "advantage", "value_target"

    def critic_loss(self, critic, batch):
        raise NotImplementedError

    def judge(self, before, after):
        raise NotImplementedError

    def evaluate(self, state, batch):
        critic, actor = state.online("critic")["critic"], state.online("actor")["actor"]
        log_pi = jax.nn.log_softmax(actor(batch.observation.T), axis=0)
        return {
            "log_prob": chosen(log_pi, batch.action[:, 0].astype(jnp.int32)),
            "value": values(critic, batch.observation),
            "next_value": values(critic, batch.next_observation),
        }

    def targets(self, rollout):
        advantage = rollout.advantages(self.gamma, 0.95)
        return {
            "log_prob": rollout.evaluated["log_prob"],
            "advantage": advantage,
            "value_target": advantage + rollout.evaluated["value"],
        }

    def update(self, state, batch, key):
        extras = batch.extras

        def critic_loss(networks: Networks):
            value = values(networks["critic"], batch.observation)
            return jnp.mean((value - extras["value_target"]) ** 2), None

        def actor_loss(networks: Networks):
            log_pi = jax.nn.log_softmax(networks["actor"](batch.observation.T), axis=0)
            log_prob = chosen(log_pi, batch.action[:, 0].astype(jnp.int32))
            ratio = jnp.exp(log_prob - extras["log_prob"])
            clipped = jnp.clip(ratio, 0.8, 1.2) * extras["advantage"]
            return -jnp.mean(jnp.minimum(ratio * extras["advantage"], clipped)), ratio

        state, _, _ = state.step("critic", critic_loss)
        state, loss, ratio = state.step("actor", actor_loss)
        return state, {"loss": loss, "ratio": jnp.mean(jnp.abs(ratio - 1))}


def values(critic, observation):
    """Of observations [batch, obs]."""
    return critic(observation.T)[0]


AGENT = Clipped(hidden=(16, 16))


class Watch(sparl.Callback):
    """Every batch that the engine was given."""

    def __init__(self, monkeypatch) -> None:
        from sparl.engine import Engine

        self.batches: list[np.ndarray] = []
        update = Engine.update

        def noted(engine, rows):
            self.batches += [rows] if rows.ndim == 2 else list(rows)
            update(engine, rows)

        monkeypatch.setattr(Engine, "update", noted)


def in_order(rows):
    """The same rows, sorted."""
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("envs, ends", [(1, (32, 64)), (4, (32, 64))])
def test_every_epoch_has_every_transition_of_the_rollout_once(tmp_path, monkeypatch, envs, ends):
    watch = Watch(monkeypatch)
    sparl.train(STEPS, AGENT, out=tmp_path / "run", **OFTEN | {"steps": 64, "envs": envs})
    assert len(watch.batches) == 2 * 2 * 4
    replay = Replay(1000, Columns(2, 3, discrete=True), envs)
    RunFolder(tmp_path / "run").checkpoints.load_replay(64, replay)
    per_rollout = np.split(np.stack(watch.batches), 2)
    for batches, end in zip(per_rollout, ends, strict=True):
        rollout = replay.span(end - 32, end)[:, :-1]  # behind come the discount and extras
        first, second = (epoch.reshape(32, -1) for epoch in np.split(batches, 2))
        for epoch in (first, second):
            np.testing.assert_array_equal(in_order(epoch[:, : rollout.shape[1]]), in_order(rollout))
        assert not np.array_equal(first, second)  # shuffled anew


def test_the_first_ratios_of_a_rollout_are_one(tmp_path, monkeypatch):
    """Old log-probabilities are of the weights before the rollout's first update."""
    agent = replace(AGENT, rollout=8, passes=1)
    sparl.train(STEPS, agent, out=tmp_path / "run", **OFTEN | {"steps": 64, "log_every": 8})
    text = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    ratio = text[0].split(",").index("ratio")
    figures = [line.split(",")[ratio] for line in text[1:] if line.split(",")[ratio]]
    assert len(figures) == 8 and max(map(float, figures)) < 1e-5


class Acted(sparl.Callback):
    """How many updates were made before the actions of each step were chosen."""

    def __init__(self, monkeypatch) -> None:
        from sparl.engine import Engine

        self.updates: list[int] = []
        explore = Engine.explore

        def noted(engine, observations, *arguments):
            assert len(observations) == 4
            self.updates.append(engine.updates)
            return explore(engine, observations, *arguments)

        monkeypatch.setattr(Engine, "explore", noted)


def test_a_rollout_has_whole_steps_of_all_environments(tmp_path, monkeypatch):
    """All that is learned from was done by the policy of that time, and is learned from once."""
    acted = Acted(monkeypatch)
    agent = replace(AGENT, rollout=32, passes=1)
    sparl.train(STEPS, agent, out=tmp_path / "run", **OFTEN | {"steps": 96, "envs": 4})
    assert acted.updates == [0] * 8 + [4] * 8 + [8] * 8


def test_a_rollout_that_would_end_within_a_step_is_refused(tmp_path):
    told = r"rollout is 32: with envs 3 it must be a multiple .* does: 24 or 48"
    with pytest.raises(BadValue, match=told):
        sparl.train("CartPole-v1", sparl.PPO(rollout=32, batch_size=8), envs=3, out=tmp_path / "r")


@pytest.mark.parametrize("envs", [1, 2])
def test_a_stopped_run_ends_with_the_same_bytes(tmp_path, envs):
    options = OFTEN | {"steps": 320, "envs": envs}
    sparl.train(STEPS, AGENT, sparl.RNM("2:4", interval=10), out=tmp_path / "whole", **options)
    with pytest.raises(Stopped):
        stop = StopAt(checkpoint=3)
        method = sparl.RNM("2:4", interval=10)
        sparl.train(STEPS, AGENT, method, out=tmp_path / "run", callbacks=[stop], **options)
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_rollout_must_fit_into_the_replay(tmp_path):
    with pytest.raises(BadValue, match="buffer_size is 20: it must be at least a rollout, 32"):
        sparl.train(STEPS, AGENT, out=tmp_path / "run", **OFTEN | {"buffer_size": 20})
