"""What a policy must be before anything is generated from it.

A policy comes from files, which may have been altered. What is generated from it is compiled, and
loaded by `sparl export` and `sparl bench latency` themselves. So its sizes must be whole numbers
that agree with its arrays, whatever reads the files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from sparl.envs import Spaces
from sparl.errors import BadValue
from sparl.layouts import Packed
from sparl.networks import BatchNorm, LayerNorm, Network
from sparl.policy import Policy

INT32 = np.iinfo(np.int32)
LARGEST = float(np.finfo(np.float64).max)
NORMS = {None: type(None), "layer": LayerNorm, "batch": BatchNorm}
ACTIVATIONS = (None, "relu", "swish", "elu", "tanh")
WAY_OUT = "its files were altered, so export it from its run again, or train it again"


def check_policy(policy: Policy) -> None:
    """Checks all of a policy that sizes and indices of exported code depend on.

    Raises:
        BadValue: A size is no whole number, or does not agree with the arrays.
    """
    _check_network(policy.network)
    _check_spaces(policy.spaces, policy.network)
    inputs = policy.network.in_features
    if policy.golden.ndim != 2 or policy.golden.shape[1] != inputs:
        raise _disagreement("golden observations", policy.golden.shape, f"{inputs} inputs")
    if policy.normalization is not None:
        for name in ("mean", "scale"):
            array = getattr(policy.normalization, name)
            if np.shape(array) != (inputs,):
                raise _disagreement(f"observation.{name}", np.shape(array), f"{inputs} inputs")


def _check_spaces(spaces: Spaces, network: Network) -> None:
    inputs, outputs = network.widths[0], network.widths[-1]
    _whole("observation.shape", spaces.observation_shape)
    if spaces.observation_size != inputs:
        raise _disagreement("observation.shape", spaces.observation_shape, f"{inputs} inputs")
    _check_entries(spaces)
    _whole("action.choices", [spaces.choices])
    if spaces.nvec:
        _check_several_choices(spaces, outputs)
        return
    if spaces.discrete:
        _whole("action.first", [spaces.first], INT32.min)
        if spaces.choices != outputs:
            raise _disagreement("action.choices", spaces.choices, f"{outputs} outputs")
        if spaces.first + spaces.choices - 1 > INT32.max:
            raise BadValue(
                f"action.first is {spaces.first}: the exported code numbers choices in 32 bits. "
                "Let the environment's Discrete space start at a smaller number"
            )
        return
    if not isinstance(spaces.dtype, str) or spaces.dtype not in np.sctypeDict:
        raise BadValue(
            f"dtype of the policy is {spaces.dtype!r:.80}, no type of numbers: {WAY_OUT}"
        )
    _whole("action.shape", spaces.action_shape)
    if int(np.prod(spaces.action_shape, dtype=np.int64)) != outputs:
        raise _disagreement("action.shape", spaces.action_shape, f"{outputs} outputs")
    for name, bounds in (("action.low", spaces.low), ("action.high", spaces.high)):
        if len(bounds) != outputs:
            raise _disagreement(name, bounds, f"{outputs} outputs")
        if not all(isinstance(b, float | int) and abs(b) <= LARGEST for b in bounds):
            raise BadValue(f"{name} of the policy is {bounds!r:.80}, no finite numbers: {WAY_OUT}")
        if spaces.rounds and not all(_holds(spaces.dtype, bound) for bound in bounds):
            raise BadValue(
                f"{name} of the policy is {bounds!r:.80}: actions that are rounded to "
                f"{spaces.dtype} are exported in 32 bits, and their bounds must be whole numbers "
                "of both types. Let the environment's action space have smaller bounds"
            )


def _check_entries(spaces: Spaces) -> None:
    """Checks the frames of an observation and the names of its entries."""
    _whole("frames", [spaces.frames], 1)
    if spaces.frames > 1 and spaces.observation_shape[0] != spaces.frames:
        raise BadValue(
            f"frames of the policy is {spaces.frames}, but its observations have the shape "
            f"{spaces.observation_shape}: {WAY_OUT}"
        )
    _whole("entries", [entry.size for entry in spaces.entries])
    if not all(isinstance(entry.name, str) for entry in spaces.entries):
        raise BadValue(f"entries of the policy is {spaces.entries!r:.80}, without names: {WAY_OUT}")
    size = sum(entry.size for entry in spaces.entries) * spaces.frames
    if spaces.entries and size != spaces.observation_size:
        raise _disagreement("entries", spaces.entries, f"{spaces.observation_size} inputs")


def _check_several_choices(spaces: Spaces, outputs: int) -> None:
    _whole("action.nvec", spaces.nvec, 1)
    _whole("action.starts", spaces.starts, INT32.min)
    _whole("action.shape", spaces.action_shape)
    if not math.prod(spaces.nvec) == spaces.choices == outputs:
        raise _disagreement("action.nvec", spaces.nvec, f"{outputs} outputs")
    if not len(spaces.starts) == len(spaces.nvec) == math.prod(spaces.action_shape):
        raise BadValue(
            f"action.starts of the policy is {spaces.starts!r:.80}, which does not go with "
            f"{len(spaces.nvec)} numbers of shape {spaces.action_shape!r:.80}: {WAY_OUT}"
        )
    if any(s + n - 1 > INT32.max for s, n in zip(spaces.starts, spaces.nvec, strict=True)):
        raise BadValue(
            f"action.starts is {spaces.starts!r:.80}: the exported code numbers choices in 32 "
            "bits. Let the environment's MultiDiscrete space start at smaller numbers"
        )


def _holds(dtype: str, bound: float) -> bool:
    """Whether a bound is a whole number of that integer type and of int32."""
    type_ = np.iinfo(dtype)
    low, high = max(type_.min, INT32.min), min(type_.max, INT32.max)
    return low <= bound <= high and bound == int(bound)


def _check_network(network: Network) -> None:
    stages, widths = network.wiring.stages, network.widths
    _whole("wiring.gives", network.wiring.gives)
    if not network.has_head or len(stages) != len(network.layers):
        raise _disagreement("wiring", network.wiring.gives, f"{len(network.layers)} layers")
    norms = zip(network.norms, network.input_norms, strict=True)
    for i, (stage, layer, (norm, input_norm)) in enumerate(
        zip(stages, network.layers, norms, strict=True)
    ):
        adds = () if stage.adds is None else (stage.adds,)
        _whole(f"wiring.stages[{i}].reads", stage.reads, 0, i)
        _whole(f"wiring.stages[{i}].adds", adds, 0, i)
        if sum(widths[value] for value in stage.reads) != layer.in_features:
            raise _disagreement(f"wiring.stages[{i}].reads", stage.reads, f"layer {i}'s inputs")
        if any(widths[value] != layer.out_features for value in adds):
            raise _disagreement(f"wiring.stages[{i}].adds", stage.adds, f"layer {i}'s outputs")
        if stage.activation not in ACTIVATIONS:
            raise BadValue(f"wiring.stages[{i}].activation is {stage.activation!r:.80}: {WAY_OUT}")
        for name, kind, found in (
            ("norm", stage.norm, norm),
            ("input_norm", stage.input_norm, input_norm),
        ):
            if kind not in tuple(NORMS) or type(found) is not NORMS[kind]:
                raise _disagreement(f"wiring.stages[{i}].{name}", kind, f"layer {i}'s arrays")
        if not all(np.isfinite(a).all() for a in jax.tree.leaves((layer, norm, input_norm))):
            raise BadValue(f"layer {i} of the policy holds NaN or infinity: train it again")
        if isinstance(layer, Packed):
            _check_indices(i, layer)


def _check_indices(i: int, layer: Packed) -> None:
    """Checks that all columns exist, and that rows follow each other."""
    columns, starts = np.asarray(layer.columns), np.asarray(layer.row_starts)
    column_count = len(layer.column_starts) - 1
    if columns.size and (columns.min() < 0 or columns.max() >= column_count):
        raise BadValue(f"layer {i} has columns beyond its {column_count}: {WAY_OUT}")
    if starts[0] != 0 or starts[-1] != columns.size or (np.diff(starts) < 0).any():
        raise BadValue(f"layer {i} has rows that do not follow each other: {WAY_OUT}")


def _whole(name: str, values: Sequence[Any], low: int = 0, high: int = INT32.max) -> None:
    for value in values:
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not is_whole or not low <= value <= high:
            raise BadValue(
                f"{name} of the policy holds {value!r:.80}, where a whole number from {low} to "
                f"{high} belongs: {WAY_OUT}"
            )


def _disagreement(name: str, value: Any, other: str) -> BadValue:
    return BadValue(
        f"{name} of the policy is {value!r:.80}, but its network has {other}: {WAY_OUT}"
    )
