"""Exports for any environment: several choices, integers, frames, entries with names."""

from __future__ import annotations

import ctypes
import json
import platform
import re
import subprocess
from typing import Any

import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest
from policies import PolicyAct, observations, policy_in

import sparl
from sparl.bench import CORTEX, cortex_m4, missing
from sparl.cli import main
from sparl.envs import Entry, Spaces
from sparl.errors import BadValue
from sparl.exporters import CompiledPolicy, CProgram, compiler, device_network, onnx
from sparl.layouts import Dense
from sparl.networks import plain
from sparl.policy import Policy, predict

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")
needs_onnx = pytest.mark.skipif(
    any(__import__("importlib.util").util.find_spec(p) is None for p in ("onnx", "onnxruntime")),
    reason="needs the extra onnx",
)

DTYPES = ["float32", "int8", "float16"]
BOUNDS = ((-10.0, 0.0, 3.0, -128.0), (10.0, 8.0, 3.0, 127.0))
SPACES = {
    "several": Spaces(
        *((5,), (2, 2), (), (), 12), nvec=(2, 3, 2, 1), starts=(0, -5, 7, 30_000), dtype="int64"
    ),
    "bits": Spaces((5,), (3,), (), (), 8, nvec=(2,) * 3, starts=(0,) * 3, dtype="int8"),
    "integers": Spaces((5,), (2, 2), *BOUNDS, dtype="int8"),
    "frames": Spaces((3, 4), (2,), (-0.1, 0.0), (0.1, 5.0), dtype="float64", frames=3),
    "frames of a grid": Spaces(
        *((4, 2, 3), (2,), (), (), 6), nvec=(3, 2), starts=(1, 0), dtype="int64", frames=4
    ),
}
MARGIN = 1e-4
"""How far outputs may be from the policy's."""


def program_of(policy, dtype="float32"):
    recorded = observations(policy.spaces.observation_size, 500, seed=1)
    return CProgram(policy, device_network(policy, dtype, recorded))


def compile_in(folder, program):
    program.write(folder)
    return CompiledPolicy(program, folder, folder / "policy.so", compiler())


def agree(spaces, actions, outputs):
    """Whether these are the actions for such outputs, or for some that differ by rounding."""
    if spaces.discrete:
        clear = np.diff(np.sort(outputs, axis=-1)[:, -2:], axis=-1)[:, 0] > MARGIN
        assert clear.mean() > 0.9
        return np.array_equal(actions[clear], spaces.to_env_action(outputs.argmax(-1))[clear])
    least, most = (spaces.to_env_action(outputs + d) for d in (-MARGIN, MARGIN))
    near = 0 if spaces.rounds else 1e-5
    return bool((actions >= least - near).all() and (actions <= most + near).all())


def episode_of(spaces, count=40):
    """Observations of the environment [count, ...], which come one by one."""
    shape = spaces.observation_shape[spaces.frames > 1 :]
    return observations(int(np.prod(shape)), count, seed=3).reshape(count, *shape)


@needs_compiler
@pytest.mark.parametrize("name", [name for name in SPACES if name != "bits"])
def test_c_acts_as_predict_does(name, tmp_path):
    policy = policy_in(SPACES[name])
    spaces = policy.spaces
    for dtype in DTYPES if name == "integers" else DTYPES[:2]:
        folder = tmp_path / dtype
        folder.mkdir()
        program = program_of(policy, dtype)
        compiled = compile_in(folder, program)
        assert compiled.failed_test() == 0
        act, state, seen = PolicyAct(compiled, program), None, []

        def remember(flat, seen=seen, program=program):
            outputs = program.network.outputs(flat)
            seen.append(outputs[0])
            return outputs.argmax(-1) if spaces.discrete else outputs

        given, outputs, actions = [], [], []
        for step, observation in enumerate(episode_of(spaces)):
            starts = step in (0, 23)
            if starts and spaces.frames > 1:
                act.reset()
            action, state = predict(remember, spaces, observation, state, starts)
            flat = np.ascontiguousarray(observation.reshape(-1))
            given.append(act(flat).reshape(spaces.action_shape))
            outputs.append(act.outputs)
            actions.append(action)
        # An int8 input halfway between two steps may be rounded to either.
        near = program.network.tolerance(np.array(seen))
        assert np.abs(np.array(outputs) - seen).max() < near
        assert agree(spaces, np.array(given), np.array(outputs))
        if dtype == "float32":
            expected, state = [], None
            for step, observation in enumerate(episode_of(spaces)):
                action, state = policy.predict(observation, state, step in (0, 23))
                expected.append(action)
            # By the kernels and NumPy's tanh, where the export's reference is XLA's.
            np.testing.assert_allclose(np.array(expected), np.array(actions), rtol=1e-5, atol=1e-6)
            assert agree(spaces, np.array(given), np.array(seen))


@needs_onnx
@pytest.mark.parametrize("name", SPACES)
def test_onnx_acts_as_predict_does(name):
    policy = policy_in(SPACES[name])
    spaces = policy.spaces
    model = onnx.model(policy)
    tried = observations(spaces.observation_size, 1000)
    shaped = tried.reshape(-1, *spaces.observation_shape)
    session = onnx.session(model.SerializeToString())
    action, *_ = session.run(None, {"observation": shaped})
    assert action.dtype == (np.int64 if spaces.discrete or spaces.rounds else np.float32)
    assert action.shape == (1000, *spaces.action_shape)
    assert agree(spaces, action, policy.outputs(tried))
    frames = {"frames": str(spaces.frames)} if spaces.frames > 1 else {}
    assert {entry.key: entry.value for entry in model.metadata_props} == frames
    told = model.graph.input[0].doc_string
    assert ("newest last" in told) == (spaces.frames > 1)


HALVES = (np.arange(-40, 41) / 32).astype(np.float32)
"""Outputs between -1.25 and 1.25 at which the actions of `halving` are integers and halves."""


def halving():
    """A policy whose outputs are its observations, which it does not squash."""
    low, high = (-16.0, 0.0, -3.0, -2147483647.0), (16.0, 16.0, 1.0, 2147483647.0)
    network = plain((Dense(jnp.eye(4), jnp.zeros(4)),), False)
    golden = HALVES[:, None].repeat(4, axis=1)
    return Policy(network, Spaces((4,), (4,), low, high, dtype="int32"), golden)


@needs_compiler
def test_integers_round_as_rint_does_whatever_the_rounding_mode(tmp_path):
    policy = halving()
    program = program_of(policy)
    act = PolicyAct(compile_in(tmp_path, program), program)
    expected = policy.spaces.to_env_action(policy.golden)
    assert {-2, 0, 2} <= set(expected[:, 0].tolist())
    library = ctypes.CDLL(None)
    modes = [0, 0x400, 0x800, 0xC00] if platform.machine() == "x86_64" else [0]
    for mode in modes:
        library.fesetround(mode)
        try:
            given = np.array([act(observation) for observation in policy.golden])
        finally:
            library.fesetround(0)
        assert np.array_equal(given[:, :3], expected[:, :3])
        # The last one has more values than a float: all that holds is where it begins and ends.
        beyond = np.abs(HALVES) >= 1
        assert np.array_equal(given[beyond, 3], expected[beyond, 3])


@needs_onnx
def test_integers_of_onnx_round_as_rint_does():
    policy = halving()
    session = onnx.session(onnx.model(policy).SerializeToString())
    (given,) = session.run(None, {"observation": policy.golden})
    assert np.array_equal(given, policy.spaces.to_env_action(policy.golden))


@needs_compiler
def test_an_observation_that_is_not_finite_is_not_remembered(tmp_path):
    policy = policy_in(SPACES["frames"])
    program = program_of(policy)
    act = PolicyAct(compile_in(tmp_path, program), program)
    episode = episode_of(policy.spaces, 6)
    expected = [act(observation) for observation in episode]
    act.reset()
    for observation, wanted in zip(episode, expected, strict=True):
        broken = observation.copy()
        broken[1] = np.nan
        assert act(broken) is None
        assert np.array_equal(act(observation), wanted)


@needs_compiler
@pytest.mark.parametrize(
    "before, after, failed",
    [
        ("frames->started = 1", "frames->started = 0", 10),  # nothing is remembered
        ("frames->started = 0", "(void)frames", 9),  # the second episode remembers the first
        ("frames->inputs[i + POLICY_OBSERVATION_SIZE]", "frames->inputs[i]", 11),  # nothing moves
    ],
)
def test_the_self_test_finds_broken_frames(before, after, failed, tmp_path):
    program = program_of(policy_in(SPACES["frames"]))
    assert compile_in(tmp_path, program).failed_test() == 0
    text = (tmp_path / "policy.c").read_text()
    assert text.count(before) == 1
    (tmp_path / "policy.c").write_text(text.replace(before, after))
    changed = CompiledPolicy(program, tmp_path, tmp_path / "changed.so", compiler())
    assert changed.failed_test() == failed


EVIL = "x */ int system(const char *); /* \\\n#include <stdlib.h>"
NAMES = {
    "robot.angle": "ROBOT_ANGLE",
    "robot angle": "ROBOT_ANGLE_2",
    "size": "SIZE_2",
    "SIZE_2": "SIZE_2_2",
    "größe": "GR_SSE",
    "角": "ENTRY",
    "": "ENTRY_2",
    "0.wheel[3]": "0_WHEEL_3",
    EVIL: "X_INT_SYSTEM_CONST_CHAR_INCLUDE_STDL",
    "long" * 30: ("LONG" * 9),
}


@needs_compiler
def test_entries_have_names_in_the_header_that_are_identifiers(tmp_path):
    entries = tuple(Entry(name, size) for size, name in enumerate(NAMES, 1))
    count = sum(entry.size for entry in entries)
    policy = policy_in(Spaces((2, count), (1,), (0.0,), (1.0,), entries=entries, frames=2))
    program = program_of(policy)
    compile_in(tmp_path, program)
    header = program.files()["policy.h"]
    found = re.findall(r"#define POLICY_OBSERVATION_(\w+) (\d+) /\* (\d+) numbers? \*/", header)
    starts = np.cumsum([0, *(entry.size for entry in entries)])[:-1]
    assert found == [
        (name, str(start), str(entry.size))
        for name, start, entry in zip(NAMES.values(), starts, entries, strict=True)
    ]
    assert header.isascii() and "system(" not in "".join(program.files().values())
    as_cpp = ["-x", "c++", "-std=c++11", "-Wall", "-Werror", "-fsyntax-only", "policy.h"]
    subprocess.run([compiler(), *as_cpp], cwd=tmp_path, check=True)


@needs_onnx
def test_entries_have_their_names_in_onnx():
    entries = (Entry("robot.angle", 3), Entry("größe", 2))
    model = onnx.model(policy_in(Spaces((5,), (1,), (0.0,), (1.0,), entries=entries)))
    (kept,) = model.metadata_props
    assert kept.key == "entries"
    assert json.loads(kept.value) == [["robot.angle", 3], ["größe", 2]]


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("several", {"nvec": ("2); f(", 3, 2, 1)}, r"action.nvec of the policy holds '2\); f\('"),
        ("several", {"nvec": (2, 3, 2, 2)}, r"action.nvec of the policy is .* 12 outputs"),
        ("several", {"starts": (0, 0, 0)}, "action.starts of the policy is .* 4 numbers"),
        ("several", {"starts": (0, 0, 0, "0")}, "action.starts of the policy holds '0'"),
        ("several", {"starts": (0, 0, 2**31 - 1, 0)}, "action.starts is .* in 32 bits"),
        ("integers", {"low": (-10.0, 0.5, 3.0, 0.0)}, "action.low of the policy .* whole numbers"),
        ("integers", {"high": (10.0, 8.0, 3.0, 128.0)}, "action.high of the policy .* int8"),
        ("integers", {"dtype": "uint64", "high": (2.0**31,) * 4}, "action.* smaller bounds"),
        ("integers", {"dtype": EVIL}, "dtype of the policy is .*no type of numbers"),
        ("frames", {"frames": "3"}, "frames of the policy holds '3'"),
        ("frames", {"frames": 4}, r"frames of the policy is 4, .* \(3, 4\)"),
        ("frames", {"entries": (Entry("a", "4"),)}, "entries of the policy holds '4'"),
        ("frames", {"entries": (Entry("a", 12),)}, "entries of the policy is .* 12 inputs"),
        ("frames", {"entries": (Entry(4, 4),)}, "entries of the policy is .* without names"),
    ],
)
def test_spaces_that_cannot_be_exported_are_refused(name, fields, words):
    policy = policy_in(SPACES[name])
    spaces = Spaces(**{k: getattr(policy.spaces, k) for k in Spaces.__dataclass_fields__})
    for field, value in fields.items():
        object.__setattr__(spaces, field, value)
    altered = Policy(policy.network, spaces, policy.golden)
    with pytest.raises(BadValue, match=words):
        CProgram(altered, device_network(altered, "float32"))
    with pytest.raises(BadValue, match=words):
        onnx.model(altered)


@pytest.mark.skipif(bool(missing(CORTEX)), reason=f"not installed: {missing(CORTEX)}")
def test_frames_are_remembered_on_a_cortex_m4f(tmp_path):
    program = program_of(policy_in(SPACES["frames of a grid"]))
    program.write(tmp_path)
    figures = cortex_m4(tmp_path)
    assert figures["cortex_m4"] == "passed"
    assert figures["ram"] > program.scratch_bytes + program.frames_bytes


class Parts(gym.Env):
    """A Dict of two entries; the action is one of several kinds."""

    observation_space: gym.Space = gym.spaces.Dict(
        {"arm": gym.spaces.Box(-1.0, 1.0, (2,)), "mode": gym.spaces.Discrete(2)}
    )
    kinds = {  # noqa: RUF012
        "choices": gym.spaces.MultiDiscrete([2, 3], start=[0, 5]),
        "integers": gym.spaces.Box(-4, 5, (2,), np.int32),
    }

    def __init__(self, kind: str = "choices") -> None:
        self.action_space: gym.Space = self.kinds[kind]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.uniform(-1, 1)
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        self.t, self.x = self.t + 1, np.tanh(self.x + 0.1 * float(np.sum(action)) - 0.5)
        return self.observe(), -abs(self.x), False, self.t == 10, {}

    def observe(self) -> Any:
        return {"arm": np.float32([self.x, self.t / 10]), "mode": self.t % 2}


SMALL: dict[str, Any] = {"hidden": (16, 16), "learning_starts": 100}
"""Options of agents that do not begin to learn."""


@needs_compiler
@pytest.mark.parametrize(
    "kind, agent, options",
    [
        ("choices", sparl.DQN(**SMALL), {"frame_stack": 3}),
        ("integers", sparl.TD3(**SMALL), {"round_actions": True}),
    ],
)
def test_a_run_is_exported_and_plays_in_its_environment(kind, agent, options, tmp_path):
    options |= {"env_kwargs": {"kind": kind}, "steps": 80, "eval_episodes": 1, "quiet": True}
    run = sparl.train(Parts, agent, out=tmp_path / "run", **options)
    report = run.export(dtype="int8", episodes=2)
    assert report["checked"] and report["error"]["max"] < 0.2
    assert abs(report["returns"]["original"] - report["returns"]["exported"]) < 1
    header = (run.folder / "export" / "c-int8" / "policy.h").read_text()
    told = r"#define POLICY_OBSERVATION_MODE 2 /\* 2 numbers, 0 to 1 in training \*/\n"
    assert re.search(told, header)
    if kind == "choices":
        assert report["frames_bytes"] == 4 * (3 * 4 + 1)
        assert "action[0] from 0 to 1,\n *     action[1] from 5 to 7.\n" in header
        latency = ["bench", "latency", str(run.folder), "--names", "c", "sparl", "--calls", "10"]
        assert main([*latency, "--repetitions", "1"]) == 0


@needs_onnx
def test_the_check_of_onnx_lets_halves_be_rounded_to_either_integer(tmp_path):
    halving().save(tmp_path / "policy")
    assert sparl.export(tmp_path / "policy", "onnx")["error"]["max"] == 0
