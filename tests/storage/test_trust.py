"""What a run folder names is imported only where it is the user's own, or trusted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from edits import edit
from environments import OFTEN, TINY

import sparl
from sparl.cli import main
from sparl.errors import Untrusted
from sparl.methods import Dense
from sparl.storage import trust

TOY = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
import sparl

Path(__file__).with_suffix(".ran").touch()

@dataclass(frozen=True)
class Toy(sparl.TD3):
    name: ClassVar[str] = "toy"
"""
WORLD = """
from pathlib import Path
import gymnasium as gym
from environments import Point

Path(__file__).with_suffix(".ran").touch()
gym.register("World-v0", Point, max_episode_steps=20)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    sparl.train("environments:Point-v0", TINY, Dense(), out=out, **OFTEN | {"steps": 60})
    return out


@pytest.fixture
def foreign(trained, tmp_path, monkeypatch) -> Path:
    """A run of somebody else, with an agent in a file and an environment in a module.

    Nothing of it is imported in this process yet.
    """
    monkeypatch.syspath_prepend(tmp_path)
    run = shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "world.py").write_text(WORLD)
    agent = f"{tmp_path / 'toy.py'}:Toy"
    edit(run / "config.json", lambda content: content["agent"].update(name=agent))
    world = {"env": "world:World-v0", "env_spec": "", "env_folder": ""}
    edit(run / "config.json", lambda content: content["run"].update(world))
    edit(run / "summary.json", lambda content: content.update(env="world:World-v0"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    monkeypatch.setattr(trust, "_accepted", set())
    return run


def ran(run: Path) -> list[str]:
    return sorted(path.name for path in run.parent.glob("*.ran"))


def test_what_only_tells_of_a_run_imports_nothing(foreign, capsys, tmp_path):
    assert main(["inspect", str(foreign)]) == 0
    assert main(["inspect", str(foreign), "--json"]) == 0
    assert main(["compare", str(foreign), "--out", str(tmp_path / "compared")]) == 0
    page = tmp_path / "report.html"
    assert main(["report", str(foreign), "--out", str(page), "--no-video"]) == 0
    assert f"{tmp_path / 'toy.py'}:Toy, which a report does not import" in page.read_text()
    assert main(["export", str(foreign), "--out", str(tmp_path / "c")]) == 0
    int8 = ["export", str(foreign), "--dtype", "int8", "--episodes", "0"]
    assert main([*int8, "--out", str(tmp_path / "int8")]) == 0
    assert sparl.load(foreign).predict([0.0, 0.0])[0].shape == (1,)
    assert ran(foreign) == []
    capsys.readouterr()


def test_inspect_tells_of_layers_without_the_agents_code(foreign):
    from sparl.training import inspect

    found = inspect(foreign)["networks"]
    assert set(found) == {"actor", "critic_0", "critic_1"}
    assert [layer["shape"] for layer in found["actor"]["layers"]] == [(16, 2), (16, 16), (1, 16)]
    policy = inspect(foreign / "policy")["networks"]["policy"]
    assert found["actor"]["weights_kept"] == policy["weights_kept"]


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "RUN", "--episodes", "1"],
        ["train", "--resume", "RUN", "--quiet"],
        ["prune", "RUN", "--method", "magnitude", "--steps", "50", "--out", "OUT", "--quiet"],
        ["export", "RUN", "--dtype", "int8", "--episodes", "1", "--out", "OUT"],
    ],
    ids=lambda words: words[0],
)
def test_what_plays_asks_first(foreign, words, tmp_path, capsys):
    words = [{"RUN": str(foreign), "OUT": str(tmp_path / "out")}.get(word, word) for word in words]
    assert main(words) == 1
    told = capsys.readouterr().err
    assert f"names code to run (agent {tmp_path / 'toy.py'}:Toy, env world:World-v0)" in told
    assert "say --trust, or trust=True in Python" in told
    assert ran(foreign) == []
    assert not (tmp_path / "out").exists()


def test_films_of_a_foreign_run_are_left_out_with_the_reason(foreign, tmp_path):
    page = sparl.report(foreign, tmp_path / "report.html")
    assert "Not filmed" in page.read_text() and "say --trust" in page.read_text()
    assert ran(foreign) == []


def test_a_trusted_run_plays_and_goes_on_and_is_then_ones_own(foreign, monkeypatch, capsys):
    assert main(["eval", str(foreign), "--episodes", "1", "--trust"]) == 0
    assert ran(foreign) == ["world.ran"]  # an evaluation needs no agent
    sparl.resume(foreign, steps=80, quiet=True, trust=True)
    assert ran(foreign) == ["toy.ran", "world.ran"]
    monkeypatch.setattr(trust, "_accepted", set())
    assert len(sparl.Run(foreign).evaluate(1).returns) == 1
    content = json.loads((foreign / "config.json").read_text())
    assert content["labels"] == {"agent": "toy", "method": "dense"}
    capsys.readouterr()


def test_a_mark_is_of_what_is_named_and_of_who_wrote_it(foreign, monkeypatch, tmp_path):
    sparl.resume(foreign, steps=80, quiet=True, trust=True)
    monkeypatch.setattr(trust, "_accepted", set())
    other = shutil.copytree(foreign, tmp_path / "copied")
    assert sparl.Run(other).evaluate(1)  # the same code, whichever folder names it
    shutil.copy(tmp_path / "toy.py", tmp_path / "evil.py")
    evil = f"{tmp_path / 'evil.py'}:Toy"
    edit(other / "config.json", lambda content: content["agent"].update(name=evil))
    with pytest.raises(Untrusted, match=r"evil\.py"):
        sparl.resume(other, quiet=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    with pytest.raises(Untrusted):
        sparl.Run(foreign).evaluate(1)
    assert not (tmp_path / "another").exists()  # reading makes no key


@pytest.mark.parametrize(
    ("run", "named"),
    [
        ({"env": "Pendulum-v1", "begun_from": "/a:b/checkpoints/step-1"}, []),
        ({"env": "world:World-v0"}, ["env world:World-v0"]),
        ({"env": "my/world.py"}, ["env my/world.py"]),
        ({"env": "A-v0", "env_folder": "/their/modules"}, ["env_folder /their/modules"]),
        ({"env": "A-v0", "env_spec": '{"entry_point": "os:system"}'}, ["env_spec {"]),
        ({"env": "A-v0", "wrappers": [{"name": "x:Y", "kwargs": {}}]}, ["wrappers x:Y"]),
    ],
)
def test_all_that_leads_to_an_import_is_named(run, named):
    plain = {"name": "td3"}
    found = trust.code({"agent": plain, "method": {"name": "dense"}, "run": run})
    assert len(found) == len(named)
    assert all(text.startswith(word) for text, word in zip(found, named, strict=True))


def test_a_run_that_names_no_code_needs_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    old = Path(__file__).parents[1] / "helpers" / "runs_0_1" / "td3-rnm"
    run = sparl.Run(shutil.copytree(old, tmp_path / "run"))
    run.resume(steps=410, quiet=True)
    run.evaluate(1)
    assert not (tmp_path / "state").exists()
    assert "mark" not in (run.folder / "config.json").read_text()


@pytest.mark.parametrize("logs", ["minari:mujoco/hopper/medium-v0", "/some/where/at 10:30.npz"])
def test_logs_are_data_and_name_no_code(logs):
    run = {"env": "Hopper-v5", "replay": logs}
    assert trust.code({"agent": {"name": "td3"}, "method": {"name": "dense"}, "run": run}) == []
