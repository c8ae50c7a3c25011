"""Returns, lengths and ends of episodes, exactly."""

from __future__ import annotations

import environments
import jax.numpy as jnp
import numpy as np
from environments import LIMIT, OFTEN, TINY

import sparl
from sparl import envs
from sparl.config import RunConfig
from sparl.envs import episode_seed
from sparl.methods import Dense
from sparl.storage import RunFolder
from sparl.training import SIDE_BY_SIDE, Evaluation, Evaluator, Trainer, return_text


def evaluator(name, episodes, seed=0, **options):
    env_id = f"environments:{name}-v0"
    return Evaluator(
        RunConfig(env_id, **options), envs.spaces_of(envs.make(env_id)), episodes, seed
    )


def push(strength):
    """A policy that always pushes as much; -1 is the lower bound of -1, 1 the upper of 3."""
    return lambda observations: np.full((len(observations), 1), strength, np.float32)


def test_returns_are_those_of_the_episodes_played_by_hand():
    found = evaluator("Point", 3, seed=5)(push(1.0))
    for i in range(3):
        env = envs.make("environments:Point-v0")
        env.reset(seed=episode_seed(5, "eval", i))
        by_hand = sum(float(env.step(np.array([3.0]))[1]) for _ in range(LIMIT))
        assert found.returns[i] == by_hand
    assert found.lengths == (LIMIT,) * 3
    assert len(set(found.returns)) == 3


def test_evaluating_again_gives_the_same_returns():
    play = evaluator("Point", 4)
    assert play(push(-1.0)) == play(push(-1.0))
    assert play(push(-1.0)) != play(push(0.0))


def test_more_episodes_than_are_played_side_by_side():
    episodes = 2 * SIDE_BY_SIDE + 3
    found = evaluator("Point", episodes)(push(0.0))
    assert len(found.returns) == episodes
    assert len(set(found.returns)) == episodes


def test_an_episode_that_ends_counts_no_further():
    found = evaluator("Falling", 12)(push(0.0))
    assert found.returns == (7.0,) * 12
    assert found.lengths == (7,) * 12


def test_an_episode_that_never_ends_is_cut():
    found = evaluator("Endless", 2, eval_max_steps=50)(push(0.0))
    assert (found.lengths, found.cut) == ((50, 50), 2)


def test_without_evaluations_no_step_is_made_but_for_training(tmp_path):
    environments.Counting.stepped.clear()
    asked = OFTEN | {"eval_episodes": 0, "steps": 60}
    run = sparl.train("environments:Counting-v0", TINY, out=tmp_path / "run", **asked)
    assert len(environments.Counting.stepped) == 60
    summary = RunFolder(run.folder).read_summary()
    assert summary is not None and summary["evals"] == [] and summary["final_return"] is None
    assert not RunFolder(run.folder).best_policy.exists()
    assert run.evaluate(episodes=2).lengths  # it can still be evaluated


def transitions(name, tmp_path):
    run = RunConfig(f"environments:{name}-v0", **{k: v for k, v in OFTEN.items() if k != "quiet"})
    trainer = Trainer(RunFolder(tmp_path / "run"), run, TINY, Dense(), quiet=True)
    trainer.folder.write_config(run, TINY, Dense(), trainer.spaces)
    trainer.run()
    return trainer.replay.columns.split(jnp.asarray(trainer.replay.span(0, 200)))


def test_a_time_limit_is_no_termination(tmp_path):
    batch = transitions("Point", tmp_path)
    assert not batch.terminated.any()
    # And no transition leads from one episode into the next: time goes on by one step in each.
    forward = batch.next_observation[:, 1] - batch.observation[:, 1]
    np.testing.assert_allclose(forward, 1 / LIMIT, rtol=1e-5)


def test_episodes_end_at_their_limit_and_where_the_run_does(tmp_path):
    run = RunConfig("environments:Point-v0", steps=50, eval_episodes=1)
    trainer = Trainer(RunFolder(tmp_path), run, TINY, Dense(), quiet=True)
    trainer.run()
    ended = trainer.replay.span(0, 50)[:, -1]
    assert np.flatnonzero(ended).tolist() == [LIMIT - 1, 2 * LIMIT - 1, 49]


def test_an_end_of_the_environments_own_is_a_termination(tmp_path):
    batch = transitions("Falling", tmp_path)
    np.testing.assert_array_equal(np.flatnonzero(batch.terminated), np.arange(6, 200, 7))


def test_random_actions_come_first_then_noise_around_the_policy(tmp_path):
    batch = transitions("Point", tmp_path)
    assert np.abs(batch.action).max() <= 1.0
    # Uniform actions spread wide; those after learning starts lie near the policy's.
    assert batch.action[:40].std() > 0.4
    steps = np.abs(np.diff(batch.action[60:80, 0]))
    assert np.median(steps) < 4 * TINY.exploration_noise


def test_returns_and_episodes_as_people_read_them():
    shown = [return_text(value) for value in (2066.44, -0.0312, 0.0, 0.00041, -7.0)]
    assert shown == ["2066.4", "-0.0312", "0.0", "0.00041", "-7.0"]
    assert Evaluation((1.0,), (5,)).counted == "1 episode"
    assert Evaluation((1.0, 2.0), (5, 5), 1, 3).counted == "2 episodes (1 cut, 3 left out)"


def test_a_return_is_worse_if_chance_does_not_explain_it():
    def played(*returns):
        return Evaluation(returns, (1,) * len(returns))

    steady, noisy = played(500.0, 500.0), played(0.0, 1000.0, 0.0, 1000.0)
    assert played(480.0, 490.0).is_worse_than(steady)
    assert not played(497.0, 498.0).is_worse_than(steady)
    assert not played(100.0, 300.0).is_worse_than(noisy)
    assert played(-30.0, -20.0).is_worse_than(played(-10.0, -11.0))
