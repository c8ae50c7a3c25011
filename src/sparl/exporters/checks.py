"""What a policy must be before anything is generated from it.

A policy comes from files, which may have been altered. What is generated from it is compiled, and
loaded by `sparl export` and `sparl bench latency` themselves. So its sizes must be whole numbers
that agree with its arrays, whatever reads the files.
"""

from __future__ import annotations

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
        for name, array in policy.normalization._asdict().items():
            if np.shape(array) != (inputs,):
                raise _disagreement(f"observation.{name}", np.shape(array), f"{inputs} inputs")


def _check_spaces(spaces: Spaces, network: Network) -> None:
    inputs, outputs = network.widths[0], network.widths[-1]
    _whole("observation.shape", spaces.observation_shape)
    if spaces.observation_size != inputs:
        raise _disagreement("observation.shape", spaces.observation_shape, f"{inputs} inputs")
    _whole("action.choices", [spaces.choices])
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
    _whole("action.shape", spaces.action_shape)
    if int(np.prod(spaces.action_shape, dtype=np.int64)) != outputs:
        raise _disagreement("action.shape", spaces.action_shape, f"{outputs} outputs")
    for name, bounds in (("action.low", spaces.low), ("action.high", spaces.high)):
        if len(bounds) != outputs:
            raise _disagreement(name, bounds, f"{outputs} outputs")
        if not all(isinstance(b, float | int) and abs(b) <= LARGEST for b in bounds):
            raise BadValue(f"{name} of the policy is {bounds!r:.80}, no finite numbers: {WAY_OUT}")


def _check_network(network: Network) -> None:
    stages, widths = network.wiring.stages, network.widths
    _whole("wiring.gives", network.wiring.gives)
    if not network.has_head or len(stages) != len(network.layers):
        raise _disagreement("wiring", network.wiring.gives, f"{len(network.layers)} layers")
    for i, (stage, layer, norm) in enumerate(
        zip(stages, network.layers, network.norms, strict=True)
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
        if stage.norm not in tuple(NORMS) or type(norm) is not NORMS[stage.norm]:
            raise _disagreement(f"wiring.stages[{i}].norm", stage.norm, f"layer {i}'s arrays")
        if not all(np.isfinite(array).all() for array in jax.tree.leaves((layer, norm))):
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
