"""Plug-ins that would train something else than they seem to, or could not be found again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from environments import OFTEN, TINY

import sparl
from sparl import plugins
from sparl.agents import AGENTS
from sparl.cli import main
from sparl.errors import BadValue
from sparl.methods import METHODS, Dense, Static

ENV = "environments:Point-v0"
HEAD = """\
from dataclasses import dataclass
from typing import ClassVar
import sparl
from sparl.methods import Static
"""


@dataclass(frozen=True)
class TD7(sparl.TD3):
    """Forgets its name, and would be TD3 in every log."""


@dataclass(frozen=True)
class Nameless(Static):
    """Forgets its name, too."""


def refused(tmp_path: Path, agent: sparl.TD3, method: sparl.methods.Method, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        sparl.train(ENV, agent, method, out=tmp_path / "run", **OFTEN)
    assert not (tmp_path / "run").exists()


def test_a_subclass_without_a_name_of_its_own_is_refused_before_anything_is_written(tmp_path):
    refused(tmp_path, TD7(), Dense(), "TD7 has no name of its own")
    refused(tmp_path, TINY, Nameless(), "Nameless has no name of its own")


def test_a_class_in_a_function_is_refused_with_the_way_out(tmp_path):
    @dataclass(frozen=True)
    class Local(sparl.TD3):
        name: ClassVar[str] = "local"

    @dataclass(frozen=True)
    class LocalMethod(Static):
        name: ClassVar[str] = "local"

    way_out = r"cannot be found again .*: define it at the top level of a Python file"
    refused(tmp_path, Local(), Dense(), f"agent .*Local {way_out}")
    refused(tmp_path, TINY, LocalMethod(), f"method .*LocalMethod {way_out}")


def test_a_class_that_its_module_has_no_longer_is_refused(tmp_path, monkeypatch):
    """Another one of that name would be found, when the run is resumed."""

    class Other(sparl.TD3):
        name: ClassVar[str] = "other"

    Other.__qualname__ = "TD7"
    refused(tmp_path, Other(), Dense(), "TD7 cannot be found again")


@pytest.mark.parametrize(
    "spec, words",
    [
        ("nothing.py:Toy", "there is no file .*nothing.py"),
        ("nothing_at_all:Toy", "there is no module nothing_at_all"),
        ("sparl.nothing:Toy", "there is no module sparl.nothing"),
        (":Toy", "agent is ':Toy'"),
        (".toy:Toy", "agent is '.toy:Toy'"),
        ("toy.py", "choose of td3, .* or name a class: path/to/file.py:Class"),
        ("sparl.agents:TD4", "sparl.agents has no class TD4"),
        ("sparl.errors:BadRun", "sparl.errors:BadRun is no agent: .*derives from sparl.agents.Ag"),
        ("sparl.methods:RNM", "sparl.methods:RNM is no agent"),
        ("sparl.agents:AGENTS", "sparl.agents:AGENTS is no agent"),
        ("sparl.agents:OffPolicyAgent", "OffPolicyAgent has no name of its own"),
    ],
)
def test_a_name_that_finds_no_agent_is_refused_in_a_sentence(spec, words, tmp_path, capsys):
    with pytest.raises(BadValue, match=words):
        AGENTS.find(spec)
    assert main(["train", ENV, "--agent", spec, "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "code, words",
    [
        ("import nothing_at_all", "ModuleNotFoundError at .*toy.py:5: No module named 'nothing_at"),
        ("1 / 0", "ZeroDivisionError at .*toy.py:5: division by zero"),
        ("class Toy(:", "SyntaxError: invalid syntax .*toy.py, line 5"),
        (
            "class Toy(sparl.TD3):\n    name = 'toy'\n    tau: float = 0.5",
            "Toy is no dataclass .*tau",
        ),
        (
            "class Toy(sparl.agents.OffPolicyAgent):\n    name = 'toy'",
            "Toy lacks actions, roles, met",
        ),
        ("class Toy(sparl.TD3):\n    pass", "Toy has no name of its own"),
        ("Toy = 3", "is no agent"),
        ("", "has no class Toy"),
        (f"sparl.train({ENV!r}, quiet=True)", "a run starts while .*toy.py is imported .*__main__"),
    ],
)
def test_a_file_that_is_no_good_is_named_with_what_is_wrong(code, words, tmp_path, capsys):
    path = tmp_path / "toy.py"
    path.write_text(HEAD + code)
    with pytest.raises(BadValue, match=words) as error:
        AGENTS.find(f"{path}:Toy")
    assert str(path) in str(error.value)
    assert main(["train", ENV, "--agent", f"{path}:Toy", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.startswith("sparl: ")
    assert not (tmp_path / "run").exists()


def test_nothing_is_left_of_a_file_that_could_not_be_imported(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(HEAD + "1 / 0")
    with pytest.raises(BadValue, match="division by zero"):
        AGENTS.find(f"{path}:Toy")
    path.write_text(HEAD + "@dataclass(frozen=True)\nclass Toy(sparl.TD3):\n    name = 'toy'")
    assert AGENTS.find(f"{path}:Toy").name == "toy"
    plugins.refuse_while_loading()  # does not: runs may start again


CLASS = """
@dataclass(frozen=True)
class {}({}):
    name: ClassVar[str] = "toy"
    {}: int = 1
"""


@pytest.mark.parametrize(
    "agents, methods, words",
    [
        ("seed", "other", "Toy has a field seed, and the run RunConfig"),
        ("quiet", "other", "Toy has a field quiet, and the command sparl train"),
        ("resume", "other", "Toy has a field resume, and the command sparl train"),
        ("mine", "mine", "Other has a field mine, and the agent Toy"),
    ],
)
def test_a_field_that_is_another_option_already_is_named(agents, methods, words, tmp_path, capsys):
    path = tmp_path / "toy.py"
    code = CLASS.format("Toy", "sparl.TD3", agents) + CLASS.format("Other", "Static", methods)
    path.write_text(HEAD + code)
    assert main(["train", ENV, "--agent", f"{path}:Toy", "--method", f"{path}:Other"]) == 1
    assert f"{words} has an option of that name" in capsys.readouterr().err


SCRIPT = """
@dataclass(frozen=True)
class Mine(sparl.TD3):
    name: ClassVar[str] = "mine"

if __name__ == "__main__":
    print(sparl.agents.name_of(Mine()))
"""


@pytest.mark.parametrize("how", ["script", "module", "without ending"])
def test_a_class_of_the_main_script_is_found_by_its_file(how, tmp_path):
    path = tmp_path / ("script" if how == "without ending" else "script.py")
    path.write_text(HEAD + SCRIPT)
    words = ["-m", "script"] if how == "module" else [str(path)]
    source = str(Path(sparl.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, *words],
        **{"cwd": tmp_path, "capture_output": True, "text": True},
        env=os.environ | {"PYTHONPATH": source},
    )
    if how == "without ending":
        assert "define it at the top level of a Python file (.py)" in ended.stderr
    else:
        assert ended.stdout == f"{path}:Mine\n", ended.stderr
        assert AGENTS.find(f"{path}:Mine").name == "mine"


def test_a_method_is_refused_in_the_same_words():
    with pytest.raises(BadValue, match=r"sparl.agents:TD3 is no method: .* sparl.methods.Method"):
        METHODS.find("sparl.agents:TD3")
