"""Exported C, compiled by this machine's compiler: what it computes, its messages and its size."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from policies import KINDS, PolicyAct, observations, policy_like, policy_of

import sparl
from sparl.cli import main
from sparl.envs import Spaces, inner_float32
from sparl.errors import BadRun, BadValue
from sparl.exporters import (
    COMPILE_FLAGS,
    CompiledPolicy,
    CProgram,
    compiler,
    dense_matrix,
    device_layer,
    device_network,
    native_policy,
    recorded_observations,
    source,
)
from sparl.layouts import RowSparse
from sparl.networks import plain
from sparl.policy import Policy
from sparl.storage import RunFolder, files
from sparl.topology import NofM, PerLayer

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler: cc, gcc or clang")

DTYPES = ["float32", "float16", "int8"]
CASES = [*((name, False) for name in KINDS), ("anywhere", True)]


def program_of(policy, dtype="float32"):
    recorded = observations(policy.spaces.observation_size, 3000, seed=1)
    return CProgram(policy, device_network(policy, dtype, recorded))


def compile_in(folder, program):
    return CompiledPolicy(program, program.write(folder), folder / "policy.so", compiler())


@pytest.mark.parametrize("name, discrete", CASES)
def test_float32_gives_what_the_policy_gives(name, discrete, tmp_path):
    policy = policy_like(name, discrete)
    program = program_of(policy)
    compiled = compile_in(tmp_path, program)
    tried = observations(policy.spaces.observation_size, 10_000)
    assert np.abs(compiled.outputs(tried) - policy.outputs(tried)).max() < 1e-5
    assert compiled.failed_test() == 0
    act = PolicyAct(compiled, program)
    for observation in tried[:30]:
        expected = policy.predict(observation)[0]
        if discrete:
            assert act(observation) == [expected]
        else:
            np.testing.assert_allclose(act(observation), expected, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_float16_is_the_policy_with_rounded_weights(name, tmp_path):
    policy = policy_like(name)
    program = program_of(policy, "float16")
    tried = observations(policy.spaces.observation_size, 1000)
    outputs = compile_in(tmp_path, program).outputs(tried)
    assert np.abs(outputs - program.network.outputs(tried)).max() < 1e-5
    assert 0 < np.abs(outputs - policy.outputs(tried)).max() < 3e-3


@pytest.mark.parametrize("name, discrete", CASES)
def test_int8_computes_what_its_emulation_in_python_does(name, discrete, tmp_path):
    policy = policy_like(name, discrete)
    program = program_of(policy, "int8")
    tried = observations(policy.spaces.observation_size, 2000, seed=1)
    outputs = compile_in(tmp_path, program).outputs(tried)
    emulated = program.network.outputs(tried)
    # A sum halfway between two steps may be rounded to either: seldom, and by one step.
    difference = np.abs(outputs - emulated).max(axis=1)
    assert difference.max() <= program.network.tolerance(emulated)
    assert np.mean(difference > 1e-5) < 0.01
    expected = policy.outputs(tried)
    assert np.abs(outputs - expected).mean() < 0.03 * np.abs(expected).max()


def test_ranges_of_int8_inputs_follow_the_square_root_of_the_recorded_ranges():
    """For features of which some have thirty times the range of others."""
    policy = policy_like("dense")
    recorded = observations(17, 3000, seed=1)
    network = device_network(policy, "int8", recorded)
    largest = np.abs(recorded).max(axis=0)
    ranges = network.limits[0] / network.input_arrays[0]["steps"]
    np.testing.assert_allclose(ranges, 2 * np.sqrt(largest * largest.max()), rtol=1e-6)
    assert largest.max() / largest.min() > 20 > ranges.max() / ranges.min()


def test_sums_of_the_largest_int8_inputs_and_weights_fit_into_32_bits():
    for sizes in ([4, 8, 2], [300, 2000, 5]):
        policy = policy_of(["dense"] * 2, sizes)
        network = device_network(policy, "int8", observations(sizes[0], 50))
        for limit, inputs in zip(network.limits, sizes, strict=False):
            assert limit * 127 * inputs < 2**31
    assert network.limits[0] == 2**15 - 1 > network.limits[1]


@pytest.mark.parametrize("name", KINDS)
def test_dense_matrix_puts_weights_where_the_layer_has_them(name):
    network = policy_like(name).network
    expected = jax.jit(lambda network: [layer.to_dense() for layer in network.layers])(network)
    for layer, dense in zip(network.layers, expected, strict=True):
        assert np.array_equal(dense_matrix(layer, np.asarray(layer.weight)), dense)


def test_an_int8_input_that_never_moved_in_the_recording_still_has_an_effect():
    policy = policy_of(["dense"] * 2, [4, 16, 2])
    recorded = observations(4, 500) * np.float32([1, 1, 0, 1])
    network = device_network(policy, "int8", recorded)
    observation = np.zeros((1, 4), np.float32)
    before = network.outputs(observation)
    observation[0, 2] = 0.5
    assert np.isfinite(network.input_arrays[0]["steps"]).all()
    assert np.abs(network.outputs(observation) - before).max() > 1e-3


def test_the_same_policy_gives_the_same_source(tmp_path):
    policy = policy_like("mixed")
    policy.save(tmp_path)
    for dtype in DTYPES:
        assert program_of(policy, dtype).files() == program_of(Policy.load(tmp_path), dtype).files()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_observations_that_are_not_finite_are_refused(bad, dtype, tmp_path):
    program = program_of(policy_like("mixed"), dtype)
    act = PolicyAct(compile_in(tmp_path, program), program)
    observation = observations(300, 1)[0]
    before = act(observation)
    observation[3] = bad
    assert act(observation) is None
    assert np.array_equal(act.action, before)  # it is left unchanged


def test_actions_stay_within_bounds_that_no_float32_equals(tmp_path):
    """Of Box(-0.1, 0.1, dtype=float64): float32(-0.1) is below -0.1."""
    flat = policy_like("one layer")
    spaces = Spaces((9,), (4,), (-0.1, -0.1, 0.1, -1e-50), (0.1, 0.3, 0.7, 1e300))
    policy = Policy(flat.network, spaces, flat.golden)
    program = program_of(policy)
    act = PolicyAct(compile_in(tmp_path, program), program)
    actions = np.array([act(o) for o in observations(9, 200) * 1e4], np.float64)
    assert (actions >= spaces.low).all() and (actions <= spaces.high).all()
    bounds = inner_float32(spaces.low, spaces.high)
    assert np.array_equal(actions.min(0), bounds[0]) and np.array_equal(actions.max(0), bounds[1])


def test_floats_whose_sums_overflow_are_refused(tmp_path):
    program = program_of(policy_of(["dense"] * 3, [6, 32, 32, 2], discrete=True))
    act = PolicyAct(compile_in(tmp_path, program), program)
    huge = np.full(6, 3e38, np.float32) * np.float32([1, -1, 1, -1, 1, -1])
    assert act(huge) is None
    assert act(huge / 1e8) is not None


def test_int8_inputs_beyond_the_recorded_range_are_clipped(tmp_path):
    program = program_of(policy_like("mixed"), "int8")
    ends = program.network.limits[0] / program.network.input_arrays[0]["steps"]
    act = PolicyAct(compile_in(tmp_path, program), program)
    signs = np.float32([1, -1] * 150)
    assert np.array_equal(act(signs * ends), act(signs * ends * 1e6))


def test_the_self_test_finds_a_changed_weight(tmp_path):
    program = program_of(policy_like("dense"))
    source = program.write(tmp_path) / "policy.c"
    text = source.read_text()
    first = re.search(r"weight_2\[\d+\] = \{\s*([^,\s]+),", text)
    assert first is not None
    source.write_text(text[: first.start(1)] + "9.0f" + text[first.end(1) :])
    changed = CompiledPolicy(program, tmp_path, tmp_path / "p.so", compiler())
    assert changed.failed_test() > 0


def programs_of_every_kind(tmp_path):
    """Folders of programs with every kind of layer, and with every type of weights."""
    for name in KINDS:
        for dtype in DTYPES if name == "n_of_m" else DTYPES[::2]:
            folder = tmp_path / f"{name}-{dtype}"
            folder.mkdir()
            yield program_of(policy_like(name), dtype).write(folder)


STRICT = ["-Werror", *(f for f in COMPILE_FLAGS if not f.startswith(("-O", "-march")))]


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_it_compiles_without_a_warning_and_its_header_also_as_cpp(name, tmp_path):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    # Clang warns in its front end alone; gcc also warns while it optimizes.
    mode = ["-fsyntax-only"] if name == "clang" else ["-O2", "-c"]
    for folder in programs_of_every_kind(tmp_path):
        sources = ["policy.c", "test/policy_test.c", "test/main.c"]
        subprocess.run([name, *STRICT, *mode, *sources], cwd=folder, check=True)
    as_cpp = ["-x", "c++", "-std=c++11", "-Wall", "-Werror", "-fsyntax-only", "policy.h"]
    subprocess.run([name, *as_cpp], cwd=folder, check=True)


def test_a_layer_too_wide_for_an_int_of_16_bits_does_not_compile_there(tmp_path):
    small_int = tmp_path / "small_int.h"
    small_int.write_text("#include <limits.h>\n#undef INT_MAX\n#define INT_MAX 32767\n")
    command = [compiler(), *STRICT, "-fsyntax-only", "-include", str(small_int), "policy.c"]
    for inputs, compiles in [(8191, True), (8192, False)]:
        program_of(policy_of(["dense"], [inputs, 1], golden=1)).write(tmp_path)
        finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (finished.returncode == 0) == compiles, finished.stderr
    assert "needs an int of more than 16 bits" in finished.stderr


def test_it_is_clean_under_the_sanitizers(tmp_path):
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [compiler(), *sanitize, str(probe), "-o", str(tmp_path / "probe")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("the compiler has no sanitizers")
    sources = ["policy.c", "test/policy_test.c", "test/main.c"]
    for folder in programs_of_every_kind(tmp_path):
        command = [compiler(), *STRICT, *sanitize, *sources, "-o", "run", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        finished = subprocess.run(["./run"], cwd=folder, check=True, capture_output=True, text=True)
        assert finished.stdout.startswith("self-test: 8 of 8 observations agree")


def test_make_test_builds_and_runs_the_self_test(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    program = program_of(policy_like("blocks"), "int8")
    program.write(tmp_path)
    finished = subprocess.run(
        ["make", "test"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "8 of 8 observations agree" in finished.stdout
    # The sizes that the compiled program prints are those of the report.
    sizes = re.search(r"(\d+) bytes of policy, (\d+) of scratch", finished.stdout)
    assert (int(sizes[1]), int(sizes[2])) == (program.nbytes, program.scratch_bytes)


TWO = """
#include "hover.h"
#include "land.h"
#include <stdio.h>

int main(void)
{
    static hover_scratch in_the_air;
    static land_scratch down;
    printf("%d %d\\n", hover_self_test(&in_the_air), land_self_test(&down));
    return HOVER_OK != LAND_OK;
}
"""


def test_two_policies_are_linked_into_one_program(tmp_path):
    sources = ["both.c"]
    for name, kind, dtype in (("hover", "n_of_m", "int8"), ("land", "blocks", "float32")):
        policy = policy_like(kind)
        recorded = observations(policy.spaces.observation_size, 3000, seed=1)
        CProgram(policy, device_network(policy, dtype, recorded), name).write(tmp_path)
        sources += [f"{name}.c", f"test/{name}_test.c"]
    (tmp_path / "both.c").write_text(TWO)
    command = [compiler(), *STRICT, "-I.", *sources, "-o", "both", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    finished = subprocess.run(["./both"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert finished.stdout == "0 0\n"
    assert not any("policy_" in path.read_text() for path in tmp_path.glob("*.[ch]"))


@pytest.mark.parametrize(
    "name", ["Hover", "2nd", "my-policy", "", "a b", "class", "numpy", "math", "stdint"]
)
def test_a_name_that_no_symbol_can_begin_with_is_refused(name):
    policy = policy_like("one layer")
    with pytest.raises(BadValue, match=f"name is '{name}'"):
        CProgram(policy, device_network(policy, "float32"), name)


def test_the_header_tells_ranges_of_training():
    policy = policy_like("one layer")
    recorded = np.tile(np.float32([[-1.5], [2.25]]), (1, 9))
    program = CProgram(policy, device_network(policy, "float32"), recorded=recorded)
    header = program.files()["policy.h"]
    assert " *   [0] -1.5 to 2.25 in training\n" in header and " *   [8] -1.5 to" in header


def test_a_policy_at_1_of_8_takes_a_small_share_of_the_dense_bytes():
    """2x256 for HalfCheetah, all layers 1:8, compared with the dense policy in float32."""
    policy = policy_of([NofM(1, 8)] * 3, [17, 256, 256, 6])
    dense = 4 * (17 * 256 + 256 + 256 * 256 + 256 + 256 * 6 + 6)
    assert program_of(policy_of(["dense"] * 3, [17, 256, 256, 6])).nbytes == dense + 2 * 6 * 4
    assert program_of(policy).nbytes / dense <= 0.17
    assert program_of(policy, "int8").nbytes / dense <= 0.06


def test_indices_take_no_more_bits_than_they_need():
    policy = policy_of([NofM(1, 8), NofM(2, 4), NofM(1, 2)], [64, 16, 24, 8])
    layers = device_network(policy, "float32").layers
    bits = [8 * la.indices["place"].nbytes / la.weight.size for la in layers]
    assert bits == [3, 2, 1]


def test_a_layer_whose_indices_cost_more_than_they_save_is_stored_dense():
    (layer,) = policy_of([PerLayer(90)], [10, 10]).network.layers
    weight = np.asarray(layer.weight)
    assert isinstance(layer, RowSparse)
    # 90 of 100 weights: 90 columns and 11 starts for 40 bytes of weights saved.
    assert device_layer(layer, weight).loop == "dense"
    (layer,) = policy_of([PerLayer(60)], [10, 10]).network.layers
    assert device_layer(layer, np.asarray(layer.weight)).loop == "csr"
    assert device_layer(layer, np.zeros(60, np.int8)).loop == "dense"


def test_choices_that_there_are_not_are_refused(tmp_path):
    """In a process without the type checks of the tests."""
    code = """
import sparl
for given in ({"to": "h5"}, {"dtype": "int4"}, {"which": "worst"}, {"episodes": -1}):
    try:
        sparl.export("nowhere", **given)
    except sparl.SparlError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "to is 'h5': choose c, onnx or numpy",
        "dtype is 'int4': choose float32, float16 or int8",
        "which is 'worst': choose final or best",
        "episodes is -1: it must be at least 0",
    ]


def test_weights_that_float16_cannot_hold_are_refused():
    policy = policy_of(["dense"], [3, 2])
    (layer,) = policy.network.layers
    network = plain((type(layer)(layer.weight.at[0, 0].set(1e5), layer.bias),), True)
    with pytest.raises(BadValue, match=r"layer 0 has a weight of size 1e\+05.*int8"):
        program_of(Policy(network, policy.spaces, policy.golden), "float16")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    agent = sparl.TD3(hidden=(32, 32), learning_starts=200)
    method = sparl.RNM("1:4")
    sparl.train("Pendulum-v1", agent, method, steps=600, out=folder, quiet=True, eval_episodes=1)
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_report_agrees_with_what_was_written(run, dtype, tmp_path):
    report = sparl.export(run, out=tmp_path / "c", dtype=dtype, episodes=2)
    assert json.loads((tmp_path / "c" / "export.json").read_text()) == report
    assert f"POLICY_BYTES {report['bytes']}\n" in (tmp_path / "c" / "policy.h").read_text()
    assert report["dense_bytes"] == 4 * (4 * 32 + 33 * 32 + 33)
    assert report["checked"] and report["error"]["observations"] == 600
    assert report["error"]["max"] < {"float32": 1e-5, "float16": 1e-2, "int8": 0.2}[dtype]
    assert ("returns" in report) == (dtype != "float32")
    if dtype != "float32":
        original = sparl.load(run).policy
        assert abs(report["returns"]["original"] - report["returns"]["exported"]) < 100
        assert original.spaces.high == (2.0,)
        assert report["before"]["bytes"] > report["bytes"]
        assert report["before"]["weights"] == sum(layer["weights"] for layer in report["layers"])
        assert report["microseconds"] > 0 and report["before"]["microseconds"] > 0


def test_an_export_is_overwritten_but_no_other_folder(run, tmp_path):
    first = sparl.export(run, out=tmp_path / "c")
    again = sparl.export(run, out=tmp_path / "c")
    assert again | {"microseconds": 0.0} == first | {"microseconds": 0.0}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    with pytest.raises(BadRun, match="mine exists and is no export of sparl"):
        sparl.export(run, out=tmp_path / "mine")


def test_int8_needs_observations(run):
    with pytest.raises(BadValue, match="int8 takes its ranges from observations of a run"):
        sparl.export(run / "policy", dtype="int8")


def test_without_a_compiler_the_emulation_is_compared(run, tmp_path, monkeypatch):
    monkeypatch.setattr("sparl.exporters.comparing.compiler", lambda: None)
    report = sparl.export(run, out=tmp_path / "c", dtype="int8", episodes=0)
    assert report["checked"] is None and 0 < report["error"]["max"] < 0.2


def test_a_layer_that_keeps_one_weight_a_row_compiles(tmp_path):
    """Some compilers find its loop odd: no error where a policy is exported."""
    agent, method = sparl.TD3(hidden=(16, 16), learning_starts=20), sparl.methods.Static
    sparse = method(0.98, allocation="uniform")
    out = tmp_path / "run"
    sparl.train("Pendulum-v1", agent, sparse, steps=30, out=out, quiet=True, eval_episodes=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(native_policy, "COMPILE_FLAGS", COMPILE_FLAGS)
        assert sparl.export(out, out=tmp_path / "c")["checked"]


def test_an_export_that_failed_half_way_is_written_again_and_leaves_no_old_files(run, tmp_path):
    out, written = tmp_path / "c", files.write_bytes

    def full(path, content):
        if path.name == "Makefile":
            raise OSError(28, "No space left on device")
        return written(path, content)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "write_bytes", full)
        with pytest.raises(BadRun, match="No space left"):
            sparl.export(run, out=out)
    sparl.export(run, out=out, name="hover")
    (out / "notes").write_text("mine")
    (out / "device.json").write_text("{}")
    sparl.export(run, "numpy", out=out)
    names = sorted(path.name for path in out.rglob("*") if path.is_file())
    left = [n for n in names if n.endswith((".c", ".h")) and "policy" not in n]
    assert "notes" in names and "device.json" not in names and "policy.py" in names
    assert left == [] or left == ["main.c"], names


def test_ranges_of_int8_are_those_of_the_whole_replay(run, monkeypatch):
    policy, folder = sparl.load(run).policy, RunFolder(run)
    monkeypatch.setattr(source, "COMPARED", 10_000)
    every = recorded_observations(folder, policy)
    monkeypatch.setattr(source, "COMPARED", 50)
    few = recorded_observations(folder, policy)
    assert len(every) == 600 and len(few) <= 50 + 2 * 3
    np.testing.assert_array_equal(few[-50:], every[-50:])
    np.testing.assert_array_equal(few.min(0), every.min(0))
    np.testing.assert_array_equal(few.max(0), every.max(0))
    assert not np.array_equal(every[-50:].max(0), every.max(0))


def test_an_unfinished_run_is_tested_on_what_it_saw(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "policy")
    policy = sparl.load(tmp_path / "run").policy
    assert len(policy.golden) > 1 and np.abs(policy.golden).max() > 0


def test_the_compiler_of_the_environment_may_have_options(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", f"{compiler()} -O1")
    assert sparl.export(run, out=tmp_path / "c")["checked"]
    monkeypatch.setenv("CC", "no-such-compiler -O1")
    with pytest.raises(BadValue, match="CC is no-such-compiler -O1: no such compiler"):
        sparl.export(run, out=tmp_path / "d")


@pytest.mark.parametrize(
    ("cc", "told"),
    [
        ("gcc -no-such-option", "does not compile it for this machine. Unset CC, or .*no-such-opt"),
        ("true", "what .*true makes cannot be loaded: .*Set TMPDIR"),
    ],
)
def test_a_compiler_that_makes_nothing_for_this_machine_is_no_hindrance(
    cc, told, run, tmp_path, monkeypatch, capsys
):
    """A firmware's shell has set it to a device's; or programs may not be run from $TMPDIR."""
    if shutil.which(cc.split()[0]) is None:
        pytest.skip(f"{cc} is not installed")
    monkeypatch.setenv("CC", cc)
    report = sparl.export(run, out=tmp_path / "c", dtype="float16", episodes=0)
    assert report["checked"] is None and "microseconds" not in report
    assert re.search(told, report["unchecked"], re.DOTALL)
    assert report["error"]["max"] < 1e-2 and (tmp_path / "c" / "policy.c").exists()
    assert report["before"]["microseconds"] is None and report["before"]["bytes"] > 0
    assert main(["export", str(run), "--out", str(tmp_path / "d")]) == 0
    assert "not run here, but compared as Python" in capsys.readouterr().out


def test_a_compiler_that_no_shell_would_read_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "gcc 'x")
    with pytest.raises(BadValue, match="CC is gcc 'x, which a shell would not read"):
        sparl.export(run, out=tmp_path / "c")


def test_the_self_test_is_made_anew_for_another_compiler(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    program_of(policy_like("dense")).write(tmp_path)
    subprocess.run(["make", "self_test"], cwd=tmp_path, check=True, capture_output=True)
    again = ["make", "self_test", "CC=no-such-compiler"]
    assert subprocess.run(again, cwd=tmp_path, capture_output=True).returncode != 0


def test_c_that_does_not_compute_the_policy_is_not_written(run, tmp_path, monkeypatch):
    real = CompiledPolicy.outputs
    monkeypatch.setattr(CompiledPolicy, "outputs", lambda self, x: real(self, x) + 0.01)
    with pytest.raises(BadRun, match="differ from the policy's by"):
        sparl.export(run, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_report_of_others_takes_no_file_away_that_is_no_exports(run, tmp_path):
    out, outside = tmp_path / "c", tmp_path / "mine.txt"
    sparl.export(run, out=out)
    outside.write_text("keep")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "main.py").write_text("keep")
    shutil.rmtree(out / "test")
    (out / "test").symlink_to(tmp_path / "elsewhere")
    named = ["../mine.txt", str(outside), "test/../../mine.txt", "test/main.py", 3, None, ".", ""]
    (out / "export.json").write_text(json.dumps({"files": named}))
    sparl.export(run, "numpy", out=out)
    assert outside.exists() and (tmp_path / "elsewhere" / "main.py").exists()
    for broken in ("[1]", "{", '{"files": 3}'):
        (out / "export.json").write_text(broken)
        sparl.export(run, "numpy", out=out)
