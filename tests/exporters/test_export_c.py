"""Exported C, compiled by this machine's compiler: what it computes, what it says, its size."""

import json
import re
import shutil
import subprocess

import jax
import numpy as np
import pytest
from policies import KINDS, observations, policy_like, policy_of

import sparl
from sparl.errors import BadRun, BadValue
from sparl.exporters import (
    COMPILE_FLAGS,
    CompiledPolicy,
    CProgram,
    compiler,
    dense_matrix,
    device_layer,
    device_network,
)
from sparl.layouts import RowSparse
from sparl.networks import plain
from sparl.policy import Policy
from sparl.topology import NofM, PerLayer

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler: cc, gcc or clang")

DTYPES = ["float32", "float16", "int8"]
CASES = [*((name, False) for name in KINDS), ("anywhere", True)]


def program(policy, dtype="float32", recorded=None):
    size = policy.spaces.observation_size
    recorded = observations(size, 3000, seed=1) if recorded is None else recorded
    return CProgram(policy, device_network(policy, dtype, recorded))


def written(made, folder):
    for name, text in made.files().items():
        (folder / name).write_text(text)
    return folder


def compiled(made, folder):
    return CompiledPolicy(made, written(made, folder), folder / "policy.so", compiler())


@pytest.mark.parametrize("name, discrete", CASES)
def test_float32_gives_what_the_policy_gives(name, discrete, tmp_path):
    policy = policy_like(name, discrete)
    made = compiled(program(policy), tmp_path)
    tried = observations(policy.spaces.observation_size, 10_000)
    assert np.abs(made.outputs(tried) - policy.outputs(tried)).max() < 1e-5
    assert made.failed_test() == 0
    for one in tried[:30]:
        wanted = policy.predict(one)[0]
        if discrete:
            assert made.action(one) == [wanted]
        else:
            np.testing.assert_allclose(made.action(one), wanted, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_float16_is_the_policy_with_rounded_weights(name, tmp_path):
    policy = policy_like(name)
    made, tried = program(policy, "float16"), observations(policy.spaces.observation_size, 1000)
    found = compiled(made, tmp_path).outputs(tried)
    assert np.abs(found - made.network.outputs(tried)).max() < 1e-5
    assert 0 < np.abs(found - policy.outputs(tried)).max() < 3e-3


@pytest.mark.parametrize("name, discrete", CASES)
def test_int8_is_the_arithmetic_that_was_reported(name, discrete, tmp_path):
    policy = policy_like(name, discrete)
    made, tried = (
        program(policy, "int8"),
        observations(policy.spaces.observation_size, 2000, seed=1),
    )
    found, emulated = compiled(made, tmp_path).outputs(tried), made.network.outputs(tried)
    # A sum at the edge between two steps may fall to either side: seldom, and by one step.
    off = np.abs(found - emulated).max(axis=1)
    assert off.max() <= made.network.tolerance(emulated)
    assert np.mean(off > 1e-5) < 0.01
    wanted = policy.outputs(tried)
    assert np.abs(found - wanted).mean() < 0.03 * np.abs(wanted).max()


def test_ranges_of_inputs_follow_the_root_of_what_was_recorded():
    """Of features of which some have thirty times the range of others."""
    policy = policy_like("dense")
    recorded = observations(17, 3000, seed=1)
    network = device_network(policy, "int8", recorded)
    largest = np.abs(recorded).max(axis=0)
    ranges = network.limits[0] / network.input_arrays[0]["steps"]
    np.testing.assert_allclose(ranges, 2 * np.sqrt(largest * largest.max()), rtol=1e-6)
    assert largest.max() / largest.min() > 20 > ranges.max() / ranges.min()


def test_sums_of_the_largest_inputs_and_weights_fit():
    for sizes in ([4, 8, 2], [300, 2000, 5]):
        policy = policy_of(["dense"] * 2, sizes)
        made = device_network(policy, "int8", observations(sizes[0], 50))
        for limit, inputs in zip(made.limits, sizes, strict=False):
            assert limit * 127 * inputs < 2**31
    assert made.limits[0] == 2**15 - 1 > made.limits[1]


@pytest.mark.parametrize("name", KINDS)
def test_weights_stand_where_the_layers_have_them(name):
    network = policy_like(name).network
    wanted = jax.jit(lambda network: [layer.to_dense() for layer in network.layers])(network)
    for layer, dense in zip(network.layers, wanted, strict=True):
        assert np.array_equal(dense_matrix(layer, np.asarray(layer.weight)), dense)


def test_what_was_never_seen_to_move_still_counts():
    policy = policy_of(["dense"] * 2, [4, 16, 2])
    recorded = observations(4, 500) * np.float32([1, 1, 0, 1])
    network = device_network(policy, "int8", recorded)
    moved = np.zeros((1, 4), np.float32)
    still = network.outputs(moved)
    moved[0, 2] = 0.5
    assert np.isfinite(network.input_arrays[0]["steps"]).all()
    assert np.abs(network.outputs(moved) - still).max() > 1e-3


def test_the_same_policy_gives_the_same_bytes(tmp_path):
    policy = policy_like("mixed")
    policy.save(tmp_path)
    for dtype in DTYPES:
        assert program(policy, dtype).files() == program(Policy.load(tmp_path), dtype).files()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_observations_that_are_no_numbers_are_refused(bad, dtype, tmp_path):
    made = compiled(program(policy_like("mixed"), dtype), tmp_path)
    observation = observations(300, 1)[0]
    before = made.action(observation)
    observation[3] = bad
    assert made.action(observation) is None
    assert np.array_equal(made._action, before)  # left as it was


def test_floats_beyond_what_the_network_can_add_up_are_refused(tmp_path):
    policy = policy_of(["dense"] * 3, [6, 32, 32, 2], discrete=True)
    made = compiled(program(policy), tmp_path)
    huge = np.full(6, 3e38, np.float32) * np.float32([1, -1, 1, -1, 1, -1])
    assert made.action(huge) is None
    assert made.action(huge / 1e8) is not None


def test_integers_beyond_the_recorded_range_count_as_its_end(tmp_path):
    made = program(policy_like("mixed"), "int8")
    ends = made.network.limits[0] / made.network.input_arrays[0]["steps"]
    built = compiled(made, tmp_path)
    signs = np.float32([1, -1] * 150)
    assert np.array_equal(built.action(signs * ends), built.action(signs * ends * 1e6))


def test_the_self_test_finds_a_changed_weight(tmp_path):
    made = program(policy_like("dense"))
    source = written(made, tmp_path) / "policy.c"
    text = source.read_text()
    first = re.search(r"weight_2\[\d+\] = \{\s*([^,\s]+),", text)
    assert first is not None
    source.write_text(text[: first.start(1)] + "9.0f" + text[first.end(1) :])
    assert CompiledPolicy(made, tmp_path, tmp_path / "p.so", compiler()).failed_test() > 0


def everything(tmp_path):
    """A program for every kind of layer, and for every type, each in its folder."""
    for name in KINDS:
        for dtype in DTYPES if name == "n_of_m" else DTYPES[::2]:
            folder = tmp_path / f"{name}-{dtype}"
            folder.mkdir()
            yield written(program(policy_like(name), dtype), folder)


STRICT = [flag for flag in COMPILE_FLAGS if not flag.startswith(("-O", "-march"))]


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_compiles_without_a_warning_as_c_and_its_header_as_cpp(name, tmp_path):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    # Clang's warnings are all of its front end; gcc's come from optimizing, too.
    how = ["-fsyntax-only"] if name == "clang" else ["-O2", "-c"]
    for folder in everything(tmp_path):
        sources = ["policy.c", "policy_test.c", "main.c"]
        subprocess.run([name, *STRICT, *how, *sources], cwd=folder, check=True)
    as_cpp = ["-x", "c++", "-std=c++11", "-Wall", "-Werror", "-fsyntax-only", "policy.h"]
    subprocess.run([name, *as_cpp], cwd=folder, check=True)


def test_is_clean_under_the_sanitizers(tmp_path):
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [compiler(), *sanitize, str(probe), "-o", str(tmp_path / "probe")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("the compiler has no sanitizers")
    sources = ["policy.c", "policy_test.c", "main.c"]
    for folder in everything(tmp_path):
        command = [compiler(), *STRICT, *sanitize, *sources, "-o", "run", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        said = subprocess.run(["./run"], cwd=folder, check=True, capture_output=True, text=True)
        assert said.stdout.startswith("self-test: 8 of 8 observations agree")


def test_make_test_builds_and_runs_the_self_test(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    made = program(policy_like("blocks"), "int8")
    written(made, tmp_path)
    said = subprocess.run(
        ["make", "test"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "8 of 8 observations agree" in said.stdout
    # What the program says of its size is what the report says.
    sizes = re.search(r"(\d+) bytes of policy, (\d+) of scratch", said.stdout)
    assert (int(sizes[1]), int(sizes[2])) == (made.nbytes, made.scratch_bytes)


def test_sizes_of_a_policy_at_1_of_8():
    """2x256 for HalfCheetah, all layers 1:8: shares of the dense policy in float32."""
    policy = policy_of([NofM(1, 8)] * 3, [17, 256, 256, 6])
    dense = 4 * (17 * 256 + 256 + 256 * 256 + 256 + 256 * 6 + 6)
    assert program(policy_of(["dense"] * 3, [17, 256, 256, 6])).nbytes == dense + 2 * 6 * 4
    assert program(policy).nbytes / dense <= 0.17
    assert program(policy, "int8").nbytes / dense <= 0.06


def test_indices_take_the_bits_they_need():
    policy = policy_of([NofM(1, 8), NofM(2, 4), NofM(1, 2)], [64, 16, 24, 8])
    layers = device_network(policy, "float32").layers
    bits = [8 * la.indices["place"].nbytes / la.weight.size for la in layers]
    assert bits == [3, 2, 1]


def test_a_layer_whose_indices_cost_more_than_they_save_is_dense():
    (layer,) = policy_of([PerLayer(90)], [10, 10]).network.layers
    weight = np.asarray(layer.weight)
    assert isinstance(layer, RowSparse)
    # 90 of 100 weights: 90 columns and 11 starts for 40 bytes of weights saved.
    assert device_layer(layer, weight).loop == "dense"
    (layer,) = policy_of([PerLayer(60)], [10, 10]).network.layers
    assert device_layer(layer, np.asarray(layer.weight)).loop == "csr"
    assert device_layer(layer, np.zeros(60, np.int8)).loop == "dense"


def test_weights_that_float16_cannot_hold_are_refused():
    policy = policy_of(["dense"], [3, 2])
    (layer,) = policy.network.layers
    network = plain((type(layer)(layer.weight.at[0, 0].set(1e5), layer.bias),), True)
    with pytest.raises(BadValue, match=r"layer 0 has a weight of size 1e\+05.*int8"):
        program(Policy(network, policy.spaces, policy.golden), "float16")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    agent = sparl.TD3Config(hidden=(32, 32), learning_starts=200)
    method = sparl.RNM(1, 4)
    sparl.train("Pendulum-v1", agent, method, steps=600, out=folder, quiet=True, eval_episodes=1)
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_report_says_what_was_written(run, dtype, tmp_path):
    report = sparl.export(run, out=tmp_path / "c", dtype=dtype, episodes=2)
    assert json.loads((tmp_path / "c" / "export.json").read_text()) == report
    assert f"POLICY_BYTES {report['bytes']}\n" in (tmp_path / "c" / "policy.h").read_text()
    assert report["dense_bytes"] == 4 * (4 * 32 + 33 * 32 + 33)
    assert report["checked"] and report["error"]["observations"] == 600
    assert report["error"]["max"] < {"float32": 1e-5, "float16": 1e-2, "int8": 0.2}[dtype]
    assert ("returns" in report) == (dtype != "float32")
    if dtype != "float32":
        original = sparl.load(run)
        assert abs(report["returns"]["original"] - report["returns"]["exported"]) < 100
        assert original.spaces.high == (2.0,)


def test_an_export_is_written_anew_and_nothing_else_is(run, tmp_path):
    first = sparl.export(run, out=tmp_path / "c")
    assert sparl.export(run, out=tmp_path / "c") == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    with pytest.raises(BadRun, match="mine exists and is no export of sparl"):
        sparl.export(run, out=tmp_path / "mine")


def test_int8_needs_observations(run):
    with pytest.raises(BadValue, match="int8 takes its ranges from observations of a run"):
        sparl.export(run / "policy", dtype="int8")


def test_without_a_compiler_the_arithmetic_is_compared(run, tmp_path, monkeypatch):
    monkeypatch.setattr("sparl.exporters.export_policy.compiler", lambda: None)
    report = sparl.export(run, out=tmp_path / "c", dtype="int8", episodes=0)
    assert report["checked"] is None and 0 < report["error"]["max"] < 0.2
