"""Runs whose updates come in bundles: every few steps, or when an episode has ended."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from environments import LIMIT, OFTEN, TINY, TINY_DQN
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl.config import RunConfig
from sparl.errors import BadValue
from sparl.methods import Dense
from sparl.storage import RunFolder
from sparl.training import Trainer

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
OPTIONS = {k: v for k, v in OFTEN.items() if k != "quiet"}


def trainer_of(path, agent, method=None, env=POINT) -> Trainer:
    return Trainer(RunFolder(path), RunConfig(env, **OPTIONS), agent, method or Dense(), quiet=True)


def updates_by_step(run) -> dict[int, int]:
    with open(run / "metrics.csv", encoding="utf-8") as file:
        return {int(row["step"]): int(row["updates"]) for row in csv.DictReader(file)}


def test_several_updates_every_few_steps(tmp_path):
    agent = replace(TINY, train_freq=5, gradient_steps=3)
    sparl.train(POINT, agent, out=tmp_path / "run", **OFTEN)
    # Learning starts behind step 40; rows come every 25 steps.
    assert updates_by_step(tmp_path / "run") == {
        step: max(0, step - 40) // 5 * 3 for step in range(25, 201, 25)
    }


def test_updates_wait_for_the_end_of_episodes(tmp_path):
    agent = replace(TINY, train_freq=2, train_unit="episodes", gradient_steps=2)
    trainer = trainer_of(tmp_path, agent)
    made = []
    update = trainer.engine.update

    def noted(rows):
        made.append((trainer.state.step, 1 if rows.ndim == 2 else len(rows)))
        update(rows)

    trainer.engine.update = noted
    trainer.run()
    # Every second episode ends at a multiple of 40 steps; the first of them is all random.
    by_step = {}
    for step, count in made:
        by_step[step] = by_step.get(step, 0) + count
    assert by_step == {step: 2 * 2 * LIMIT for step in (80, 120, 160, 200)}


def test_the_last_updates_do_not_wait_for_an_episode_that_does_not_come(tmp_path):
    agent = replace(TINY, train_freq=3, train_unit="episodes")
    trainer = trainer_of(tmp_path, agent)
    trainer.run()
    # Ten episodes of 20 steps; the ninth is the last at which updates are due by their number.
    assert trainer.state.updates == OPTIONS["steps"] - agent.learning_starts


def test_the_batches_of_a_long_episode_are_not_drawn_all_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("sparl.agents.common.schedule.EPISODE_BUNDLE", 2)
    trainer = trainer_of(tmp_path, replace(TINY, train_unit="episodes"))
    drawn, sample = [], trainer.replay.sample
    monkeypatch.setattr(
        trainer.replay, "sample", lambda n, *given: drawn.append(n) or sample(n, *given)
    )
    trainer.run()
    batch = TINY.batch_size
    assert max(drawn) == 8 * 2 * batch < LIMIT * batch
    assert sum(drawn) == (OPTIONS["steps"] - TINY.learning_starts) * batch


def test_a_method_restructures_within_a_bundle_when_it_is_time(tmp_path):
    agent = replace(TINY, train_freq=4, gradient_steps=4)
    bundled = trainer_of(tmp_path / "bundled", agent, sparl.RNM("2:4", interval=6))
    bundled.run()
    with open(tmp_path / "bundled" / "restructures.csv", encoding="utf-8") as file:
        found = [int(row["updates"]) for row in csv.DictReader(file)]
    assert found == list(range(6, 161, 6))


@pytest.mark.parametrize(
    "agent",
    [
        replace(TINY_DQN, train_unit="episodes", target_update_interval=50, tau=1.0),
        replace(TINY_DQN, train_unit="episodes", gradient_steps=3),
    ],
    ids=["rare-target", "every-target"],
)
def test_episodes_of_any_length_compile_a_few_times(tmp_path, agent):
    trainer = trainer_of(tmp_path, agent, env=STEPS)
    trainer.run()
    assert trainer.engine.updates > 100
    assert trainer.engine._compiled.update._cache_size() <= 3


@pytest.mark.parametrize(
    "env, agent",
    [
        (POINT, replace(TINY, train_freq=4, gradient_steps=4, max_grad_norm=0.5)),
        (POINT, replace(TINY, train_unit="episodes", learning_rate_schedule="linear")),
    ],
    ids=["bundles", "episodes"],
)
def test_a_stopped_run_ends_with_the_same_bytes(tmp_path, env, agent):
    method = sparl.RNM("2:4", interval=6)
    sparl.train(env, agent, method, out=tmp_path / "whole", **OFTEN)
    with pytest.raises(Stopped):
        stop = StopAt(checkpoint=2)
        sparl.train(env, agent, method, out=tmp_path / "run", callbacks=[stop], **OFTEN)
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_actors_do_not_wait_for_episodes(tmp_path):
    agent = replace(TINY, train_unit="episodes")
    with pytest.raises(BadValue, match="train_unit is episodes: the 2 actors"):
        agent.check_run(RunConfig(POINT, actors=2))
