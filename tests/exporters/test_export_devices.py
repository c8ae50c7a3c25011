"""Exported C on emulated processors of small devices, and how long an action takes here."""

import json

import pytest
from policies import policy_like

import sparl
from sparl.bench import AARCH64, CORTEX, aarch64, cortex_m4, missing
from sparl.cli import main
from sparl.exporters import CProgram, compiler, device_network
from sparl.layouts import Dense
from sparl.networks import plain
from sparl.policy import Policy


def exported(policy, dtype, folder):
    program = CProgram(policy, device_network(policy, dtype, policy.golden))
    for name, text in program.files().items():
        (folder / name).write_text(text)
    return program


CASES = [("n_of_m", "float32"), ("anywhere", "int8"), ("blocks", "float16"), ("dense", "int8")]


@pytest.mark.skipif(bool(missing(CORTEX)), reason=f"not installed: {missing(CORTEX)}")
@pytest.mark.parametrize("name, dtype", CASES)
def test_the_self_test_passes_on_a_cortex_m4f(name, dtype, tmp_path):
    program = exported(policy_like(name), dtype, tmp_path)
    found = cortex_m4(tmp_path)
    assert found["cortex_m4"] == "passed"
    assert program.nbytes < found["flash"] < program.nbytes + 12_000
    assert program.scratch_bytes < found["ram"] < program.scratch_bytes + 3_000
    weights = sum(layer.weight.size for layer in program.network.layers)
    assert weights < found["instructions"] < 60 * weights
    assert cortex_m4(tmp_path) == found  # counted, not timed


def test_the_figures_stay_with_the_export(run, capfd):
    if missing(AARCH64) and missing(CORTEX):
        pytest.skip(f"not installed: {missing(CORTEX) + missing(AARCH64)}")
    sparl.export(run)
    export = run / "export" / "c-float32"
    assert main(["bench", "device", str(export)]) == 0
    found = json.loads((export / "device.json").read_text())
    assert found.get("cortex_m4", "passed") == found.get("aarch64", "passed") == "passed"
    if "instructions" in found:
        assert f"{found['instructions']:,.0f}" in capfd.readouterr().out


@pytest.mark.skipif(bool(missing(CORTEX)), reason=f"not installed: {missing(CORTEX)}")
def test_a_changed_weight_fails_on_a_cortex_m4f(tmp_path):
    policy = policy_like("dense")
    exported(policy, "float32", tmp_path)
    *others, head = policy.network.layers
    network = plain((*others, Dense(head.weight + 1.0, head.bias)), policy.network.squash)
    changed = tmp_path / "changed"
    changed.mkdir()
    exported(Policy(network, policy.spaces, policy.golden), "float32", changed)
    (tmp_path / "policy.c").write_text((changed / "policy.c").read_text())
    assert cortex_m4(tmp_path)["cortex_m4"] == "FAILED"


@pytest.mark.skipif(bool(missing(AARCH64)), reason=f"not installed: {missing(AARCH64)}")
@pytest.mark.parametrize("name, dtype", CASES)
def test_the_self_test_passes_on_aarch64(name, dtype, tmp_path):
    exported(policy_like(name), dtype, tmp_path)
    assert aarch64(tmp_path) == {"aarch64": "passed"}


def test_what_is_no_export_is_refused(tmp_path, capsys):
    assert main(["bench", "device", str(tmp_path)]) == 1
    assert "is no exported policy: sparl export DIR --to c makes one" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    agent = sparl.DQNConfig(hidden=(16, 16), learning_starts=100)
    sparl.train("CartPole-v1", agent, steps=200, out=folder, quiet=True, eval_episodes=1)
    return folder


def test_latencies_of_what_is_there(run, tmp_path, capfd):
    names = ["sparl", *(["c", "c-int8"] if compiler() else [])]
    command = ["bench", "latency", str(run), "--names", *names]
    command += ["--calls", "50", "--repetitions", "2", "--json", str(tmp_path / "found.json")]
    assert main(command) == 0
    found = {row["name"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    assert list(found) == names
    for row in found.values():
        assert 0 < row["median_us"] <= row["p99_us"]
    assert found["sparl"]["bytes"] == 4 * (5 * 16 + 17 * 16 + 17 * 2)
    if compiler():
        assert found["c"]["median_us"] < found["sparl"]["median_us"]
        assert found["c"]["ratio"] < 1.0 == found["sparl"]["ratio"]
        assert found["c-int8"]["bytes"] < found["c"]["bytes"] == found["sparl"]["bytes"]
    assert "sparl's predict" in capfd.readouterr().out


def test_a_contender_without_its_package_is_left_out_and_said(run, monkeypatch, capsys):
    monkeypatch.setattr("sparl.bench.latency._installed", lambda package: package != "torch")
    names = ["--names", "sparl", "torch", "sb3", "--calls", "5", "--repetitions", "1"]
    assert main(["bench", "latency", str(run), *names]) == 0
    said = capsys.readouterr().err
    assert "PyTorch eager, dense is left out: it needs torch" in said
    assert "Stable-Baselines3's predict, dense is left out: it needs torch" in said


def test_other_contenders_are_refused(run, capsys):
    assert main(["bench", "latency", str(run), "--names", "tensorflow"]) == 1
    assert "no contender 'tensorflow': choose of c, c-int8, sparl" in capsys.readouterr().err
