"""`sparl export`: a trained policy as C or ONNX, checked, with what it costs and how far it is from
the original."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.agents.common import ofenet
from sparl.errors import BadRun, BadValue
from sparl.exporters import onnx
from sparl.exporters.c import CProgram
from sparl.exporters.compiled import CompiledPolicy, compiler
from sparl.exporters.network import DeviceNetwork, Dtype, device_network
from sparl.networks import Network, dense_copy
from sparl.policy import TOLERANCE, Policy
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder, files
from sparl.training import Evaluator, load_policy

REPORT = "export.json"
LATENCY, DEVICE = "latency.json", "device.json"
"""What `sparl bench latency` leaves in a run's folder `export`, and `sparl bench device` in that of
an export."""
RECORDED = 10_000
"""Observations of a run that an export is compared on, the newest."""

Target = Literal["c", "onnx"]


def export(
    path: str | Path,
    to: Target = "c",
    out: str | Path | None = None,
    *,
    dtype: Dtype = "float32",
    episodes: int = 10,
) -> dict[str, Any]:
    """Writes the policy of a run folder, or of a policy's, for a device; answers with the report
    that lies beside it as `export.json`.

    - `to`: `"c"`, a folder of C99 with a self-test; `"onnx"`, `policy.onnx`.
    - `out`: the folder; DIR/export/TO-DTYPE if not given.
    - `dtype`: of the stored weights: `"float32"`, `"float16"`, or `"int8"`, which computes with
      integers and takes their ranges from observations in the run's replay. ONNX has float32 only.
    - `episodes`: over which the exported policy is compared with the original, in the environment
      of the run, where it computes otherwise (float16, int8); 0 for none.

    Bytes are those of constants, indices included; `dense_bytes` those of the dense network in
    float32 that training began with. Errors are those of what the network gives, actions within
    [-1, 1] or values of choices, over recorded observations.

    Raises `BadValue` for what cannot be exported so, `BadRun` for a folder that cannot be written.
    """
    path = Path(path)
    policy = load_policy(path)
    run = None if (path / "policy.json").exists() else RunFolder.open(path)
    if to == "onnx" and dtype != "float32":
        raise BadValue(
            f"dtype is {dtype}: ONNX is exported in float32. Leave it out, or use --to c"
        )
    out = default_folder(path, to, dtype) if out is None else Path(out)
    _refuse_others(out)
    observations = recorded(run) if run is not None else None
    if dtype == "int8" and observations is None:
        raise BadValue(
            f"int8 takes its ranges from observations of a run, and {path} has none: name a run "
            "folder that has a checkpoint, or export as float32 or float16"
        )
    compared = policy.golden if observations is None else observations
    report: dict[str, Any] = {
        "to": to,
        "dtype": dtype,
        "dense_bytes": dense_bytes(dense_policy(policy, run)),
    }
    if to == "onnx":
        content = onnx.model(policy).SerializeToString(deterministic=True)
        written = {"policy.onnx": content}
        report |= _checked(policy, content, compared)
    else:
        program = CProgram(policy, device_network(policy, dtype, observations))
        written = {name: text.encode() for name, text in program.files().items()}
        report |= _sizes(program) | _tried(program, written, compared)
        if run is not None and episodes and dtype != "float32":
            report["returns"] = _returns(run, policy, program.network, episodes)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in written.items():
            files.write_bytes(out / name, content)
        files.write_json(out / REPORT, report)
    except OSError as error:
        raise BadRun(f"could not write {out}: {error}") from error
    return report


def default_folder(path: Path, to: Target, dtype: Dtype) -> Path:
    """DIR/export/TO-DTYPE."""
    return path / "export" / f"{to}-{dtype}"


def recorded(run: RunFolder) -> NDArray[np.float32] | None:
    """The newest observations in the replay of a run's newest checkpoint, [count, obs]; None where
    there is none."""
    steps = run.checkpoints.steps()
    if not steps:
        return None
    config, _, _, spaces = run.read_config()
    columns = Columns(spaces.observation_size, spaces.action_size, spaces.discrete)
    replay = Replay(config.buffer_size, columns)
    run.checkpoints.load_replay(steps[-1], replay)
    newest = replay.span(replay.added - min(RECORDED, replay.size), replay.added)
    return newest[:, : spaces.observation_size] if len(newest) else None


def _refuse_others(out: Path) -> None:
    """An earlier export is written anew; anything else stays as it is."""
    if out.exists() and not (out / REPORT).exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadRun(f"{out} is there and is no export of sparl: choose another --out")


def _sizes(program: CProgram) -> dict[str, Any]:
    return {
        "bytes": program.nbytes,
        "scratch_bytes": program.scratch_bytes,
        "layers": [
            {
                "loop": layer.loop,
                "shape": [layer.outputs, layer.inputs],
                "weights": layer.weight.size,
                "bytes": layer.nbytes,
            }
            for layer in program.network.layers
        ],
    }


def _tried(
    program: CProgram, written: dict[str, bytes], observations: NDArray[np.float32]
) -> dict[str, Any]:
    """What compiled the export and ran it here, and how far it is from the policy; without a
    compiler how far the same arithmetic is, done in Python."""
    compiled_by = compiler()
    if compiled_by is None:
        outputs = program.network.outputs(observations)
        return {"checked": None, "error": _error(program.policy, outputs, observations)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in written.items():
            (folder / file).write_bytes(content)
        made = CompiledPolicy(program, folder, folder / "policy.so", compiled_by)
        failed, outputs = made.failed_test(), made.outputs(observations)
    if failed:
        raise BadRun(
            f"compiled by {compiled_by}, the policy fails its self-test at observation {failed}, "
            "and is not written. Please report it"
        )
    error = _error(program.policy, outputs, observations)
    return {"checked": Path(compiled_by).name, "error": error}


def _checked(policy: Policy, content: bytes, observations: NDArray[np.float32]) -> dict[str, Any]:
    """How far onnxruntime's actions are from the policy's, over recorded and random observations.

    Raises `BadRun` where they differ."""
    noise = np.random.default_rng(0).normal(size=(1000, policy.spaces.observation_size))
    tried = np.concatenate([observations, noise.astype(np.float32)])
    shaped = tried.reshape(-1, *policy.spaces.observation_shape)
    name = "q_value" if policy.spaces.discrete else "action"
    (found,) = onnx.session(content).run([name], {"observation": shaped})
    outputs = policy.outputs(tried)
    wanted = outputs if policy.spaces.discrete else policy.spaces.scaled(outputs)
    worst = float(np.abs(found - wanted).max())
    if not worst <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise BadRun(f"onnxruntime's actions differ from the policy's by {worst:.1e}: not written")
    return {
        "bytes": len(content),
        "checked": "onnxruntime",
        "error": {"observations": len(tried), "max": worst},
    }


def _error(
    policy: Policy, outputs: NDArray[np.float32], observations: NDArray[np.float32]
) -> dict[str, Any]:
    """How far a device's outputs are from the policy's; of choices, the share that are others."""
    wanted = policy.outputs(observations)
    difference = np.abs(outputs - wanted)
    found = {
        "observations": len(observations),
        "max": float(difference.max()),
        "mean": float(difference.mean()),
    }
    if policy.spaces.discrete:
        found["other_choices"] = float(np.mean(outputs.argmax(1) != wanted.argmax(1)))
    return found


def _returns(
    run: RunFolder, policy: Policy, network: DeviceNetwork, episodes: int
) -> dict[str, Any]:
    config = run.read_config()[0]
    evaluate = Evaluator(config, policy.spaces, episodes, config.seed)

    def act(observation: NDArray[np.float32]) -> NDArray[Any]:
        outputs = network.outputs(observation)
        return outputs.argmax(axis=-1) if policy.spaces.discrete else outputs

    try:
        return {
            "episodes": episodes,
            "original": evaluate(policy.act).mean_return,
            "exported": evaluate(act).mean_return,
        }
    finally:
        evaluate.close()


def dense_policy(policy: Policy, run: RunFolder | None) -> Network:
    """The network that the run began with, a policy's own without a run, with every weight stored;
    shapes in place of arrays."""
    if run is None:
        return jax.eval_shape(dense_copy, policy.network)
    agent, spaces = run.read_config()[1], policy.spaces
    sizes = spaces.observation_size, spaces.action_size
    return ofenet.dense_policy(agent, *sizes)


def dense_bytes(dense: Network) -> int:
    """Of a dense network in float32."""
    return 4 * sum(leaf.size for leaf in jax.tree.leaves(dense))
