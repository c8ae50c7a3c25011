"""A search: what is chosen, what is pruned, and that a kill changes nothing of it.

In all tests but the last, runs are no processes: what stands for them writes what they would.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages.journal import JournalFileBackend

import sparl
from sparl import envs
from sparl.cli import main
from sparl.config import options
from sparl.errors import BadFile, BadRun, BadValue
from sparl.storage import RunFolder
from sparl.sweeps import Study
from sparl.sweeps.pool import Pool
from sparl.sweeps.space import Space

POINT = "environments:Point-v0"
EVERY, STEPS = 10, 60
SPACE = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "method": ["dense", "rnm"],
    "pattern": ["2:4", "1:8"],
    "batch_size": {"low": 8, "high": 16},
    "hidden": [[8, 8], [16]],
}
OPTIONS = {"eval_every": EVERY, "eval_episodes": 1, "learning_starts": 20}
STUDY = {"envs": POINT, "steps": STEPS, "options": OPTIONS}
BROKEN = 13
"""Runs with batches of this size fail."""


def study(seeds=0, **changes):
    return STUDY | {"seeds": seeds, "search": {"trials": 16, "options": SPACE} | changes}


def _parsed(words):
    """As far as it matters here: to parse all of it takes a third of a second."""
    given = dict(pairwise(words))
    agent = sparl.TD3(
        learning_rate=float(given.get("--learning-rate", 3e-4)),
        batch_size=int(given.get("--batch-size", 256)),
        tau=float(given.get("--tau", 0.005)),
    )
    method = sparl.RNM() if given["--method"] == "rnm" else sparl.methods.Dense()
    run = sparl.RunConfig(POINT, steps=STEPS, eval_every=EVERY, seed=int(given.get("--seed", 0)))
    return run, agent, method


class Killed(BaseException):
    """In place of a kill."""


class Runs(Pool):
    """In place of the pool: each look at a run finds one evaluation more."""

    started = 0

    def __init__(self, cores, size):
        self.size, self.of = size, {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    @property
    def free(self):
        return len(self.of) < self.size

    @property
    def running(self):
        return list(self.of)

    def start(self, name, words, log):
        type(self).started += 1
        log.write_text("a gear came off\n")
        self.of[name] = self._run(words)

    def _run(self, words):
        if words[1] == "--resume":
            folder = RunFolder(words[2])
            run, agent, method, _ = folder.record()
            made = len((folder.path / "metrics.csv").read_text().splitlines()) - 1
        else:
            run, agent, method, made = *_parsed(words), 0
            folder = RunFolder(words[-1])
            folder.path.mkdir()
            folder.write_config(run, agent, method, SPACES)
        if agent.batch_size == BROKEN:
            yield 1
        log = folder.table("metrics.csv", ["step", "updates", "steps_per_second", "eval_return"])
        worth = 1e4 * agent.learning_rate * (2 if method.name == "rnm" else 1) + run.seed
        evals = [{"step": s, "return": worth * s} for s in range(EVERY, STEPS + 1, EVERY)]
        for found in evals[made:]:
            log.append({"step": found["step"], "updates": 0, "eval_return": found["return"]})
            yield None
        last, mean = evals[-1]["return"], sum(e["return"] for e in evals) / len(evals)
        figures = {"final_return": mean, "best_return": last, "evals": evals, "steps": STEPS}
        figures |= {"env": run.env, "seed": run.seed, "wall_seconds": 1, "steps_per_second": 1}
        folder.write_summary(figures)
        yield 0

    def ended(self):
        found = {name: next(run) for name, run in self.of.items()}
        ended = {name: status for name, status in found.items() if status is not None}
        self.of = {name: run for name, run in self.of.items() if name not in ended}
        return ended

    def stop(self, names=None):
        for name in names or ():
            self.of[name] = iter([143])


@pytest.fixture(scope="module", autouse=True)
def without_processes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["sparl.sweeps.sweep"], "Pool", Runs)
        patch.setattr("sparl.sweeps.runner.POLL_SECONDS", 0)
        patch.setattr("sparl.sweeps.runner.LOOK_SECONDS", -1)
        patch.setattr("sparl.sweeps.results.record", lambda *_: None)
        patch.setattr("os.fsync", lambda _: None)  # no power cut is tested here
        yield


def setup_module():
    global SPACES
    SPACES = envs.spaces_of(gym.make(POINT), False)


def search(out, content=None, **how):
    return sparl.sweep(content or study(), out=out, quiet=True, **{"jobs": 1} | how)


def table(out):
    return (out / "trials.csv").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    return search(out)


def test_trials_have_what_the_space_allows_and_the_worse_are_pruned(whole):
    states = [trial.state for trial in whole.trials]
    assert states == sorted(states, key=["done", "pruned", "failed"].index)
    assert set(states) == {"done", "pruned", "failed"} and len(states) == 16
    for trial in whole.trials:
        found = trial.options
        assert 1e-4 <= found["learning_rate"] <= 1e-2 and found["batch_size"] in range(8, 17)
        assert found["hidden"] in ([8, 8], [16])
        assert ("pattern" in found) == (found["method"] == "rnm")
        assert (found["batch_size"] == BROKEN) == (trial.state == "failed")
    done = [trial for trial in whole.trials if trial.state == "done"]
    values = [trial.value for trial in done]
    assert values == sorted(values, reverse=True)
    assert values[0] == RunFolder(done[0].runs[0]).read_summary()["final_return"]
    for trial in whole.trials:
        if trial.state == "pruned":  # not in the first third, and not at the end
            assert STEPS / 3 <= trial.step < STEPS and trial.value is None
            before = [t for t in done if t.number < trial.number]
            assert len(before) >= 5
            reached = sorted(t.last_return * trial.step / STEPS for t in before)
            assert trial.last_return < reached[len(reached) // 2]
    rows = list(csv.DictReader(table(whole.folder).splitlines()))
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in whole.trials]
    assert [row["pattern"] for row in rows] == [t.options.get("pattern", "") for t in whole.trials]
    (log, *_) = whole.failed
    assert log.is_relative_to(whole.folder / "failed") and log.read_text() == "a gear came off\n"


SOUND = study(trials=10, options=SPACE | {"batch_size": {"low": 8, "high": BROKEN - 1}})


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The table of a search in which nothing fails, and which nothing stopped."""
    out = tmp_path_factory.mktemp("sound")
    search(out, SOUND)
    return table(out)


@settings(max_examples=5, deadline=None)
@given(lines=st.lists(st.tuples(st.integers(0, 90), st.booleans()), min_size=1, max_size=2))
def test_a_search_that_was_killed_ends_as_if_it_had_not_been(sound, lines):
    """At any line that Optuna writes: before it, or in the middle of it. A trial that had no
    options yet gives its number away."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        out, append = Path(folder) / "out", JournalFileBackend.append_logs
        left, half = 0, False

        def killed(self, logs):
            nonlocal left
            left -= 1
            if left >= 0:
                return append(self, logs)
            if half:
                with open(self._file_path, "ab") as file:
                    file.write(json.dumps(logs).encode()[: len(str(logs)) // 2])
            raise Killed

        patch.setattr(JournalFileBackend, "append_logs", killed)
        for left, half in lines:  # noqa: B007
            with suppress(Killed):
                search(out, SOUND)
        patch.setattr(JournalFileBackend, "append_logs", append)
        search(out, SOUND)
        assert _without_numbers(table(out)) == _without_numbers(sound)


def _without_numbers(text):
    return [row.split(",", 1)[1] for row in text.splitlines()]


def test_it_goes_on_with_more_trials_and_others_in_place_of_failed_ones(whole):
    before, started = table(whole.folder), Runs.started
    numbers = {trial.number for trial in whole.trials}
    failed = [trial for trial in whole.trials if trial.state == "failed"]
    again = search(whole.folder, study(prune=False))
    new = [trial for trial in again.trials if trial.number not in numbers]
    assert len(new) >= len(failed) == Runs.started - started
    assert all(row in table(whole.folder).splitlines() for row in before.splitlines())
    for other in (study(maximize="best_return"), study(seeds=1), study(options={"tau": [0.1]})):
        with pytest.raises(BadRun, match="is of another search"):
            search(whole.folder, other)


def test_each_seed_of_a_trial_comes_after_the_other(tmp_path):
    content = study("0-1", trials=4, maximize="best_return", prune=False)
    content["search"]["options"] = {"learning_rate": SPACE["learning_rate"]}
    found = search(tmp_path, content, jobs=3)
    assert len(found.trials) == 4 and len(found.done) == 8
    for trial in found.trials:
        worth = 1e4 * trial.options["learning_rate"] + 0.5
        assert trial.value == pytest.approx(STEPS * worth)
        assert trial.step == 2 * STEPS and [path.name[-2:] for path in trial.runs] == ["-0", "-1"]
    content = study("0-1", trials=12)
    content["search"]["options"] = {"learning_rate": SPACE["learning_rate"]}
    found = search(tmp_path / "pruned", content)
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned and all(len(t.runs) == 1 for t in pruned if t.step < STEPS)


def test_options_that_do_not_go_together_end_their_trial_alone(tmp_path, monkeypatch):
    of_study = Study.job

    def job(self, env, variant, given, seed):
        if variant == "trial-1":
            raise BadValue("these do not go together")
        return of_study(self, env, variant, given, seed)

    monkeypatch.setattr(Study, "job", job)
    found = search(tmp_path, study(trials=3, options={"tau": [0.1, 0.2]}))
    assert {trial.number: trial.state for trial in found.trials} == {
        0: "done",
        1: "failed",
        2: "done",
    }
    assert found.failed[0].read_text() == "these do not go together\n"


def test_a_damaged_file_of_optuna_is_named(tmp_path):
    content = study(trials=2, options={"tau": [0.1, 0.2]})
    search(tmp_path, content)
    (tmp_path / "search.journal").write_text("{}\n{}\n")
    with pytest.raises(BadFile, match=r"search\.journal cannot be read"):
        search(tmp_path, content)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"trial": 3}, "search has 'trial': a search has"),
        ({"trials": 0}, "no trials"),
        ({"trials": -1}, "trials is -1"),
        ({"trials": "many"}, "trials is 'many'"),
        ({"maximize": "return"}, "maximize is 'return': choose"),
        ({"options": {}}, "no options"),
        ({"options": [1]}, "write names"),
        ({"options": {"steps": [1, 2]}}, "steps cannot be searched"),
        ({"options": {"width": [1, 2]}}, "no option width"),
        ({"options": {"pattern": ["2:4"]}}, "no option pattern"),
        ({"options": {"agent": ["td4"]}}, "td4"),
        ({"options": {"agent": [3]}}, "write names"),
        ({"options": {"tau": 0.1}}, "tau is 0.1: give low and high"),
        ({"options": {"tau": []}}, "give low and high"),
        ({"options": {"tau": [0.1, 0.1]}}, "each choice once"),
        ({"options": {"tau": [0.1, "much"]}}, "tau is 'much'"),
        ({"options": {"tau": {"low": 0.1}}}, "is no range"),
        ({"options": {"tau": {"low": 0.1, "high": 0.2, "step": 0.1}}}, "is no range"),
        ({"options": {"tau": {"low": 0.2, "high": 0.1}}}, "low must be below high"),
        ({"options": {"tau": {"low": 0, "high": 1, "log": True}}}, "low is 0"),
        ({"options": {"tau": {"low": "a", "high": 1}}}, "low is 'a'"),
        ({"options": {"batch_size": {"low": 0, "high": 8}}}, "batch_size is 0"),
        ({"options": {"batch_size": {"low": 8.5, "high": 9}}}, "batch_size is 8.5"),
    ],
)
def test_what_a_search_must_not_say_is_named(changes, message, tmp_path):
    with pytest.raises(BadValue, match=message):
        search(tmp_path / "out", study(**changes))
    assert not (tmp_path / "out").exists()


def test_the_search_of_the_guide_can_be_run(tmp_path):
    guide = Path(__file__).parents[2] / "docs" / "guides" / "search.md"
    (shown,) = re.findall(r"```yaml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "search.yaml"
    file.write_text(shown)
    space = Space(Study.read(file))
    assert space.search == replace(space.search, maximize="final_return", prune=True, seed=0)
    assert {job.method.name for job in space.checked} == {"dense", "rnm"}


def test_a_search_takes_the_place_of_variants_and_is_in_one_environment(tmp_path):
    with pytest.raises(BadValue, match="has variants and a search"):
        search(tmp_path / "out", study() | {"variants": {"a": {}}})
    with pytest.raises(BadValue, match="over 2 envs"):
        search(tmp_path / "out", study() | {"envs": [POINT, "environments:Steps-v0"]})
    with pytest.raises(BadValue, match="eval_episodes is 0"):
        search(tmp_path / "out", study() | {"options": {"eval_episodes": 0}})


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadValue, match=re.escape('pip install "sparl[search]"')):
        search(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_tells_how_to_train_the_best_with_other_seeds(tmp_path, capsys):
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(study("3-4", trials=2, options={"tau": [0.1, 0.2]})))
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "2 trials: 2 done, 0 pruned, 0 failed" in printed
    words = printed.splitlines()[-1].split()
    assert words[:3] == ["sparl", "train", POINT]
    asked = options.parse(words[2:])
    assert asked.seeds == "5-14" and asked.agent.tau in (0.1, 0.2) and asked.run.steps == STEPS
