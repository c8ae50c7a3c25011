"""Exported C on emulated processors of small devices, and `sparl bench latency`."""

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


def write_export(policy, dtype, folder):
    program = CProgram(policy, device_network(policy, dtype, policy.golden))
    program.write(folder)
    return program


CASES = [("n_of_m", "float32"), ("anywhere", "int8"), ("blocks", "float16"), ("dense", "int8")]


@pytest.mark.skipif(bool(missing(CORTEX)), reason=f"not installed: {missing(CORTEX)}")
@pytest.mark.parametrize("name, dtype", CASES)
def test_the_self_test_passes_on_a_cortex_m4f(name, dtype, tmp_path):
    program = write_export(policy_like(name), dtype, tmp_path)
    figures = cortex_m4(tmp_path)
    assert figures["cortex_m4"] == "passed"
    assert program.nbytes < figures["flash"] < program.nbytes + 12_000
    assert program.scratch_bytes < figures["ram"] < program.scratch_bytes + 3_000
    weights = sum(layer.weight.size for layer in program.network.layers)
    assert weights < figures["instructions"] < 60 * weights
    assert cortex_m4(tmp_path) == figures  # instructions are counted, not timed


def test_bench_device_writes_its_figures_into_the_export(run, capfd):
    if missing(AARCH64) and missing(CORTEX):
        pytest.skip(f"not installed: {missing(CORTEX) + missing(AARCH64)}")
    sparl.export(run)
    export = run / "export" / "c-float32"
    assert main(["bench", "device", str(export)]) == 0
    figures = json.loads((export / "device.json").read_text())
    assert figures.get("cortex_m4", "passed") == figures.get("aarch64", "passed") == "passed"
    if "instructions" in figures:
        assert f"{figures['instructions']:,.0f}" in capfd.readouterr().out


@pytest.mark.skipif(bool(missing(CORTEX)), reason=f"not installed: {missing(CORTEX)}")
def test_a_changed_weight_fails_on_a_cortex_m4f(tmp_path):
    policy = policy_like("dense")
    write_export(policy, "float32", tmp_path)
    *others, head = policy.network.layers
    network = plain((*others, Dense(head.weight + 1.0, head.bias)), policy.network.squash)
    changed = tmp_path / "changed"
    changed.mkdir()
    write_export(Policy(network, policy.spaces, policy.golden), "float32", changed)
    (tmp_path / "policy.c").write_text((changed / "policy.c").read_text())
    assert cortex_m4(tmp_path)["cortex_m4"] == "FAILED"


@pytest.mark.skipif(bool(missing(AARCH64)), reason=f"not installed: {missing(AARCH64)}")
@pytest.mark.parametrize("name, dtype", CASES)
def test_the_self_test_passes_on_aarch64(name, dtype, tmp_path):
    write_export(policy_like(name), dtype, tmp_path)
    assert aarch64(tmp_path) == {"aarch64": "passed"}


def test_bench_device_refuses_a_folder_that_is_no_export(tmp_path, capsys):
    assert main(["bench", "device", str(tmp_path)]) == 1
    assert "is no exported policy: sparl export DIR --to c makes one" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    agent = sparl.DQN(hidden=(16, 16), learning_starts=100)
    sparl.train("CartPole-v1", agent, steps=200, out=folder, quiet=True, eval_episodes=1)
    return folder


def test_bench_latency_measures_the_contenders_that_are_installed(run, tmp_path, capfd):
    names = ["sparl", *(["c", "c-int8"] if compiler() else [])]
    command = ["bench", "latency", str(run), "--names", *names]
    command += ["--calls", "50", "--repetitions", "2", "--json", str(tmp_path / "figures.json")]
    assert main(command) == 0
    content = json.loads((tmp_path / "figures.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == names
    for row in rows.values():
        assert 0 < row["median_us"] <= row["p99_us"]
    assert rows["sparl"]["bytes"] == 4 * (5 * 16 + 17 * 16 + 17 * 2)
    if compiler():
        assert rows["c"]["median_us"] < rows["sparl"]["median_us"]
        assert rows["c"]["ratio"] < 1.0 == rows["sparl"]["ratio"]
        assert rows["c-int8"]["bytes"] < rows["c"]["bytes"] == rows["sparl"]["bytes"]
    assert "sparl's predict" in capfd.readouterr().out


def test_a_contender_without_its_package_is_left_out_with_a_message(run, monkeypatch, capsys):
    monkeypatch.setattr("sparl.bench.latency._installed", lambda package: package != "torch")
    names = ["--names", "sparl", "torch", "sb3", "--calls", "5", "--repetitions", "1"]
    assert main(["bench", "latency", str(run), *names]) == 0
    printed = capsys.readouterr().err
    assert "PyTorch eager, dense is left out: it needs torch" in printed
    assert "Stable-Baselines3's predict, dense is left out: it needs torch" in printed


def test_an_unknown_contender_is_refused(run, capsys):
    assert main(["bench", "latency", str(run), "--names", "tensorflow"]) == 1
    assert "no contender 'tensorflow': choose of c, c-int8, sparl" in capsys.readouterr().err
