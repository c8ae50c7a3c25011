"""Environments named in any way, and rebuilt by every later command, from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from edits import edit
from environments import OFTEN, TINY, TINY_DQN
from gymnasium import spaces

import sparl
from sparl import envs
from sparl.cli import main
from sparl.config import RunConfig
from sparl.errors import BadEnvironment, BadValue, SparlError
from sparl.methods import DSP
from sparl.storage import RunFolder

CODE = """
import gymnasium as gym
import numpy as np
import beside

class Bounded(gym.ActionWrapper):
    def __init__(self, env, factor):
        super().__init__(env)
        self.factor = factor
    def action(self, action):
        return action * self.factor

class MyEnv(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    def __init__(self, gravity, names=(), render_mode=None):
        self.gravity, self.names = gravity, names
        self.render_mode = render_mode
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.float32([self.gravity, beside.NUMBER]), {}
    def step(self, action):
        self.t += 1
        return np.float32([self.gravity, self.t]), float(self.gravity), False, self.t == 10, {}

gym.register("MyOwn-v0", MyEnv, kwargs={"gravity": 7.0})
gym.register("merge-mine-v0", MyEnv, kwargs={"gravity": 8.0})
"""
SMALL = ["--steps", "60", "--hidden", "8", "--learning-starts", "20", "--eval-episodes", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with an environment, and a module beside it; another one is worked in."""
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "my_env.py").write_text(CODE)
    (tmp_path / "user" / "beside.py").write_text("NUMBER = 3")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "user")
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name in ("my_env", "beside") or name.startswith("sparl_plugin_my_env"):
            del sys.modules[name]
    for name in ("MyOwn-v0", "merge-mine-v0"):
        gym.registry.pop(name, None)


NAMES = ["my_env.py:MyEnv", "my_env:MyEnv", "my_env.py:MyOwn-v0", "my_env:MyOwn-v0"]


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_of_a_file_or_module_is_found_again(folder, monkeypatch, name, capsys):
    out = folder / "run"
    kwargs = ["--env-kwargs", "gravity=5", 'names=["a", "b"]'] if name.endswith("MyEnv") else []
    assert main(["train", name, *SMALL, *kwargs, "--quiet", "--out", str(out)]) == 0
    gravity = 5 if kwargs else 7
    monkeypatch.chdir(folder / "elsewhere")
    capsys.readouterr()
    assert main(["eval", str(out), "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["returns"] == [10.0 * gravity]
    if name != NAMES[0]:  # what follows does not go by the name
        return
    assert main(["train", "--resume", str(out), "--steps", "80", "--quiet"]) == 0
    pruned = ["--steps", "40", "--quiet", "--out", str(folder / "pruned")]
    assert main(["prune", str(out), "--method", "magnitude", "--prunings", "1", *pruned]) == 0
    assert main(["report", str(out), "--no-video", "--out", str(folder / "report.html")]) == 0
    page = (folder / "report.html").read_text()
    assert ("gravity=5" in page) == bool(kwargs)


def test_another_process_finds_it_from_another_folder(folder):
    out = folder / "run"
    sparl.train("my_env:MyOwn-v0", TINY, out=out, **OFTEN)
    finished = subprocess.run(
        [sys.executable, "-m", "sparl", "eval", str(out), "--episodes", "1"],
        cwd=folder / "elsewhere",
        capture_output=True,
        text=True,
    )
    assert "mean return 70.0" in finished.stdout, finished.stderr


def test_wrappers_come_with_their_arguments(folder, capsys):
    wrappers = ["my_env.py:Bounded", "factor=0.5", "gymnasium.wrappers:TimeLimit"]
    arguments = [*SMALL, "--env-kwargs", "gravity=1", "--quiet", "--out", str(folder / "run")]
    told = ["--wrappers", *wrappers, "max_episode_steps=4"]
    assert main(["train", "my_env.py:MyEnv", *arguments, *told]) == 0
    run = RunFolder(folder / "run").read_config().run
    assert [(Path(w.name).name, w.kwargs) for w in run.wrappers] == [
        ("my_env.py:Bounded", {"factor": 0.5}),
        ("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 4}),
    ]
    assert sparl.Run(folder / "run").evaluate(1).lengths == (4,)


def test_a_missing_argument_says_how_to_give_it(folder):
    with pytest.raises(BadEnvironment, match=r"MyEnv cannot be made: .*'gravity'.*env_kwargs"):
        sparl.train("my_env.py:MyEnv", TINY, out=folder / "run", **OFTEN)
    with pytest.raises(BadEnvironment, match=r"neither .* class Other nor registers that id"):
        sparl.train("my_env.py:Other", TINY, out=folder / "run", **OFTEN)
    assert not (folder / "run").exists()


def test_own_ids_that_begin_like_those_of_an_extra_are_found(folder):
    run = sparl.train("my_env:merge-mine-v0", TINY, out=folder / "run", **OFTEN)
    assert run.evaluate(1).returns == (80.0,)
    again = sparl.train("merge-mine-v0", TINY, out=folder / "again", **OFTEN)
    assert again.evaluate(1).returns == (80.0,)


@pytest.mark.parametrize(
    "name", ["a:b:c", ":x", "x:", "missing.py:Class", "my_env.py:", "no-such-env"]
)
def test_names_of_nothing_are_refused_in_a_line(folder, name):
    with pytest.raises((BadEnvironment, BadValue)) as caught:
        sparl.train(name, TINY, out=folder / "run", **OFTEN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [["gravity"], ["=3"], ["a=1", "a=2"], ["1a=3"]])
def test_arguments_that_cannot_be_read(words, capsys):
    with pytest.raises((SystemExit, BadValue)):
        main(["train", "Pendulum-v1", "--env-kwargs", *words, "--steps", "10"])


class Plain(gym.Env):
    """Of this test's file."""

    observation_space: spaces.Space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space: spaces.Space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    made = 0

    def __init__(self, length: int = 10, fails: int | None = None) -> None:
        type(self).made += 1
        self.length, self.closed = length, False
        if fails is not None and type(self).made > fails:
            raise RuntimeError("the simulator runs already")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.t += 1
        return np.full(2, self.t, np.float32), 1.0, False, self.t == self.length, {}

    def close(self) -> None:
        self.closed = True


def test_a_class_and_a_function_of_a_file_are_rebuilt(tmp_path):
    run = sparl.train(Plain, TINY, out=tmp_path / "run", env_kwargs={"length": 5}, **OFTEN)
    assert run.evaluate(1).lengths == (5,)
    assert sparl.resume(tmp_path / "run", steps=220, quiet=True).evaluate(1).lengths == (5,)
    made = sparl.train(lambda: Plain(6), TINY, out=tmp_path / "lambda", **OFTEN)
    assert made.evaluate(1).lengths == (6,)


def test_an_environment_with_a_spec_is_rebuilt_from_it(tmp_path):
    env = gym.wrappers.TimeLimit(gym.make("Pendulum-v1", g=5.0), 20)
    run = sparl.train(env, TINY, out=tmp_path / "run", **OFTEN)
    recorded = json.loads((run.folder / "config.json").read_text())["run"]
    assert json.loads(recorded["env_spec"])["kwargs"]["g"] == 5.0
    assert run.evaluate(1).lengths == (20,)


def test_one_environment_is_shared_and_stays_open(tmp_path, capsys):
    env = Plain()
    run = sparl.train(env, TINY, out=tmp_path / "run", **OFTEN)
    assert not env.closed
    assert run.evaluate(2).returns == (10.0, 10.0)
    config = RunFolder(run.folder).read_config().run
    assert (config.env, config.eval_env) == ("object:Plain", "shared")
    sparl.resume(run.folder, steps=230, quiet=True)
    finished = subprocess.run(
        [sys.executable, "-m", "sparl", "eval", str(run.folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert finished.returncode == 1
    assert "was an object of the process that trained" in finished.stderr
    again = sparl.prune(run.folder, DSP(), steps=40, env=Plain, out=tmp_path / "p", quiet=True)
    assert again.evaluate(1).lengths == (10,)


def test_a_simulator_that_exists_once_is_shared_if_asked(tmp_path):
    Plain.made = 0
    options = OFTEN | {"env_kwargs": {"fails": 1}}
    with pytest.raises(BadEnvironment, match=r"simulator runs already.*eval_env shared"):
        sparl.train(Plain, TINY, out=tmp_path / "run", **options)
    Plain.made = 0
    run = sparl.train(Plain, TINY, out=tmp_path / "run", eval_env="shared", **options)
    rows = (run.folder / "metrics.csv").read_text().splitlines()[1:]
    evaluated = [row.split(",")[0] for row in rows if row.split(",")[5]]
    assert evaluated == ["50", "100", "150", "200"]  # ends of episodes of ten steps


def test_several_environments_have_none_to_share():
    with pytest.raises(BadValue, match="eval_env is shared"):
        RunConfig("Pendulum-v1", envs=2, eval_env="shared")


@pytest.mark.parametrize("env", [3, None, ["Pendulum-v1"]])
def test_what_is_no_environment_is_refused(env, tmp_path):
    with pytest.raises(BadEnvironment, match="give a gymnasium id, a class"):
        sparl.train(env, TINY, out=tmp_path / "run", **OFTEN)


class OpensOnce(Plain):
    """A port, say: it can be opened again when it was closed."""

    opened = 0

    def __init__(self, fails: bool = False, **options: Any) -> None:
        if OpensOnce.opened:
            raise OSError("device busy")
        super().__init__(**options)
        OpensOnce.opened += 1
        self.fails = fails

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        if self.fails:
            raise OSError("no power")
        return super().step(action)

    def close(self) -> None:
        OpensOnce.opened -= 1


def test_a_run_that_cannot_start_closes_its_environment(tmp_path):
    for options, agent in ({}, TINY), ({"actor_obs": ("none",), "eval_env": "shared"}, TINY):
        with pytest.raises(SparlError):
            sparl.train(OpensOnce, agent, out=tmp_path / "run", **OFTEN | options)
        assert OpensOnce.opened == 0
    with pytest.raises(BadEnvironment, match="dqn needs discrete ones"):
        sparl.train(OpensOnce, TINY_DQN, out=tmp_path / "run", eval_env="shared", **OFTEN)
    run = sparl.train(OpensOnce, TINY, out=tmp_path / "run", eval_env="shared", **OFTEN)
    assert OpensOnce.opened == 0
    assert main(["eval", str(run.folder), "--episodes", "2"]) == 0
    assert OpensOnce.opened == 0


def test_what_an_environment_raises_in_an_evaluation_is_told_with_its_seed(tmp_path, capsys):
    run = sparl.train(OpensOnce, TINY, out=tmp_path / "run", eval_env="shared", **OFTEN)
    edit(
        run.folder / "config.json",
        lambda content: content["run"].update(env_kwargs={"fails": True}),
    )
    seed = envs.episode_seed(3, "eval", 0)
    assert main(["eval", str(run.folder), "--episodes", "1", "--seed", "3"]) == 1
    told = capsys.readouterr().err
    assert f"raised OSError in an evaluation: no power (reset with seed {seed})" in told


class Spaceless(gym.Env):
    pass


def test_an_environment_without_spaces_says_what_it_needs(tmp_path):
    with pytest.raises(BadEnvironment, match="has no observation_space: set it in its __init__"):
        sparl.train(Spaceless, TINY, out=tmp_path / "run", **OFTEN)


def test_an_option_of_another_name_is_told(tmp_path):
    with pytest.raises(
        BadValue, match=r"eval_evry, which is no option here. Did you mean eval_every"
    ):
        sparl.train(Plain, TINY, out=tmp_path / "run", eval_evry=3)
