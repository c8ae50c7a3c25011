"""Environments that are not what they were, or that do what nobody expects of them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import gymnasium as gym
import jax
import pytest
from environments import OFTEN, TINY, Point
from gymnasium import spaces

import sparl
from sparl.cli import main
from sparl.errors import BadEnvironment, BadRun, BadValue, SparlError

FEW: dict[str, Any] = OFTEN | {"steps": 60, "eval_episodes": 1}

CODE = """
import numpy as np
from environments import Point
from gymnasium import spaces

class Own(Point):
    action_space = spaces.Box(np.float32([-1.0]), np.float32([{high}]))

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        print("connected")

    def step(self, action):
        assert self.action_space.contains(action), action
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.t == 10, info

    def close(self):
        {close}
"""


def written(folder, high="3.0", close="pass"):
    (folder / "own.py").write_text(CODE.format(high=high, close=close))
    return folder / "own.py"


@pytest.fixture
def run(tmp_path):
    path = written(tmp_path)
    return sparl.train(f"{path}:Own", TINY, out=tmp_path / "run", **FEW)


def other_process(monkeypatch, path):
    """The file is imported anew, as another process does."""
    from sparl.plugins import importing

    for name in [n for n in importing.sys.modules if n.startswith(importing.FROM_FILE)]:
        monkeypatch.delitem(importing.sys.modules, name)


def test_a_policy_is_not_played_where_spaces_are_others(run, tmp_path, monkeypatch, capsys):
    written(tmp_path, high="0.1")
    other_process(monkeypatch, tmp_path)
    assert main(["eval", str(run.folder)]) == 1
    assert r"other spaces than the policy was trained with: high is (0.1" in capsys.readouterr().err
    with pytest.raises(BadRun, match=r"other spaces than the run was made with: high is \(0\.1"):
        sparl.resume(run.folder, steps=80)


def test_an_environment_that_cannot_be_closed_takes_no_returns_along(
    run, tmp_path, monkeypatch, capsys
):
    expected = run.evaluate(2).returns
    written(tmp_path, close="raise RuntimeError('the viewer is gone')")
    other_process(monkeypatch, tmp_path)
    assert sparl.load(run.folder).evaluate(2).returns == expected
    assert "could not be closed: RuntimeError: the viewer is gone" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["eval", "--episodes", "1"], ["check", "--steps", "20"]])
def test_what_an_environment_prints_is_no_part_of_json(run, tmp_path, words, capsys):
    what = str(run.folder) if words[0] == "eval" else f"{tmp_path / 'own.py'}:Own"
    capsys.readouterr()
    assert main([words[0], what, *words[1:], "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) and "connected" in told.err


def test_wrappers_that_learn_are_found_inside_of_environments(tmp_path):
    def normalized(**options):
        return gym.wrappers.NormalizeObservation(Point(**options))

    with pytest.raises(BadValue, match="NormalizeObservation keeps statistics of its own"):
        sparl.train(normalized, TINY, out=tmp_path / "run", **FEW)


class Sized(Point):
    sizes: list[Any] = []  # noqa: RUF012

    def __init__(self, size, render_mode=None):
        super().__init__(render_mode)
        self.sizes.append(size)


def test_an_environment_gets_the_arguments_that_are_recorded(tmp_path):
    run = sparl.train(
        Sized,
        TINY,
        out=tmp_path / "run",
        env_kwargs={"size": (3, (4,))},
        max_episode_steps=9,
        **FEW,
    )
    run.evaluate(1)
    assert len(Sized.sizes) > 2 and all(size == [3, [4]] for size in Sized.sizes)
    with pytest.raises(BadValue, match="no run folder can record"):
        sparl.train(Sized, TINY, env_kwargs={"size": {1: "a"}}, **FEW)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys\nsys.exit(0)", "SystemExit .*belongs under if __name__ == '__main__'"),
        (
            "import argparse\np = argparse.ArgumentParser()\n"
            "p.add_argument('--lr', required=True)\np.parse_args([])",
            "SystemExit .*belongs under if __name__",
        ),
    ],
)
def test_a_script_that_ends_while_it_is_imported_is_told(tmp_path, code, told):
    (tmp_path / "script.py").write_text(code)
    with pytest.raises(SparlError, match=told):
        sparl.train(f"{tmp_path / 'script.py'}:Any", TINY, **FEW)


def test_64_bits_are_refused(tmp_path):
    with jax.enable_x64(True), pytest.raises(BadValue, match="jax_enable_x64 is True"):
        sparl.train("environments:Point-v0", TINY, out=tmp_path / "run", **FEW)


class Old(Point):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, info


class Nothing(Point):
    def step(self, action):
        super().step(action)


@pytest.mark.parametrize(
    ("env", "told"), [(Old, "step gave 4 values"), (Nothing, "step gave None")]
)
@pytest.mark.parametrize("limit", [None, 9])
def test_steps_of_another_form_are_told_behind_a_time_limit_too(tmp_path, env, told, limit):
    with pytest.raises(SparlError, match=told):
        sparl.train(env, TINY, out=tmp_path / "run", max_episode_steps=limit, **FEW)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (spaces.Dict({0: spaces.Box(-1, 1, (2,)), 1: spaces.Box(-1, 1, (1,))}), "need names"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Box(-1, 1, (0,))}), "leave it out"),
        (spaces.Dict({}), "need names"),
    ],
)
def test_observations_without_names_or_numbers_are_told(space, told):
    class Of(Point):
        observation_space = space

    with pytest.raises(BadEnvironment, match=told):
        sparl.train(Of, TINY, **FEW)


def test_a_callback_is_an_object():
    """In a process without the checks of types, as users have it."""
    code = "import sparl; sparl.train('CartPole-v1', 'dqn', callbacks=[sparl.StopOnPlateau])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "the class StopOnPlateau: give one that is made, StopOnPlateau()" in ended.stderr
