"""The folder of a sweep, its tables and its progress, without a run."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import pytest
from edits import edit
from environments import OFTEN, TINY

import sparl
from sparl import sweeps
from sparl.errors import BadFile, BadRun, BadValue
from sparl.methods import Dense
from sparl.storage import RunFolder
from sparl.sweeps import Study, controls, progress, results
from sparl.sweeps.folder import Standing, SweepFolder

ENV = "environments:Point-v0"


def jobs(steps=60, seeds="0-1", **options):
    variants = {"dense": {}, "small": {"hidden": [8, 8]} | options}
    return Study.of({"envs": ENV, "variants": variants, "steps": steps, "seeds": seeds}).jobs()


def test_a_variant_keeps_its_name_and_its_options(tmp_path):
    folder = SweepFolder(tmp_path)
    folder.record(jobs())
    folder.record(jobs())
    folder.record(jobs(steps=80, seeds="1-2"))  # more of the same
    assert len(json.loads((tmp_path / "study.json").read_text())) == 6
    folder.record(jobs(steps=80, seeds=2, tau=0.1))  # of which nothing has run
    folder.record(jobs(steps=80, seeds=2))
    for job in jobs():
        folder.run(job).mkdir(parents=True)
    with pytest.raises(BadRun, match=r"small-1 is of a variant small .* --tau 0\.1 in the study"):
        folder.record(jobs(steps=80, seeds=1, tau=0.1))
    with pytest.raises(BadRun, match="is of 80 steps: 60 are behind that"):
        folder.record(jobs(seeds=1))


def test_a_run_goes_on_where_it_has_begun(tmp_path):
    folder, (job, *_) = SweepFolder(tmp_path), jobs()
    new = folder.words(job)
    assert new[:2] == ["train", ENV] and new[-2:] == ["--out", str(folder.run(job))]
    folder.run(job).mkdir(parents=True)
    (folder.run(job) / "config.json").touch()
    begun = folder.words(job)
    assert begun == ["train", "--resume", str(folder.run(job)), "--steps", "60"]


def test_a_run_that_failed_lies_apart_until_it_is_tried_again(tmp_path):
    folder, (job, *_) = SweepFolder(tmp_path), jobs()
    folder.run(job).mkdir(parents=True)
    (folder.run(job) / "config.json").touch()
    folder.log(job).write_text("why")
    log = folder.set_aside(job)
    assert log.read_text() == "why" and log == folder.failed_log(job)
    assert not folder.run(job).exists() and not folder.log(job).exists()
    folder.bring_back(job)
    assert folder.log(job).read_text() == "why"
    assert (folder.run(job) / "config.json").exists()


def test_a_run_that_another_process_trains_stays_where_it_is(tmp_path, monkeypatch):
    folder, (job, *_) = SweepFolder(tmp_path), jobs()
    folder.log(job).parent.mkdir(parents=True)
    folder.log(job).write_text("in use")

    def taken(path):
        raise BadRun("in use")

    folder.run(job).mkdir()
    monkeypatch.setattr("sparl.sweeps.folder.exclusive_folder", taken)
    assert folder.set_aside(job) == folder.log(job)
    assert folder.run(job).exists()


def test_how_far_a_run_is_can_be_read_at_any_moment(tmp_path):
    folder, (job, *_) = SweepFolder(tmp_path), jobs()
    assert folder.standing(job) == Standing()
    folder.run(job).mkdir(parents=True)
    log = folder.run(job) / "metrics.csv"
    log.write_text("step,updates,steps_per_second,eval_return\n")
    assert folder.standing(job) == Standing()
    with open(log, "a", encoding="utf-8") as file:
        file.write("10,0,900,-3.5\n")
    assert folder.standing(job) == Standing(10, None, -3.5)
    with open(log, "a", encoding="utf-8") as file:
        file.write("20,10,50,\n30,20,60,-1")
    assert folder.standing(job) == Standing(20, 50.0, -3.5)


def test_rows_of_a_run_take_the_place_of_older_ones_and_others_stay(tmp_path):
    dense, small, *_ = every = jobs()
    table = tmp_path / "curves.csv"
    order = [job.variant for job in every]

    def keep(job, values):
        rows = [{"step": 10 * i, "eval_return": value} for i, value in enumerate(values)]
        results._keep(table, results.CURVE, {job: rows}, order)

    def rows():
        with open(table, encoding="utf-8") as file:
            return [tuple(row.values())[1:] for row in csv.DictReader(file)]

    keep(small, [1.0, 2 / 3])
    keep(dense, [-1234.5678])
    keep(small, [5.0])
    assert rows() == [("dense", "0", "0", "-1234.57"), ("small", "0", "0", "5")]
    elsewhere = f"{ENV},old,7,0,3\n"
    with open(table, "a", encoding="utf-8") as file:
        file.write(elsewhere)
    keep(dense, [8.0])
    assert rows()[-1] == ("old", "7", "0", "3") and rows()[0][-1] == "8"


@pytest.mark.parametrize("line", [f"{ENV},dense", f"{ENV},dense,x,10,1.0"])
def test_a_broken_line_of_a_table_is_named(line, tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(f"{','.join(results.CURVE)}\n{line}\n")
    with pytest.raises(BadFile, match=r"curves\.csv cannot be read: line 2"):
        results._keep(path, results.CURVE, {jobs()[0]: []}, ["dense"])


def test_a_prolonged_run_that_was_killed_at_once_is_not_done(tmp_path):
    folder, study = SweepFolder(tmp_path), {"envs": ENV, "variants": {"v": {}}, "steps": 60}
    (job,), (longer,) = Study.of(study).jobs(), Study.of(study | {"steps": 100}).jobs()
    sparl.train(ENV, TINY, out=folder.run(job), **OFTEN | {"steps": 60})
    assert folder.done(job) and not folder.done(longer)
    # What it writes first when it goes on.
    edit(folder.run(job) / "config.json", lambda content: content["run"].update(steps=100))
    assert not folder.done(longer)


def test_the_tally_tells_what_is_left_at_the_speed_of_what_runs():
    every = jobs(steps=100)
    states = dict(
        zip((j.name for j in every), ("done", "running", "failed", "waiting"), strict=True)
    )
    at = {job.name: Standing() for job in every}
    at[every[0].name] = Standing(100, 40.0, -5.0)
    at[every[1].name] = Standing(50, 25.0, -7.0)
    tally = progress.Tally.of(every, states, at)
    assert (tally.runs, tally.done, tally.running, tally.failed) == (4, 1, 1, 1)
    assert tally.steps_per_second == 25.0 and tally.best_return == -5.0
    assert math.isclose(tally.seconds_left, (50 + 100) / 25)


def test_plain_lines_tell_the_same_as_the_table(capsys):
    every = jobs()
    states = dict.fromkeys((job.name for job in every), "running")
    at = {job.name: Standing(30, 10.0, -7.25) for job in every}
    with progress.Progress(every) as shown:
        shown.show(states, at)
        shown.show(states, at, ended=True)
        table = shown.table(states, at)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "0 of 4 runs done, 4 running, 40 steps/s, best return -7.2, 0:00:03 left"
    cells = [list(column.cells) for column in table.columns]
    assert cells[1] == ["dense", "small", ""] and cells[2] == ["0/2", "0/2", "0/4"]


def test_controls_beside_a_run_are_planned_and_tiny_is_as_large_as_what_is_kept(
    tmp_path, monkeypatch
):
    """The runs themselves are those of a sweep; here one that is there already stands for them."""
    agent, method = replace(TINY, critic_hidden=(24, 24)), sparl.RNM("1:8")
    short = OFTEN | {"steps": 60}
    run = sparl.train(ENV, agent, method, out=tmp_path / "rnm-0", **short)
    planned = []

    def sweep(study, **how):
        planned.append(Study.of(study))
        return sweeps.SweepResult(tmp_path, (run.folder,), (), {})

    monkeypatch.setattr(controls, "sweep", sweep)
    config = sparl.RunConfig(ENV, steps=60, eval_every=50)
    sweeps.beside(config, agent, method, ["dense", "tiny"], seeds="0-3", out=tmp_path, quiet=True)
    first, second = planned
    assert [*first.variants] == ["rnm", "dense"] and [*second.variants] == ["rnm", "dense", "tiny"]
    assert second.seeds == (0, 1, 2, 3) and len(second.jobs()) == 12
    summary = RunFolder(run.folder).read_summary() or {}
    tiny = second.variants["tiny"]
    (a, b), (c, d) = tiny["hidden"], tiny["critic_hidden"]
    actor = lambda a, b: 2 * a + a * b + b  # noqa: E731
    critics = lambda c, d: 2 * (3 * c + c * d + d)  # noqa: E731
    kept, whole = summary["policy_weights_kept"], summary["weights_kept"]
    assert actor(a - 1, b - 1) < kept <= actor(a, b)
    assert actor(a, b) + critics(c - 1, d - 1) < whole <= actor(a, b) + critics(c, d)
    assert tiny["method"] == "dense"
    # A control that has begun stays what it is, whatever more runs keep in the mean.
    (tmp_path / "Point-v0").mkdir()
    other = replace(agent, hidden=(5, 6), critic_hidden=(7, 8))
    sparl.train(ENV, other, out=tmp_path / "Point-v0" / "tiny-0", **short)
    sweeps.beside(config, agent, method, ["tiny"], seeds="0-4", out=tmp_path, quiet=True)
    again = planned[-1].variants["tiny"]
    assert (again["hidden"], again["critic_hidden"]) == ((5, 6), (7, 8))
    with pytest.raises(BadValue, match="method is dense itself"):
        sweeps.beside(config, agent, Dense(), ["tiny"])


@pytest.mark.parametrize("critics", [(), (24, 24)])
def test_a_run_that_keeps_every_weight_has_no_tiny_control(critics, tmp_path, monkeypatch, capsys):
    """With the critics' widths said, and where they are the actor's."""
    agent, short = replace(TINY, critic_hidden=critics), OFTEN | {"steps": 60}
    run = sparl.train(ENV, agent, "dense", out=tmp_path / "rnm-0", **short)
    planned = []

    def sweep(study, **how):
        planned.append([*Study.of(study).variants])
        return sweeps.SweepResult(tmp_path, (run.folder,), (), {})

    monkeypatch.setattr(controls, "sweep", sweep)
    config = sparl.RunConfig(ENV, steps=60, eval_every=50)
    sweeps.beside(config, agent, sparl.RNM("1:8"), ["dense", "tiny"], seeds="0", out=tmp_path)
    assert planned == [["rnm", "dense"]]
    assert "rnm kept every weight: the tiny agent is the dense one" in capsys.readouterr().err
