"""Bad input gets an error that names it and the way out, and leaves nothing behind."""

from __future__ import annotations

import re
import sys

import environments
import gymnasium as gym
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_DQN

import sparl
from sparl.cli import main
from sparl.envs import maker, sources
from sparl.errors import BadEnvironment, BadRun, BadValue, Diverged, EnvironmentFailed
from sparl.methods import Dense
from sparl.replay import Columns, Replay
from sparl.storage import Checkpoints


@pytest.fixture(autouse=True)
def count_from_zero():
    environments.Broken.steps = environments.Unreal.steps = 0


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("HalfChetah-v5", "'HalfChetah-v5' can be made; close matches: .*HalfCheetah-v5"),
        ("HalfCheetah-v99", "close matches: .*HalfCheetah-v5"),
        ("no_such_module_at_all:Thing-v0", "there is no module no_such_module_at_all"),
        ("CartPole-v1", r"discrete actions \(Discrete\(2\)\); td3 needs continuous ones"),
        ("CartPole-v1", "What fits: dqn"),
        ("environments:TwoChoices-v0", r"discrete actions \(MultiDiscrete.*td3 needs continuous"),
        ("environments:Image-v0", r"image observations \(32, 32, 3\); .*take vectors"),
        ("environments:Boundless-v0", "actions without finite bounds"),
        ("environments:Words-v0", "whose size is not fixed"),
    ],
)
def test_environments_that_cannot_be_used(env, message, tmp_path):
    with pytest.raises(BadEnvironment, match=message):
        sparl.train(env, TINY, out=tmp_path / "run", **OFTEN)
    assert not (tmp_path / "run").exists()


def test_continuous_actions_are_not_for_dqn(tmp_path):
    message = r"Point-v0 has continuous actions \(Box.*dqn needs discrete ones.*What fits: td3, sac"
    with pytest.raises(BadEnvironment, match=message):
        sparl.train("environments:Point-v0", TINY_DQN, out=tmp_path / "run", **OFTEN)
    assert not (tmp_path / "run").exists()


def test_a_command_line_without_an_agent_says_which_one_fits(tmp_path, capsys):
    assert main(["train", "CartPole-v1", "--out", str(tmp_path / "run")]) == 1
    assert "What fits: dqn" in capsys.readouterr().err


def test_dynamic_replay_is_for_continuous_actions(tmp_path):
    options = OFTEN | {"dynamic_replay": True}
    with pytest.raises(BadValue, match=r"dynamic_replay .*Steps-v0 has discrete ones"):
        sparl.train("environments:Steps-v0", TINY_DQN, out=tmp_path / "run", **options)
    with pytest.raises(BadValue, match="buffer_drift is nan"):
        sparl.RunConfig("Pendulum-v1", buffer_drift=float("nan"))


def test_an_environment_of_an_extra_names_the_extra(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    # Another test may have imported the package; and envpool has the environment, too.
    monkeypatch.delitem(gym.registry, "highway-fast-v0", raising=False)
    monkeypatch.setattr(sources.importlib, "import_module", missing)
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(BadEnvironment, match=r'highway-env, .*pip install "sparl\[envs\]"'):
        sparl.train("highway-fast-v0", TINY, out=tmp_path / "run", **OFTEN)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (gym.error.DependencyNotInstalled("pip install gymnasium[mujoco]"), r"gymnasium\[mujoco\]"),
        (ModuleNotFoundError("No module named 'walls'", name="walls"), "the Python module 'walls'"),
        # In an environment's own words; not every such error has a name.
        (ModuleNotFoundError("no model: pip install walls"), "no model: pip install walls"),
    ],
)
def test_a_package_that_an_environment_misses_is_named(error, told, monkeypatch, tmp_path):
    def missing(*_, **__):
        raise error

    monkeypatch.setattr(maker.gym, "make", missing)
    with pytest.raises(BadEnvironment, match=told):
        sparl.train("HalfCheetah-v5", TINY, out=tmp_path / "run", **OFTEN)


@pytest.mark.parametrize("name", ["LunarLander-v3", "BipedalWalker-v3"])
def test_an_environment_of_box2d_names_its_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(BadEnvironment, match=r'Box2D, .*pip install "sparl\[box2d\]"'):
        sparl.envs.make(name)


@pytest.mark.parametrize("pattern", ["5:4", "0:4", "2:", ":4", "2", "2:4:8", "1:17", "-1:4", "a:b"])
def test_patterns_that_are_not_possible(pattern, tmp_path, capsys):
    arguments = ["train", "Pendulum-v1", "--method", "rnm", f"--pattern={pattern}"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert pattern in error
    assert "for example 2:4" in error
    assert not (tmp_path / "run").exists()


def test_a_group_wider_than_a_layer_is_allowed_and_explained(tmp_path, capsys):
    method = sparl.RNM("2:8", sparse_layers="all")
    options = OFTEN | {"quiet": False, "steps": 60}
    sparl.train("environments:Point-v0", TINY, method, out=tmp_path / "run", **options)
    told = capsys.readouterr().err
    assert "actor.hidden_0 has 2 inputs, fewer than M = 8: each row is one short group" in told


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("batch_size", 0, "batch_size is 0: it must be above 0"),
        ("learning_rate", float("nan"), "learning_rate is nan"),
        ("gamma", 2.0, "gamma is 2.0: it must be within 0 and 1"),
        ("tau", -0.1, "tau is -0.1"),
        ("policy_delay", 0, "policy_delay is 0"),
        ("n_step", 0, "n_step is 0: it must be above 0"),
        ("weight_decay", -1.0, "weight_decay is -1.0"),
        ("decoupled_weight_decay", -1.0, "decoupled_weight_decay is -1.0"),
        ("learning_starts", -1, "learning_starts is -1: it must be at least 0"),
        ("hidden", (), "hidden is 0"),
        ("hidden", (16, -3), "hidden is -3"),
    ],
)
def test_hyperparameters_out_of_range(option, value, message):
    with pytest.raises(BadValue, match=message):
        sparl.TD3(**{option: value})


@pytest.mark.parametrize("option", ["steps", "eval_every", "buffer_min", "log_every"])
def test_run_options_out_of_range(option, tmp_path):
    with pytest.raises(BadValue, match=f"{option} is 0: it must be at least 1"):
        sparl.train("Pendulum-v1", TINY, out=tmp_path / "run", **{option: 0})


def test_options_of_a_method_out_of_range():
    with pytest.raises(BadValue, match="interval is -1"):
        sparl.RNM("2:4", interval=-1)
    with pytest.raises(BadValue, match="dormant_decay is nan"):
        sparl.RNM("2:4", dormant_decay=float("nan"))


def test_an_option_of_another_method_is_refused(tmp_path, capsys):
    for words, told in (
        ("--interval=5", "--interval is no option of method dense, but of rnm, set, rigl"),
        ("--pattern 2:4", "--pattern is no option of method dense, but of rnm, asp: say which"),
        ("--no-double", "--no-double is no option of agent td3, but of dqn: .* --agent dqn"),
    ):
        assert main(["train", "Pendulum-v1", *words.split(), "--out", str(tmp_path / "run")]) == 1
        assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_pruning_says_where_an_option_belongs(tmp_path, capsys):
    for words, told in (
        ("--pattern=1:8", "--pattern is no option of method dsp, but of rnm, asp: say which"),
        (
            "--lr 1e-4",
            "no option --lr. sparl prune --help lists .*; the run's agent stays as it is",
        ),
        ("--total-timesteps 5", r"no option --total-timesteps. Did you mean --steps\?"),
    ):
        assert main(["prune", str(tmp_path), *words.split(), "--out", str(tmp_path / "run")]) == 1
        assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    out = tmp_path / "run"
    sparl.train("environments:Point-v0", TINY, out=out, **OFTEN | {"steps": 20})
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(BadRun, match=f"holds another run.*sparl train --resume {out}"):
        sparl.train("environments:Point-v0", TINY, out=out, **OFTEN)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(BadRun, match="is not empty"):
        sparl.train("environments:Point-v0", TINY, out=tmp_path / "other", **OFTEN)


@pytest.mark.parametrize(
    ("kind", "what"), [("Unreal", "the reward nan"), ("UnrealObservation", "an observation")]
)
def test_rewards_and_observations_that_are_not_finite_stop_the_run(kind, what, tmp_path):
    out = tmp_path / "run"
    # No evaluation before: its environments would count too.
    options = OFTEN | {"eval_every": 1000}
    with pytest.raises(
        Diverged, match=rf"{what} that is not finite \(step 89, episode 4"
    ) as caught:
        sparl.train(f"environments:{kind}-v0", TINY, out=out, **options)
    assert f"The checkpoint of step 89 is safe: sparl train --resume {out}" in str(caught.value)
    environments.Unreal.steps = 0
    sparl.resume(out, steps=100, quiet=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Diverged, match=r"the loss of update 1 \(step 41\) is not finite"):
        sparl.train("environments:Huge-v0", TINY, out=out, **OFTEN)
    assert Checkpoints(out / "checkpoints").steps() == [40]
    sparl.load(out)


def test_an_environment_that_raises_saves_what_was_learned(tmp_path):
    out = tmp_path / "run"
    options = OFTEN | {"eval_every": 1000}
    message = r"raised ArithmeticError in step: a gear came off \(step 89, episode 4, reset with"
    with pytest.raises(EnvironmentFailed, match=message) as caught:
        sparl.train("environments:Broken-v0", TINY, out=out, **options)
    assert "The checkpoint of step 89 is safe" in str(caught.value)
    # The episode that failed goes no further: no sum of rewards may reach into the next.
    replay = Replay(200, Columns(2, 1))
    Checkpoints(out / "checkpoints").load_replay(89, replay)
    assert np.flatnonzero(replay.span(0, 89)[:, -1]).tolist() == [19, 39, 59, 79, 88]
    policy = sparl.resume(out, quiet=True)
    assert np.isfinite(policy.predict(np.zeros(2))[0]).all()


def test_an_environment_that_raises_while_it_is_evaluated_is_named(tmp_path):
    environments.Broken.steps = 20
    with pytest.raises(EnvironmentFailed, match="in an evaluation: a gear came off"):
        sparl.train("environments:Broken-v0", TINY, out=tmp_path / "run", **OFTEN)


def test_a_run_too_short_to_learn_says_so(tmp_path, capsys):
    options = OFTEN | {"steps": 20, "quiet": False}
    sparl.train("environments:Point-v0", TINY, Dense(), out=tmp_path / "run", **options)
    assert "nothing will be learned" in capsys.readouterr().err


def test_folders_that_are_no_runs():
    for use in (sparl.load, sparl.resume):
        with pytest.raises(BadRun, match="no run folder"):
            use("no/such/folder")


def test_a_word_that_is_no_text_is_told_as_any_other_that_is_too_much(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "Pendulum-v1", "\ud800"])
    assert ended.value.code == 2
    assert r"\ud800" in capsys.readouterr().err
