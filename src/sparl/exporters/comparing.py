"""What an export computes, beside what the policy does: compared before anything is written."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadRun
from sparl.exporters import onnx
from sparl.exporters.c import CProgram
from sparl.exporters.native_policy import CannotRunHere, CompiledPolicy, compiler
from sparl.exporters.network import Dtype
from sparl.policy import TOLERANCE, Policy

RANDOM = 1000
"""Observations besides those of the run that a model in ONNX is compared on."""


def check_c(program: CProgram, dtype: Dtype, observations: NDArray[np.float32]) -> dict[str, Any]:
    """Compiles the export, runs its self-test, and compares its outputs with the policy's.

    Without a compiler, or where it makes nothing that runs here, the same arithmetic done in Python
    is compared: a compiler for a device may be all there is.

    Returns:
        `checked` by which compiler, the `error`, and the `microseconds` of an action; or why it is
        `unchecked`.

    Raises:
        BadRun: It does not compute what the policy does.
    """
    compiled_by = compiler()
    unchecked = {}
    if compiled_by is not None:
        try:
            return _check_compiled(program, dtype, observations, compiled_by)
        except CannotRunHere as error:
            unchecked = {"unchecked": str(error)}
    outputs = program.network.outputs(observations)
    error = error_of(program.policy, outputs, observations)
    return {"checked": None, "error": error, **unchecked}


def _check_compiled(
    program: CProgram, dtype: Dtype, observations: NDArray[np.float32], compiled_by: str
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        program.write(folder)
        compiled = CompiledPolicy(program, folder, folder / "policy.so", compiled_by)
        failed, outputs = compiled.failed_test(), compiled.outputs(observations)
        took = compiled.microseconds(len(program.policy.golden))
    if failed:
        raise BadRun(
            f"compiled by {compiled_by}, the policy fails its self-test at observation {failed}, "
            "and is not written. Please report it"
        )
    error = error_of(program.policy, outputs, observations)
    if dtype == "float32":
        allowed = program.network.tolerance(program.policy.outputs(observations))
        if not error["max"] <= allowed:  # nan, too
            raise BadRun(
                f"the C's outputs differ from the policy's by {error['max']:.1e}: not written. "
                "Please report it"
            )
    name = Path(shlex.split(compiled_by)[0]).name
    return {"checked": name, "error": error, "microseconds": took}


def check_onnx(policy: Policy, model: bytes, observations: NDArray[np.float32]) -> dict[str, Any]:
    """Compares onnxruntime's actions with the policy's on recorded and on random observations.

    Returns:
        The bytes of the model, and the largest `error`: of values of choices, or of actions within
        [-1, 1], whatever the environment's bounds are.

    Raises:
        BadRun: Actions differ.
    """
    noise = np.random.default_rng(0).normal(size=(RANDOM, policy.spaces.observation_size))
    tried = np.concatenate([observations, noise.astype(np.float32)])
    shaped = tried.reshape(-1, *policy.spaces.observation_shape)
    spaces, outputs = policy.spaces, policy.outputs(tried)
    action, *values = onnx.session(model).run(None, {"observation": shaped})
    if spaces.discrete:
        (actual,) = values
        if not np.array_equal(action, spaces.to_env_action(actual.argmax(1))):
            raise BadRun("onnxruntime's actions are not those of the largest values: not written")
        difference = np.abs(actual - outputs)
        allowed = np.float64(TOLERANCE * max(1.0, np.abs(outputs).max()))
    else:
        # A number halfway between two that the type has may be rounded to either.
        coarse = spaces.rounds or np.dtype(spaces.dtype).itemsize < 4
        margin = TOLERANCE if coarse else 0.0
        least, most = (spaces.to_env_action(outputs + d) for d in (-margin, margin))
        actual = action.astype(spaces.dtype).astype(np.float64)
        low, high = (np.asarray(bound, np.float64) for bound in (spaces.low, spaces.high))
        half = np.maximum(high / 2 - low / 2, np.finfo(np.float64).tiny)
        off = np.abs(actual - np.clip(actual, least, most))
        difference = off.reshape(len(tried), -1) / half
        # The bounds are numbers of float32, too.
        exact = np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high)) / half
        allowed = TOLERANCE + 4 * exact
    worst = float(difference.max())
    if not (difference <= allowed).all():
        raise BadRun(f"onnxruntime's actions differ from the policy's by {worst:.1e}: not written")
    return {
        "bytes": len(model),
        "checked": "onnxruntime",
        "error": {"observations": len(tried), "max": worst},
    }


def error_of(
    policy: Policy, outputs: NDArray[np.float32], observations: NDArray[np.float32]
) -> dict[str, Any]:
    """Gives how far a device's outputs are from the policy's, and the share of other choices."""
    expected = policy.outputs(observations)
    difference = np.abs(outputs - expected)
    error = {
        "observations": len(observations),
        "max": float(difference.max()),
        "mean": float(difference.mean()),
    }
    if policy.spaces.discrete:
        error["other_choices"] = float(np.mean(outputs.argmax(1) != expected.argmax(1)))
    return error
