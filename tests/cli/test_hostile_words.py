"""Paths, ids, messages, numbers and locales as they come: each is printed as it is, used as it is,
or refused in one clear line."""

from __future__ import annotations

import ast
import os
import re
import shlex
import time
from pathlib import Path

import pytest
from environments import OFTEN, TINY
from interruptions import python
from support import dense_networks

import sparl
from sparl import launch
from sparl.cli import main
from sparl.engine import Engine
from sparl.errors import BadEnvironment, BadRun, BadValue, EnvironmentFailed
from sparl.methods import Dense
from sparl.replay import Columns
from sparl.storage import quoted
from sparl.training import memory

POINT = "environments:Point-v0"
SHORT = OFTEN | {"steps": 20, "eval_every": 1000}
HOSTILE = "[a] b [/red] :x: 'ü"


def test_seeds_of_any_size_give_networks_of_their_own():
    seeds = (1, 2**32 + 1, 2**48 + 2**32 + 1, 2**63 - 1)
    found = set()
    for seed in seeds:
        sparl.RunConfig(POINT, seed=seed)
        networks = dense_networks(Engine(TINY, Dense(), Columns(2, 1), seed))
        found.add(networks["actor"][0][0].tobytes())
    assert len(found) == len(seeds)
    for seed in (-1, 2**64 + 1):
        with pytest.raises(BadValue, match=f"seed is {seed}"):
            sparl.RunConfig(POINT, seed=seed)


@pytest.mark.parametrize("size", [10**15, 10**17])
def test_a_replay_larger_than_all_memory_is_refused_with_its_size(size, tmp_path):
    message = rf"a replay of {size} transitions takes [\d.]+ (PB|EB)\. This machine has [\d.]+ GB"
    with pytest.raises(BadValue, match=message):
        sparl.train(POINT, TINY, out=tmp_path / "run", **SHORT | {"buffer_size": size})
    assert not (tmp_path / "run").exists()


def test_a_replay_that_comes_near_to_what_is_free_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "machine_memory", lambda: memory.Memory(total=10**6, free=600))
    sparl.train(POINT, TINY, out=tmp_path / "run", **SHORT | {"quiet": False})
    told = capsys.readouterr().err
    assert "the replay will take 640 bytes once it is full, and 600 bytes" in told
    monkeypatch.setattr(memory, "machine_memory", lambda: memory.Memory(total=600, free=600))
    with pytest.raises(BadValue, match="a replay of 20 transitions takes 640 bytes"):
        sparl.train(POINT, TINY, out=tmp_path / "other", **SHORT)


@pytest.mark.parametrize("env", ["a:b:c", ":x", "x:", "", "environments:a:b"])
def test_ids_that_are_none(env, tmp_path):
    with pytest.raises(BadEnvironment, match=re.escape(f"no environment {env!r}")):
        sparl.train(env, TINY, out=tmp_path / "run", **SHORT)


def test_whatever_a_constructor_raises_is_told_in_one_line(tmp_path, capsys):
    assert main(["train", "environments:Unmakeable-v0", "--out", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert told.startswith(
        "sparl: environments:Unmakeable-v0 cannot be made: Unsendable: the gear [/red] came off ("
    )
    assert told.count("\n") == 1


@pytest.mark.parametrize("options", [["--episodes", "0"], ["--seed", "-1"]])
def test_evaluations_that_cannot_be(options, tmp_path, capsys):
    sparl.train(POINT, TINY, out=tmp_path / "run", **SHORT)
    assert main(["eval", str(tmp_path / "run"), *options]) == 1
    assert f"{options[0][2:]} is {options[1]}: it must be" in capsys.readouterr().err


@pytest.mark.parametrize("bar", [True, False])
def test_nothing_is_read_as_markup_and_what_is_told_can_be_pasted(
    bar, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if bar else "0")
    monkeypatch.setenv("TERM", "xterm")
    out = tmp_path / HOSTILE
    options = OFTEN | {"steps": 120, "eval_every": 1000, "quiet": False}
    with pytest.raises(EnvironmentFailed) as caught:
        sparl.train("environments:Red-v0", TINY, out=out, **options)
    told = capsys.readouterr().err
    assert HOSTILE in told
    pattern = r"(sparl train --resume .*), or sparl\.resume\((.*)\) in Python"
    ((command, literal),) = re.findall(pattern, str(caught.value))
    assert shlex.split(command)[-1] == ast.literal_eval(literal) == str(out)
    assert "[/red] :x:" in str(caught.value)


def test_a_path_that_begins_like_an_option_is_no_option():
    assert quoted(Path("-x")) == "./-x"
    assert shlex.split(quoted(Path(HOSTILE))) == [HOSTILE]


def test_commands_print_a_hostile_path_in_a_locale_that_lacks_its_letters(tmp_path):
    script = """
        import sys
        from sparl.cli import main
        run, point = sys.argv[1], "environments:Point-v0"
        tiny = "--hidden 16 16 --batch-size 8 --learning-starts 10 --steps 20 --eval-episodes 1"
        assert main(["train", point, *tiny.split(), "--out", run]) == 0
        for command in (["inspect", run], ["compare", run, "--csv", run + "/c.csv"], ["list"],
                        ["eval", run, "--episodes", "1"]):
            assert main(command) == 0, command
    """
    # Turkish has a dotless i and commas in numbers. Where it is missing, this is the C locale.
    ascii_only = {"LC_ALL": "tr_TR.ISO-8859-9", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    run = tmp_path / HOSTILE
    with python(script, str(run), **ascii_only, PYTHONCOERCECLOCALE="0") as process:
        told, failed = process.communicate(timeout=60)
    assert process.returncode == 0, failed
    assert "[a] b [/red] :x:" in told
    assert len((run / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "now")
    first = sparl.train(POINT, TINY, **SHORT)
    second = sparl.train(POINT, sparl.TD3(hidden=(16, 16), gamma=0.9), **SHORT)
    monkeypatch.setattr(os, "getpid", lambda: 7)
    run = sparl.RunConfig(POINT)
    names = {first.folder.name, second.folder.name, launch.default_folder(run, Dense()).name}
    assert len(names) == 3
    assert all(name.startswith("environments-Point-v0-dense-0-now-") for name in names)


def test_a_folder_that_another_run_took_in_the_meantime_is_left_alone(tmp_path):
    out = tmp_path / "run"
    run = sparl.RunConfig(POINT, steps=20)
    folder = launch.new_folder(out, run, Dense())
    with launch.trainer(folder, run, TINY, Dense(), quiet=True) as late:
        sparl.train(POINT, TINY, out=out, **SHORT)
        before = (out / "metrics.csv").read_bytes()
        with pytest.raises(BadRun, match="already holds another run"):
            launch.begin(late)
    assert (out / "metrics.csv").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(BadRun, match="cannot be read or written: Not a directory"):
        sparl.train(POINT, TINY, out=tmp_path / "file" / "run", **SHORT)
