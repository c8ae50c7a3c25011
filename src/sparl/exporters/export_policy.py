"""`sparl export`: writes a trained policy as C or ONNX, checks it, reports size and error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.errors import BadFile, BadRun, BadValue
from sparl.exporters import onnx
from sparl.exporters.c import NAME, CProgram, check_name
from sparl.exporters.comparing import check_c, check_onnx, error_of
from sparl.exporters.measured import measured
from sparl.exporters.network import DeviceNetwork, Dtype, device_network
from sparl.exporters.numpy_program import NumpyProgram
from sparl.exporters.source import dense_bytes, dense_network, recorded_observations
from sparl.policy import Policy
from sparl.storage import RunFolder, files
from sparl.training import Which, evaluating, load_policy

REPORT_FILE = "export.json"
"""The report of `export`, beside what it wrote."""
WRITTEN = re.compile(r"(test/)?\w+(\.\w+)?", re.ASCII)
"""Names of files of an export, in its folder."""
BEGUN = ".export.begun"
"""In the folder of an export while it is written."""
DEVICE_FILE = "device.json"
"""What `sparl bench device` writes into the folder of an export."""
LATENCY_FILE = "latency.json"
"""What `sparl bench latency` writes into the folder `export` of a run."""
Target = Literal["c", "onnx", "numpy"]


def export(
    path: str | Path,
    to: Target = "c",
    out: str | Path | None = None,
    *,
    dtype: Dtype = "float32",
    episodes: int = 10,
    which: Which = "final",
    name: str = NAME,
    trust: bool = False,
) -> dict[str, Any]:
    """Writes a trained policy for a device.

    Args:
        path: A run folder, or the folder of a saved policy.
        to: `"c"` writes a folder of C99 with a self-test, `"onnx"` writes `NAME.onnx`, `"numpy"`
            a Python file that needs NumPy alone.
        out: The folder to write; DIR/export/TO-DTYPE if not given, and with `which="best"`
            DIR/export/best-TO-DTYPE.
        dtype: Type of the stored weights. `"int8"` computes with integers; it takes their ranges
            from observations in the run's replay. ONNX has `"float32"` only, NumPy no `"int8"`.
        episodes: Episodes in the run's environment over which the returns of a float16 or int8
            policy are compared with those of the original; 0 for none. A run without evaluations,
            or with those in the training's own environment, has none.
        which: Of a run's policies: the final one, or the one of the best evaluation.
        name: What files, and symbols of the C, begin with; a program with several policies needs
            several names.
        trust: Import what a run names, though somebody else wrote it: see `Untrusted`. Only
            episodes need that, and runs without a final policy.

    Returns:
        The report, which is also written as `export.json`. `bytes` counts constants and indices;
        `dense_bytes` is the size in float32 of the dense network that training began with. `error`
        compares the network's outputs (actions within [-1, 1], or values of choices) with the
        original's over recorded observations. `microseconds` is the time of an action here; of a
        smaller dtype `before` has the same figures in float32. `unchecked` says why C was not run
        here, where a compiler could not make it.

    Raises:
        BadValue: This policy cannot be exported like this; the message says what can be done.
        BadRun: The folder cannot be written, or the export does not compute what the policy does.
    """
    validation.one_of(get_args(Target), to=to)
    validation.one_of(get_args(Dtype), dtype=dtype)
    validation.one_of(get_args(Which), which=which)
    validation.at_least(0, episodes=episodes)
    path = Path(path)
    run = None if (path / "policy.json").exists() else RunFolder.open(path, trust)
    whole = load_policy(path, which)
    policy = whole.narrowed()
    if to == "onnx" and dtype != "float32":
        raise BadValue(
            f"dtype is {dtype}: ONNX is exported in float32. Leave it out, or export to c"
        )
    out = default_folder(path, to, dtype, which) if out is None else Path(out)
    _refuse_foreign_folder(out)
    recorded = recorded_observations(run, whole) if run is not None else None
    if dtype == "int8" and recorded is None:
        raise BadValue(
            f"int8 takes its ranges from observations of a run, and {path} has none: name a run "
            "folder that has a checkpoint, or export as float32 or float16"
        )
    compares = run is not None and episodes and dtype != "float32" and _has_evaluations(run)
    if run is not None and compares:
        run.runnable()
    observations = policy.golden if recorded is None else recorded
    report: dict[str, Any] = {
        "to": to,
        "dtype": dtype,
        "dense_bytes": dense_bytes(dense_network(policy, run)),
    }
    if to == "onnx":
        model = onnx.model(policy).SerializeToString(deterministic=True)
        check_name(name)
        contents = {f"{name}.onnx": model}
        report |= check_onnx(policy, model, observations)
    elif to == "numpy":
        in_numpy = NumpyProgram(policy, dtype, name)
        contents = in_numpy.files()
        outputs = in_numpy.check(observations)
        report |= {"name": name, "bytes": in_numpy.nbytes, "checked": "numpy"}
        report["error"] = error_of(policy, outputs, observations)
    else:
        program = CProgram(policy, device_network(policy, dtype, recorded), name, recorded)
        contents = {file: text.encode() for file, text in program.files().items()}
        report |= {"name": name} | _sizes(program) | check_c(program, dtype, observations)
        if dtype != "float32":
            report["before"] = measured(policy)._asdict()
        if run is not None and compares:
            report["returns"] = _returns(run, whole, program.network, episodes)
    report["files"] = sorted(contents)
    try:
        _write(out, contents, report)
    except OSError as error:
        raise BadRun(f"could not write {out}: {error}") from error
    return report


def default_folder(path: Path, to: Target, dtype: Dtype, which: Which = "final") -> Path:
    """Gives DIR/export/TO-DTYPE, where an export of `path` goes if no folder is given."""
    return path / "export" / f"{'best-' if which == 'best' else ''}{to}-{dtype}"


def _write(out: Path, contents: Mapping[str, bytes], report: dict[str, Any]) -> None:
    """Writes an export in the place of an earlier one, of which only a user's own files stay."""
    out.mkdir(parents=True, exist_ok=True)
    files.write_bytes(out / BEGUN, b"")  # whoever comes after a failure may write here again
    for file in (*_written_before(out), REPORT_FILE, DEVICE_FILE):
        if file not in contents:
            (out / file).unlink(missing_ok=True)
    for file, content in contents.items():
        (out / file).parent.mkdir(exist_ok=True)
        files.write_bytes(out / file, content)
    files.write_json(out / REPORT_FILE, report)
    (out / BEGUN).unlink()


def _written_before(out: Path) -> list[str]:
    """The files of an earlier export, by its report.

    The report may be anybody's: nothing is taken for such a file that an export could not have
    written into its folder.
    """
    try:
        named = files.read_json(out / REPORT_FILE).get("files", [])
    except (BadFile, AttributeError):  # there is none, or it is broken
        return []
    inside = out.resolve()
    return [
        name
        for name in (named if isinstance(named, list) else ())
        if isinstance(name, str) and WRITTEN.fullmatch(name)
        if (out / name).parent.resolve() in (inside, inside / "test")
    ]


def _refuse_foreign_folder(out: Path) -> None:
    """Raises `BadRun` for a folder with anything but an earlier export, which is overwritten."""
    ours = (out / REPORT_FILE).exists() or (out / BEGUN).exists()
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise BadRun(f"{out} exists and is no export of sparl: choose another folder")


def _sizes(program: CProgram) -> dict[str, Any]:
    return {
        "bytes": program.nbytes,
        "scratch_bytes": program.scratch_bytes,
        **({"frames_bytes": program.frames_bytes} if program.frames_bytes else {}),
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


def _has_evaluations(run: RunFolder) -> bool:
    """Whether a run's environment may be played without its user standing by."""
    config = run.record().run
    return config.eval_episodes > 0 and config.eval_env != "shared"


def _returns(
    run: RunFolder, policy: Policy, network: DeviceNetwork, episodes: int
) -> dict[str, Any]:
    config = run.runnable()

    def act(observation: NDArray[np.float32]) -> NDArray[Any]:
        outputs = network.outputs(policy.select_inputs(observation))
        return outputs.argmax(axis=-1) if policy.spaces.discrete else outputs

    with evaluating(config, policy.spaces, episodes, config.seed) as play:
        original, exported = play(policy.act), play(act)
    return {
        "episodes": episodes,
        "original": original.mean_return,
        "exported": exported.mean_return,
        "worse": exported.is_worse_than(original),
    }
