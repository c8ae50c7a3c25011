"""Recipes that are study files."""

from __future__ import annotations

from pathlib import Path

import pytest
from rnm_td3 import tiny
from swept import add

from sparl.sweeps import Study

STUDIES = sorted((Path(__file__).parents[2] / "recipes" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_each_study_can_be_run(file):
    assert Study.read(file).jobs()


@pytest.mark.parametrize(
    "file", [f for f in STUDIES if f.stem.startswith("shared_rows")], ids=lambda file: file.stem
)
def test_the_control_of_shared_rows_has_as_many_weights(file):
    jobs = Study.read(file).jobs()
    width = int(tiny(jobs[0].env, 1, 8).options[-1])
    controls = [job for job in jobs if job.variant == "tiny-1-8"]
    assert controls and all(job.agent.hidden == (width, width) for job in controls)


def test_results_keep_what_another_machine_has_recorded(tmp_path):
    swept, results = tmp_path / "swept", tmp_path / "results"
    swept.mkdir()
    results.mkdir()
    head = "env,variant,seed"
    (results / "curves.csv").write_text(f"{head},step,eval_return\nE,a,0,5,1\nE,b,1,5,2\n")
    (results / "runs.csv").write_text(
        f"{head},steps,neurons,weights_kept,bytes,average_compression_ratio\nE,b,1,5,6,7,8,0\n"
    )
    (swept / "curves.csv").write_text(f"{head},step,eval_return\nE,a,0,5,3\nE,a,1,5,4\n")
    (swept / "runs.csv").write_text(
        f"{head},steps,final_return,average_compression_ratio,neurons,weights_kept,bytes\n"
        "E,a,1,5,9,0.5,1,2,3\n"
    )
    add(swept, results)
    assert (results / "curves.csv").read_text().splitlines()[1:] == [
        "E,a,0,5,3",
        "E,a,1,5,4",
        "E,b,1,5,2",
    ]
    assert (results / "runs.csv").read_text().splitlines()[1:] == [
        "E,b,1,5,6,7,8,0",
        "E,a,1,5,1,2,3,0.5",
    ]
