"""Recipes that are study files."""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dsp
import features
import gymnasium as gym
import logged
import pytest
import swept

import sparl
from sparl.config import yaml_file
from sparl.errors import BadValue
from sparl.sweeps import Study, SweepResult

RECIPES = Path(__file__).parents[2] / "recipes"
STUDIES = sorted((RECIPES / "studies").glob("*.yaml"))
OLD_RUNS = Path(__file__).parents[1] / "helpers" / "runs_0_1"
HIDDEN = 256
HEAD = "env,variant,seed"
PACKAGES = {
    "dsp_highway": "highway_env",
    "normalised_critics_go1": "envpool",
}
"""What has the environments of some studies, and may not be installed."""


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_each_study_can_be_run(file, tmp_path, monkeypatch):
    if file.stem in PACKAGES:
        pytest.importorskip(PACKAGES[file.stem])
    if file.stem == "from_logs_hopper":
        monkeypatch.chdir(tmp_path)
        logs = tmp_path / "runs" / "from_logs" / "data.npz"
        logs.parent.mkdir(parents=True)
        logged.log(logs, "Hopper-v5", 20)
    study = Study.read(file)
    assert replace(study, seeds=study.seeds[:1]).jobs()


def test_each_study_is_of_a_recipe_that_names_it():
    for file in STUDIES:
        recipe, _, study = file.stem.rpartition("_")
        assert f'"{study}"' in (RECIPES / f"{recipe}.py").read_text(), file.name


COMMAND = re.compile(r"recipes/(\w+)\.py\b([^`|#\n]*)")
PAGES = [RECIPES.parent / "README.md", *sorted((RECIPES.parent / "docs").rglob("*.md"))]
PAGES += [*(RECIPES.parent / "results").glob("**/*.md"), *RECIPES.glob("*.py")]


def test_recipes_have_the_options_by_which_they_are_called():
    files = {path.stem: path.read_text() for path in RECIPES.glob("*.py")}
    for page in PAGES:
        for name, words in COMMAND.findall(page.read_text()):
            recipe = files[name]
            recipe += "".join(files.get(m, "") for m in re.findall("^from (\\w+)", recipe, re.M))
            for option in re.findall(r"--[a-z][\w-]*", words.partition(" -- ")[0]):
                assert f'"{option}"' in recipe, f"{page.name}: {name}.py {option}"


TINY = re.compile(r"tiny-(?:(?P<n>\d)-(?P<m>\d)|(?P<percent>\d\d))")
CONTROLS = {
    (file.stem, name): options
    for file in STUDIES
    for name, options in yaml_file.read(file)["variants"].items()
    if file.stem.startswith(("shared_rows", "rnm_td3", "dst", "dqn")) and TINY.fullmatch(name)
}


def spaces_of(name):
    """How many numbers an environment's observations have, and its actions."""
    if name == "LunarLander-v3":  # which may not be installed
        return 8, gym.spaces.Discrete(4)
    env = gym.make(name)
    (observation,) = env.observation_space.shape
    return observation, env.action_space


@pytest.mark.parametrize("study, name", CONTROLS)
def test_a_tiny_control_is_the_smallest_with_as_many_weights(study, name):
    content = yaml_file.read(RECIPES / "studies" / f"{study}.yaml")
    observation, actions = spaces_of(content["envs"][0])
    networks, ends = 1, observation + int(getattr(actions, "n", 0))
    if isinstance(actions, gym.spaces.Box):  # an actor and two critics
        (action,) = actions.shape
        networks, ends = 3, (observation + action) + 2 * (observation + action + 1)

    def weights(width, share=1):
        return networks * width**2 * share + ends * width

    sparse = TINY.fullmatch(name)
    if sparse["percent"]:
        stored = weights(HIDDEN) * (100 - int(sparse["percent"])) // 100
    else:  # in hidden layers
        stored = weights(HIDDEN, int(sparse["n"]) / int(sparse["m"]))
    width, same = CONTROLS[study, name]["hidden"]
    assert width == same and weights(width - 1) < stored <= weights(width)


def test_features_trains_on_the_inputs_that_were_selected():
    with open(features.SELECTED, encoding="utf-8") as file:
        row = next(r for r in csv.DictReader(file) if (r["env"], r["seed"]) == ("CartPole-v1", "0"))
    content = yaml_file.read(RECIPES / "studies" / "features_cartpole.yaml")
    assert content["variants"]["selected"]["inputs"] == [int(i) for i in row["kept"].split()]
    assert content["options"]["noise_inputs"] == features.NOISE


def test_the_control_of_dsp_has_the_widths_that_each_seed_came_to(monkeypatch):
    old = OLD_RUNS / "dqn-dsp"
    assert dsp.widths(old) == ((2, 2), ())  # of 8 and 8
    shapes = {"actor": [(4, 3), (5, 4), (1, 5)], "q1": [(6, 4), (3, 6), (1, 3)]}
    engine = SimpleNamespace(shapes=shapes | {"q2": [(2, 4), (7, 2), (1, 7)]})
    monkeypatch.setattr(dsp, "snapshot", lambda folder: (engine, None))
    assert dsp.widths(old) == ((4, 5), (6, 7))  # of two critics the wider one
    came_to = {0: ((4, 5), (6, 7)), 1: ((9, 9), ()), 2: ((4, 5), (6, 7))}
    monkeypatch.setattr(dsp, "widths", lambda run: came_to[int(run.name[-1])])
    content = {"envs": ["Hopper-v5"], "steps": 9, "variants": {"dsp": {}}, "seeds": [0, 1, 2]}
    done = [Path(f"{name}-{seed}") for seed in came_to for name in ("dsp", "dense")]
    assert list(dsp.tiny(content, done)) == [
        content
        | {"variants": {"tiny": {"hidden": (4, 5), "critic_hidden": (6, 7)}}, "seeds": [0, 2]},
        content | {"variants": {"tiny": {"hidden": (9, 9)}}, "seeds": [1]},
    ]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """The command line of a recipe with two studies, whose runs are done at once."""
    asked, folders = [], {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    monkeypatch.setattr(swept, "STUDIES", tmp_path)
    for study in ("one", "two"):
        (tmp_path / f"named_{study}.yaml").write_text(
            f"envs: [CartPole-v1]\nseeds: 0-1\noptions: {{agent: dqn}}\n"
            f"variants:\n  dense: {{}}\n  {study}: {{tau: 0.5}}\n"
        )

    def sweep(content, out, jobs):
        made = Study.of(content).jobs()
        asked.append((out.name, [(job.variant, job.seed) for job in made], jobs))
        folder = out / "CartPole-v1"
        folder.mkdir(parents=True, exist_ok=True)
        for name, columns in (("curves", "step,eval_return"), ("runs", "steps")):
            table = folder / f"{name}.csv"
            before = table.read_text() if table.exists() else f"{HEAD},{columns}\n"
            rows = (f"{job.env},{job.variant},{job.seed},5" for job in made)
            table.write_text(before + "".join(row + ",7\n" * (name == "curves") for row in rows))
        if "stop" in content["variants"]:
            raise KeyboardInterrupt("2 of 2 runs are left")
        failed = (out / "one-9.log",) if "broken" in content["variants"] else ()
        return SweepResult(out, tuple(folder / f"{j.variant}-{j.seed}" for j in made), failed, {})

    def run(*words, **how):
        """What was swept: the folder's name, variants and seeds, and how many side by side."""
        asked.clear()
        given = [str(word) for name, path in folders.items() for word in (f"--{name}", path)]
        monkeypatch.setattr(sys, "argv", ["named.py", *given, *words])
        swept.main("what it is", "named", ("one", "two"), **how)
        return asked

    monkeypatch.setattr(sparl, "sweep", sweep)
    monkeypatch.setattr(swept, "make", lambda outputs: [o.path.write_text("made") for o in outputs])
    return run


def rows(folder):
    """Variant and seed of each row of results."""
    lines = (folder / "curves.csv").read_text().splitlines()
    return [tuple(line.split(",")[1:3]) for line in lines[1:]]


def test_a_recipe_runs_a_part_of_its_studies(recipe, tmp_path, capsys):
    assert recipe("--studies", "two", "--seeds", "1-2", "--jobs", "3") == [
        ("two", [("dense", 1), ("two", 1), ("dense", 2), ("two", 2)], 3)
    ]
    assert recipe("--only", "one", "--seeds", "0") == [("one", [("one", 0)], None)]
    assert rows(tmp_path / "results" / "one") == [("one", "0")]
    assert "made" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        recipe("--only", "three")


def test_studies_share_runs_and_keep_their_own_results(recipe, tmp_path):
    found = []
    recipe(shared={"two": "one"}, after=lambda results, done: found.append((results.name, done)))
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"one"}
    results = tmp_path / "results"
    assert rows(results / "one")[-1] == ("one", "1") and rows(results / "two")[-1] == ("two", "1")
    runs = [run.name for run in found[1][1]]
    assert found[1][0] == "two" and runs == ["dense-0", "two-0", "dense-1", "two-1"]


def test_controls_follow_and_failures_are_told_at_the_end(recipe, tmp_path):
    done = []

    def controls(content, runs):
        assert [run.name for run in runs] == ["one-0"]
        yield content | {"variants": {"broken": {}}}

    with pytest.raises(SystemExit, match=r"failed: .*one-9\.log"):
        recipe(
            *("--only", "one", "--seeds", "0"),
            controls=controls,
            after=lambda _, runs: done.extend(run.name for run in runs),
        )
    assert done == ["one-0", "broken-0"]
    assert rows(tmp_path / "results" / "one") == [("one", "0"), ("broken", "0")]


def test_what_is_done_is_recorded_where_a_recipe_is_stopped(recipe, tmp_path):
    with pytest.raises(SystemExit, match="2 of 2 runs are left"):
        recipe("--only", "one", controls=lambda content, _: [content | {"variants": {"stop": {}}}])
    assert ("stop", "1") in rows(tmp_path / "results" / "one")
    with pytest.raises(BadValue, match="seeds has 'x'"):
        recipe("--seeds", "x")


def test_results_keep_what_another_machine_has_recorded(tmp_path):
    made, results = tmp_path / "swept", tmp_path / "results"
    made.mkdir()
    results.mkdir()
    (results / "curves.csv").write_text(f"{HEAD},step,eval_return\nE,a,0,5,1\nE,b,1,5,2\n")
    (results / "runs.csv").write_text(
        f"{HEAD},steps,neurons,weights_kept,bytes,average_compression_ratio\nE,b,1,5,6,7,8,0\n"
    )
    (made / "curves.csv").write_text(f"{HEAD},step,eval_return\nE,a,0,5,3\n/x/y.py:E,a,1,5,4\n")
    (made / "runs.csv").write_text(
        f"{HEAD},steps,final_return,average_compression_ratio,neurons,weights_kept,bytes\n"
        "E,a,1,5,9,0.5,1,2,3\n"
    )
    swept.add(made, results)
    assert (results / "curves.csv").read_text().splitlines()[1:] == [
        "E,a,0,5,3",
        "E,a,1,5,4",
        "E,b,1,5,2",
    ]
    assert (results / "runs.csv").read_text().splitlines()[1:] == [
        "E,b,1,5,6,7,8,0",
        "E,a,1,5,1,2,3,0.5",
    ]
