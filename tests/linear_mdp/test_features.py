"""Inputs that matter among noise: which are found, what trains on them, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_DQN
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl.analysis import video
from sparl.cli import main
from sparl.envs import NoiseInputs, SelectInputs, wrapped
from sparl.errors import BadEnvironment, BadValue
from sparl.linear_mdp import FewActions, Steering, Transitions, features

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"


def chain(seed=0, count=3000, inputs=8):
    """A data set whose reward is moved by input 2, which input 5 moves, which the action does; the
    end by the square of input 3; the others are noise."""
    rng = np.random.default_rng(seed)
    seen, actions = rng.normal(size=(count, inputs)), rng.integers(0, 2, count)
    after = rng.normal(size=(count, inputs))
    after[:, 2] = seen[:, 2] + 0.5 * seen[:, 5]
    after[:, 5] = 0.9 * seen[:, 5] + actions
    after[:, 3] = seen[:, 3]
    rewards = seen[:, 2] + actions + rng.normal(size=count)
    return Transitions(seen, actions, rewards, after, seen[:, 3] ** 2 > 4, np.arange(count) // 100)


@pytest.mark.parametrize("seed", range(5))
def test_inputs_behind_the_reward_the_end_and_kept_inputs_are_kept(seed):
    found = features.relevant_inputs(chain(seed), np.random.default_rng(seed))
    assert {2, 3, 5} <= found.keys()
    assert len(found) <= 4
    assert "reward" in found[2].predicts
    assert "end" in found[3].predicts
    assert "input 2" in found[5].predicts and "reward" not in found[5].predicts
    assert all(kept.weight == max(kept.predicts.values()) for kept in found.values())


def test_noise_alone_is_left_out():
    data, kept = chain(), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(data.count)
        noise = Transitions(
            **vars(data)
            | {"observations": data.observations[shuffled]}
            | {"next_observations": data.next_observations[shuffled]}
        )
        kept += bool(features.relevant_inputs(noise, rng))
    # Two targets each, at about one in a hundred.
    assert kept <= 3


def test_inputs_of_earlier_rounds_are_kept():
    before = features.relevant_inputs(chain(0), np.random.default_rng(0))
    short = features.relevant_inputs(chain(1, count=60), np.random.default_rng(0), before)
    assert before.keys() <= short.keys()


def test_the_four_inputs_of_the_cart_are_found_among_noise():
    lines = []
    found = features.find("CartPole-v1", 100, steps=20_000, seed=0, tell=lines.append)
    assert found.inputs_in_all == 104
    assert {0, 1, 2, 3} <= set(found.inputs)
    assert len(found.inputs) <= 6
    # A random policy does not get to where the position matters.
    assert len(lines) == 4
    assert not {"0", "1"} & set(lines[0].partition("inputs")[2].split())
    assert found.command()[:6] == [
        "sparl",
        "train",
        "CartPole-v1",
        "--agent",
        "dqn",
        "--noise-inputs",
    ]


def test_few_actions_offers_the_ends_and_the_middle():
    env = FewActions(gym.make("Pendulum-v1"))
    assert [env.action(i).tolist() for i in range(3)] == [[-2.0], [0.0], [2.0]]
    several = FewActions(gym.make("Hopper-v5"))
    assert isinstance(several.action_space, spaces.Discrete)
    assert all(gym.make("Hopper-v5").action_space.contains(several.action(i)) for i in range(12))
    found = features.find("Pendulum-v1", 20, steps=4000)
    assert {0, 1, 2} <= set(found.inputs)
    assert "--agent" not in found.command()


def test_steering_learns_the_better_action():
    """Reward for going towards 0, by one of two actions; a quadratic says so exactly."""
    rng = np.random.default_rng(0)
    seen, actions = rng.uniform(-1, 1, (2000, 3)), rng.integers(0, 2, 2000)
    after = seen + np.array([0.2, 0, 0]) * (2 * actions - 1)[:, None]
    data = Transitions(
        seen, actions, -(after[:, 0] ** 2), after, np.ones(2000, bool), np.arange(2000)
    )
    act = Steering.fit(data, np.array([0, 2]), 2)
    assert [act(np.array([x, 0.0, 0.0])) for x in (-0.9, -0.3, 0.3, 0.9)] == [1, 1, 0, 0]


def test_an_environment_without_rewards_or_ends_is_refused():
    with pytest.raises(BadValue, match=r"in 400 steps of MountainCar-v0 no input .* more steps"):
        features.find("MountainCar-v0", steps=400)


# The wrappers, and runs with them.


def test_noise_follows_the_inputs_and_the_seed_of_reset():
    env = wrapped(gym.make("CartPole-v1"), noise_inputs=3)
    plain = gym.make("CartPole-v1")
    first, again = [], []
    for seen in (first, again):
        seen.append(env.reset(seed=4)[0])
        seen += [env.step(0)[0] for _ in range(3)]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0][:4], plain.reset(seed=4)[0])
    noise = np.array(first)[:, 4:]
    assert len(np.unique(noise)) == noise.size
    assert not np.array_equal(env.reset(seed=5)[0][4:], noise[0])
    assert env.observation_space.contains(first[0])
    many = np.concatenate([env.reset(seed=i)[0][4:] for i in range(500)])
    assert abs(many.mean()) < 0.1 and abs(many.std() - 1) < 0.1


def test_selected_inputs_come_in_the_given_order():
    env = wrapped(gym.make("CartPole-v1"), 2, (5, 0, 2))
    seen, all_of_it = env.reset(seed=1)[0], wrapped(gym.make("CartPole-v1"), 2).reset(seed=1)[0]
    np.testing.assert_array_equal(seen, all_of_it[[5, 0, 2]])
    assert env.observation_space.contains(seen)
    whole = gym.make("CartPole-v1")
    assert wrapped(whole) is whole


def test_the_spec_makes_the_wrapped_environment_again():
    env = wrapped(gym.make("CartPole-v1"), 2, (5, 0))
    assert env.spec is not None
    made = gym.make(EnvSpec.from_json(env.spec.to_json()))
    np.testing.assert_array_equal(made.reset(seed=3)[0], env.reset(seed=3)[0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"inputs": (4,)}, "inputs has 4: CartPole-v1 has the inputs 0 to 3"),
        ({"inputs": (6,), "noise_inputs": 2}, "has the inputs 0 to 5"),
        ({"inputs": (0, -1)}, "inputs has -1: CartPole-v1 has the inputs 0 to 3"),
        ({"inputs": (1, 2, 1)}, "inputs has 1 more than once"),
        ({"noise_inputs": -1}, "noise_inputs is -1"),
    ],
)
def test_inputs_that_do_not_exist_are_refused_before_a_run_begins(tmp_path, options, message):
    with pytest.raises(BadValue, match=message):
        sparl.train("CartPole-v1", TINY_DQN, out=tmp_path / "run", **OFTEN | options)
    assert not (tmp_path / "run").exists()


def test_the_wrappers_refuse_other_observations_and_no_inputs():
    words = gym.make("environments:Words-v0")
    with pytest.raises(BadEnvironment, match=r"Words-v0 has Sequence observations.*FlattenObs"):
        NoiseInputs(words, 3)
    with pytest.raises(BadValue, match="inputs is empty: name at least one"):
        SelectInputs(gym.make("CartPole-v1"), ())


def test_a_run_on_the_true_inputs_equals_one_without_noise(tmp_path):
    options = {"noise_inputs": 5, "inputs": (0, 1)}
    sparl.train(STEPS, TINY_DQN, out=tmp_path / "chosen", **OFTEN | options)
    sparl.train(STEPS, TINY_DQN, out=tmp_path / "plain", **OFTEN)
    assert outcome(tmp_path / "chosen") == outcome(tmp_path / "plain")


def test_a_run_with_noise_and_chosen_inputs_resumes_bit_for_bit(tmp_path):
    options = OFTEN | {"noise_inputs": 4, "inputs": (3, 0, 1)}
    sparl.train(POINT, TINY, out=tmp_path / "whole", **options)
    with pytest.raises(Stopped):
        sparl.train(POINT, TINY, out=tmp_path / "cut", callbacks=[StopAt(checkpoint=3)], **options)
    sparl.resume(tmp_path / "cut", quiet=True)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that the command line made."""
    out = tmp_path_factory.mktemp("features") / "run"
    words = f"train {STEPS} --agent dqn --hidden 8 --batch-size 8 --learning-starts 20 --steps 60"
    words += " --eval-every 30 --eval-episodes 2 --noise-inputs 5 --inputs 0 6 --quiet --out"
    assert main([*words.split(), str(out)]) == 0
    return out


def test_a_run_on_selected_inputs_is_evaluated_filmed_and_exported(run, capsys):
    config = json.loads((run / "config.json").read_text())
    assert (config["run"]["noise_inputs"], config["run"]["inputs"]) == (5, [0, 6])
    assert config["spaces"]["observation_shape"] == [2]
    assert main(["eval", str(run), "--episodes", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((run / "summary.json").read_text())
    assert found["mean_return"] == pytest.approx(summary["evals"][-1]["return"], rel=1e-6)
    made = sparl.storage.RunFolder.open(run).read_config()[0]
    assert len(list(video.play(made, sparl.load(run).policy, seed=0)[1])) == 20
    report = sparl.export(run, dtype="float16", episodes=2)
    assert report["returns"]["original"] == pytest.approx(found["mean_return"])


def test_the_command_line_names_inputs_and_writes_the_environment(tmp_path, capsys):
    out = tmp_path / "sub" / "inputs.json"
    words = "features Pendulum-v1 --noise-inputs 10 --steps 4000 --out"
    assert main([*words.split(), str(out)]) == 0
    output = capsys.readouterr()
    assert "sparl train Pendulum-v1 --noise-inputs 10 --inputs 0 1 2" in output.out
    assert "of 13 inputs of Pendulum-v1 matter" in output.out
    assert "round 4/4" in output.err
    env = gym.make(EnvSpec.from_json(out.read_text()))
    assert env.reset(seed=0)[0].shape == env.observation_space.shape
    assert main([*words.split()[:-1], "--json", "--quiet"]) == 0
    found = capsys.readouterr()
    assert not found.err
    assert set(json.loads(found.out)["inputs"]) >= {0, 1, 2}


@pytest.mark.parametrize(
    "words, message",
    [
        ("Pendulum-v999", "no environment 'Pendulum-v999'"),
        ("CartPole-v1 --steps 0", "steps is 0: it must be at least 4"),
        ("CartPole-v1 --noise-inputs -3", "noise_inputs is -3"),
        ("environments:Words-v0", "not fixed"),
    ],
)
def test_bad_arguments_give_a_one_line_error(capsys, words, message):
    assert main(["features", *words.split()]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_an_environment_that_gymnasium_cannot_write_gives_an_error(tmp_path, capsys):
    words = ["features", STEPS, "--steps", "2000", "--out", str(tmp_path / "spec.json")]
    assert main(words) == 1
    output = capsys.readouterr()
    assert "cannot write environments:Steps-v0 as JSON" in output.err
    assert "round" not in output.err and not output.out  # it says so before it searches
    assert main(words[:-2]) == 0
    assert f"sparl train {STEPS} --agent dqn --inputs 0" in capsys.readouterr().out


def test_what_an_environment_raises_is_told_with_the_seed_of_its_episode(capsys):
    assert main(["features", "environments:Red-v0", "--steps", "2000"]) == 1
    error = capsys.readouterr().err
    assert "Red-v0 raised ArithmeticError" in error and "while it was explored" in error
    assert "(reset with seed " in error and "Traceback" not in error


def test_importing_sparl_does_not_import_scikit_learn():
    unwanted = {"sklearn", "sparl.linear_mdp"}
    words = f"import sys, sparl, sparl.cli; print({unwanted} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
