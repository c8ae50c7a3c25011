"""Run folders and policies that sparl 0.1.0 wrote are read: see `helpers/runs_0_1/make.sh`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import sparl
from sparl import methods
from sparl.cli import main
from sparl.storage import RunFolder

HERE = Path(__file__).parent / "helpers" / "runs_0_1"
STEPS = {"td3-rnm": 400, "dqn-dsp": 150}


@pytest.fixture(params=STEPS)
def name(request) -> str:
    return request.param


@pytest.fixture
def folder(name, tmp_path) -> Path:
    """An old run, to change."""
    return shutil.copytree(HERE / name, tmp_path / name)


def golden(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Observations, and the actions that 0.1.0 took."""
    with np.load(HERE / f"{name}.npz") as arrays:
        return arrays["observation"], arrays["action"]


def test_they_are_of_the_version_that_the_tests_are_about(name):
    config = json.loads((HERE / name / "config.json").read_text())
    assert config["versions"]["sparl"] == "0.1.0"
    assert "train_freq" not in config["agent"]  # which this version has


@pytest.mark.parametrize("v, pattern", [(None, "2:4"), (1, "2:4"), (4, "2:4x4")])
def test_a_pattern_that_was_recorded_as_numbers_is_read(v, pattern, tmp_path):
    run = shutil.copytree(HERE / "td3-rnm", tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    assert "pattern" not in config["method"]
    if v is not None:  # a later version had it
        config["method"]["v"] = v
        config.pop("digest", None)
        (run / "config.json").write_text(json.dumps(config))
    assert RunFolder.open(run).record().method == methods.RNM(pattern, interval=15)


@pytest.mark.parametrize("of", ["run", "policy", "checkpoint"])
def test_an_old_policy_acts_as_it_did(name, folder, of):
    if of == "checkpoint":
        shutil.rmtree(folder / "policy")
    policy = sparl.load(folder / "policy" if of == "policy" else folder)
    assert isinstance(policy, sparl.Policy if of == "policy" else sparl.Run)
    observations, expected = golden(name)
    actions, _ = policy.predict(observations)
    assert actions.dtype == expected.dtype
    np.testing.assert_allclose(actions, expected, rtol=1e-4, atol=1e-4)
    assert len(np.unique(expected)) > 1


def test_an_old_run_is_inspected_and_evaluated(name, folder, capsys):
    assert main(["inspect", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((folder / "summary.json").read_text())
    kept = {name: network["weights_kept"] for name, network in found["networks"].items()}
    online = {name: kept for name, kept in kept.items() if not name.startswith("target_")}
    assert sum(online.values()) == summary["weights_kept"]
    run = sparl.Run(folder)
    assert len(run.evaluate(episodes=1).returns) == 1
    assert len(run.predict(golden(name)[0], deterministic=False)[0]) == 50


def test_an_old_run_goes_on(name, folder):
    rows = (folder / "metrics.csv").read_text().splitlines()
    steps = STEPS[name] + 60
    run = sparl.resume(folder, steps=steps, quiet=True)
    config = RunFolder.open(folder).read_config()
    assert config.run.steps == steps
    # It says with what it began, and with what it went on.
    content = json.loads((folder / "config.json").read_text())
    assert content["versions"]["sparl"] == "0.1.0"
    assert content["changes"][-1]["versions"]["sparl"] == ["0.1.0", sparl.__version__]
    after = (folder / "metrics.csv").read_text().splitlines()
    assert after[: len(rows)] == rows
    assert len(after) > len(rows)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["evals"][-1]["step"] == steps
    assert run.predict(golden(name)[0])[0].shape == golden(name)[1].shape


def test_an_old_run_is_pruned(name, folder, tmp_path):
    method = methods.Magnitude(sparsity=0.5, prunings=1)
    pruned = sparl.prune(folder, method, steps=60, out=tmp_path / "pruned", quiet=True)
    before, after = (RunFolder.open(of).read_summary() for of in (folder, pruned.folder))
    assert before is not None
    assert after is not None
    assert after["weights_kept"] < before["weights_kept"]
    assert np.isfinite(after["final_return"])


def test_an_old_run_is_reported_and_compared(name, folder, tmp_path, capsys):
    page = sparl.report(folder, tmp_path / "report.html", video=False)
    assert "0.1.0" in page.read_text()
    assert main(["compare", str(folder), "--json"]) == 0
    variant = json.loads(capsys.readouterr().out)["variants"][0]
    summary = json.loads((folder / "summary.json").read_text())
    assert [variant["method"], variant["agent"]] == name.split("-")[::-1]
    assert variant["late_returns"] == [summary["final_return"]]
