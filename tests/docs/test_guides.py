"""What the documentation shows works: its commands parse, and the Python of its guides runs.

Every `sparl …` line of a bash block must parse, in all of `docs/` and the README; nothing is run.
The Python blocks of a page of `docs/guides/`, or of the README, run one after the other in one
namespace and in an empty folder. There `sparl.train` and its like run for a few steps, with tiny
networks and without films, whatever a block asks for. A block that begins with `# NAME.py` is
written into a file of that name and imported. Comments before a block say what a reader need not
see:

    <!-- test: setup          code that runs before the block
    code -->
    <!-- test: skip REASON -->    the block is left out
"""

from __future__ import annotations

import functools
import importlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import tyro

import sparl
from sparl import bench, launch
from sparl.cli import commands, completion, continuing
from sparl.config import options

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
HELPERS = ROOT / "tests" / "helpers"

SHORT = {"steps": 200, "quiet": True}
OFTEN = {"eval_every": 200, "eval_episodes": 1, "log_every": 100, "checkpoint_every": 100}

COMMENT_OR_BLOCK = re.compile(
    r"^<!-- test: (?P<what>setup|skip)(?P<text>.*?)-->$"
    r"|^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

COMMANDS = completion.KINDS | {"list": commands.List, "completion": commands.Completion}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page that is not skipped."""

    line: int
    """Of its first line of code, from 1."""
    language: str
    code: str
    setup: str


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, with what the comments before each say of it."""
    text = page.read_text(encoding="utf-8")
    setup, skip = "", False
    for match in COMMENT_OR_BLOCK.finditer(text):
        if match["what"] == "setup":
            setup += match["text"]
        elif match["what"] == "skip":
            skip = True
        else:
            if not skip:
                line = text.count("\n", 0, match.start("code")) + 1
                yield Block(line, match["language"], match["code"], setup)
            setup, skip = "", False
    assert not setup and not skip, f"{page.name}: a comment for a block that is not there"


def command_lines(code: str) -> Iterator[list[str]]:
    """The words after `sparl` of each of its commands in a bash block."""
    for line in code.replace("\\\n", " ").replace("&&\n", "&& ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            while command and re.match(r"\w+=", command[0]):  # variables of the environment
                command = command[1:]
            if command and Path(command[0]).name == "sparl":
                yield command[1 : command.index(">")] if ">" in command else command[1:]


def parse(words: list[str]) -> None:
    """Parses a command as the command line does, and does nothing; leaves as argparse does."""
    name, *arguments = words
    if name == "train" and "--resume" not in arguments:
        options.parse(arguments)
    elif name == "prune":
        options.parse_prune(arguments)
    elif name == "distill":
        _, further = tyro.cli(commands.Distill, args=arguments, return_unknown_args=True)
        options.parse(["CartPole-v1", "--agent", "dagger", *further])
    else:
        kind = continuing.Resume if name == "train" else COMMANDS.get(name)
        if name == "bench":
            kind, arguments = bench.BENCHMARKS[arguments[0]][0], arguments[1:]
        assert kind is not None, f"no command {name!r}"
        tyro.cli(kind, args=arguments)


FILE = re.compile(r"# (\w+\.(?:py|yaml))\n")
"""How a block begins that is a file."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipes").symlink_to(ROOT / "recipes")  # commands may take files of the checkout
    shown = list(blocks(page))
    for block in shown:
        if file := FILE.match(block.code):
            Path(file[1]).write_text(block.code, encoding="utf-8")
    for block in shown:
        if block.language != "bash":
            continue
        for words in command_lines(block.code):
            try:
                parse(words)
            except (SystemExit, sparl.SparlError) as error:
                helped = isinstance(error, SystemExit) and error.code == 0
                assert helped, f"{page.name}:{block.line}: sparl {shlex.join(words)}: {error}"


def with_options(function: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """`function` with these options, whatever it is called with."""

    @functools.wraps(function)
    def fixed_function(*arguments: Any, **given: Any) -> Any:
        return function(*arguments, **(given | fixed))

    return fixed_function


train = with_options(sparl.train, **SHORT, **OFTEN)


def small_train(env: str, agent: Any = None, method: Any = "dense", **given: Any) -> Any:
    """`sparl.train` with tiny networks that learn from the start."""
    agent = launch.agent_of("td3" if agent is None else agent)
    hidden = (16,) * len(agent.hidden)
    tiny = replace(agent, hidden=hidden, batch_size=8, learning_starts=50)
    return train(env, tiny, method, **given)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, from which modules can be imported, and training made short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sparl, "train", small_train)
    for owner, name, fixed in (
        (sparl, "prune", SHORT),
        (sparl, "distill", SHORT | {"episodes": 2, "eval_episodes": 1, "hidden": (4,)}),
        (sparl, "import_sb3", SHORT),
        (sparl.Run, "resume", SHORT),
        (sparl.Run, "prune", SHORT),
        (sparl.Run, "evaluate", {"episodes": 1}),
        (sparl.Run, "report", {"video": False, "quiet": True}),
    ):
        monkeypatch.setattr(owner, name, with_options(getattr(owner, name), **fixed))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.parametrize(
    "page", [README, *GUIDES], ids=lambda page: page.stem if page != README else "README"
)
def test_python_runs(page, folder):
    namespace: dict[str, Any] = {"__name__": page.stem, "HELPERS": HELPERS, "sparl": sparl}
    for block in blocks(page):
        if block.language != "python":
            continue
        exec(compile(block.setup, f"{page.name}, set-up for line {block.line}", "exec"), namespace)
        if file := FILE.match(block.code):
            (folder / file[1]).write_text(block.code)
            namespace |= vars(importlib.import_module(Path(file[1]).stem))
        else:
            # A traceback names the line of the page.
            code = "\n" * (block.line - 1) + block.code
            exec(compile(code, str(page), "exec"), namespace)


OTHERS = sorted(set(PAGES) - {README, *GUIDES})


def checked_train(env: str, agent: Any = None, method: Any = None, **given: Any) -> None:
    """Trains nothing; raises for an option that a run does not have."""
    sparl.RunConfig(env, **given)


def checked_prune(path: str, method: Any, *, steps: int) -> None:
    assert method.prunes, f"sparl prune refuses {method.name}"


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_other_pages_names_what_there_is(page, monkeypatch):
    monkeypatch.setattr(sparl, "train", checked_train)
    monkeypatch.setattr(sparl, "prune", checked_prune)
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.code, str(page), "exec"), {"sparl": sparl})


NAMED = re.compile(r"`([\w/*.-]+\.(?:py|cpp|h|sh|toml|yml))`")
"""A file that is spoken of."""
FOLDERS = ("src", "tests", "recipes", "docs")
TREE = [str(path) for name in FOLDERS for path in (ROOT / name).rglob("*")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_spoken_of_are_there(page):
    for name in NAMED.findall(page.read_text()):
        found = any(fnmatch(path, f"*/{name}") for path in TREE) or (ROOT / name).exists()
        assert found, f"{page.name} speaks of {name}"


def test_the_readme_is_two_screens():
    assert len(README.read_text().splitlines()) <= 150
