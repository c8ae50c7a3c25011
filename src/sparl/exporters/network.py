"""A policy's network as a device stores it and computes with it, in one of three types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl import kernels
from sparl.errors import BadValue
from sparl.exporters.int8 import LARGEST, Int8Network, quantized
from sparl.exporters.layers import DeviceLayer, device_layer
from sparl.kernels import Activation
from sparl.networks import BatchNorm, LayerNorm, Normalization, Wiring
from sparl.policy import TOLERANCE, Policy

Dtype = Literal["float32", "float16", "int8"]

FUNCTIONS: dict[Activation, str] = {
    "relu": "rectified",
    "swish": "swish",
    "elu": "elu",
    "tanh": "tanhf",
}
"""Activations in C, of one number."""


@dataclass(frozen=True)
class DeviceNetwork:
    """Layers in a device's order, and how exported code goes from one to the next."""

    layers: tuple[DeviceLayer, ...]
    begin: tuple[dict[str, NDArray[np.float32]], ...]
    """Of each layer what makes inputs of the values that it reads: `steps` per unit of each, for
    integers; `gain` and `shift` of a layer norm."""
    finish: tuple[dict[str, NDArray[np.float32]], ...]
    """Of each layer what makes outputs of its sums, in the order that `between` takes them."""
    compute: Policy | Int8Network
    """What the exported code computes, up to the order of sums."""
    types: dict[str, str]
    """C types of weights, inputs and sums, and `weight`: a stored weight w as a number."""
    parts: tuple[str, ...]
    """Parts of the exported code besides the layers' loops."""
    between: str
    """The part between two layers of a chain."""
    taken_in: str
    """An observation as the first layer's input, in C."""
    taken_by: dict[str, NDArray[np.float32]]
    """Arrays [obs] that `taken_in` names besides the first layer's: of a normalization."""
    limits: tuple[int, ...] = ()
    """Most steps of an input, by layer, for integers."""

    @property
    def integers(self) -> bool:
        return bool(self.limits)

    @property
    def given_out(self) -> tuple[str, ...]:
        """Output i of each layer, in C, before its activation."""
        sums = "(float)sums[i]" if self.integers else "sums[i]"
        return tuple(
            (f"{sums} * factor_{i}[i]" if "factor" in arrays else sums) + f" + bias_{i}[i]"
            for i, arrays in enumerate(self.finish)
        )

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """[batch, obs] to actions within [-1, 1], or values of choices, as the device has them."""
        return self.compute.outputs(observation)

    def tolerance(self, outputs: NDArray[np.float32]) -> float:
        """Most that a device's outputs may differ from these, rounding otherwise."""
        allowed = TOLERANCE * float(np.abs(outputs).max(initial=1.0))
        if self.integers:  # inputs at the edge between two steps may fall to either side
            allowed += 10 * LARGEST * float(self.finish[-1]["factor"].max())
        return allowed


def device_network(
    policy: Policy, dtype: Dtype, observations: NDArray[np.float32] | None = None
) -> DeviceNetwork:
    """A policy's network in `dtype`; int8 takes its ranges from `observations` [batch, obs].

    Raises `BadValue` for weights that float16 cannot hold.
    """
    if dtype == "int8":
        assert observations is not None
        return _integers(quantized(policy.network, observations, policy.normalization))
    if dtype == "float16":
        policy = _halved(policy)
    network, seen = policy.network, policy.normalization
    stored = [_stored(np.asarray(layer.weight), dtype) for layer in network.layers]
    types = {"weight_type": "float", "input_type": "float", "sum_type": "float", "weight": "(w)"}
    if dtype == "float16":
        types |= {"weight_type": "uint16_t", "weight": "half(w)"}
    parts = ("half",) if dtype == "float16" else ()
    if network.wiring.is_chain:
        parts += ("relu",) if len(network.layers) > 1 else ()
    return DeviceNetwork(
        layers=tuple(map(device_layer, network.layers, stored)),
        begin=tuple(map(_of_layer_norm, network.norms)),
        finish=tuple(
            _of_batch_norm(norm, {"bias": np.asarray(layer.bias)})
            for layer, norm in zip(network.layers, network.norms, strict=True)
        ),
        compute=policy,
        types=types,
        parts=parts + _parts_of(network.wiring),
        between="relu",
        taken_in=_taken(seen),
        taken_by=_of_normalization(seen),
    )


def _integers(made: Int8Network) -> DeviceNetwork:
    network, chain = made.network, made.network.wiring.is_chain
    highest, seen = f"{made.limits[0]}.0f", made.normalization
    parts = ("quantize",)
    if chain:
        parts += ("requantize",) if len(network.layers) > 1 else ()
    begin = [
        _of_layer_norm(norm) | ({} if steps is None else {"steps": steps})
        for norm, steps in zip(network.norms, made.steps, strict=True)
    ]
    taken, taken_by = _taken(seen), _of_normalization(seen)
    if chain:
        centred = "observation[i]" if seen is None else "(observation[i] - mean[i])"
        taken = f"quantize({centred} * steps_0[i], -{highest}, {highest})"
        if seen is not None:  # its scale goes into the steps
            begin[0]["steps"] = begin[0]["steps"] * taken_by.pop("scale")
    return DeviceNetwork(
        layers=tuple(
            device_layer(layer, stored.weight)
            for layer, stored in zip(network.layers, made.layers, strict=True)
        ),
        begin=tuple(begin),
        finish=tuple(
            _of_batch_norm(norm, {"factor": la.factor, "bias": la.bias})
            for la, norm in zip(made.layers, network.norms, strict=True)
        ),
        compute=made,
        types={
            "weight_type": "int8_t",
            "input_type": "int16_t",
            "sum_type": "int32_t",
            "weight": "(w)",
        },
        parts=parts + _parts_of(network.wiring),
        between="requantize",
        limits=made.limits,
        taken_in=taken,
        taken_by=taken_by,
    )


def _taken(normalization: Normalization | None) -> str:
    """Observation i as the network sees it, in C."""
    return "observation[i]" if normalization is None else "((observation[i] - mean[i]) * scale[i])"


def _of_normalization(normalization: Normalization | None) -> dict[str, NDArray[np.float32]]:
    if normalization is None:
        return {}
    return {"mean": np.asarray(normalization.mean), "scale": np.asarray(normalization.scale)}


def _of_layer_norm(norm: LayerNorm | BatchNorm | None) -> dict[str, NDArray[np.float32]]:
    if not isinstance(norm, LayerNorm):
        return {}
    return {"gain": np.asarray(norm.gain), "shift": np.asarray(norm.shift)}


def _of_batch_norm(
    norm: LayerNorm | BatchNorm | None, finish: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """`finish`, with a batch norm that comes after it taken in."""
    if not isinstance(norm, BatchNorm):
        return finish
    factor, offset = kernels.affine(*(np.asarray(array) for array in vars(norm).values()))
    before = finish.get("factor", np.ones_like(factor))
    return {"factor": before * factor, "bias": finish["bias"] * factor + offset}


def _parts_of(wiring: Wiring) -> tuple[str, ...]:
    """Parts that only a network that is no chain needs."""
    if wiring.is_chain:
        return ()
    used = {FUNCTIONS[stage.activation] for stage in wiring.stages if stage.activation}
    norms = ["layer_norm"] if any(stage.norm == "layer" for stage in wiring.stages) else []
    return (*norms, *sorted(used - {"tanhf"}))


def _stored(weight: NDArray[np.float32], dtype: Dtype) -> NDArray[Any]:
    """Weights as the floating-point type that the device stores, halves by their bits."""
    return weight.astype(np.float16).view(np.uint16) if dtype == "float16" else weight


def _halved(policy: Policy) -> Policy:
    """The policy with its weights rounded to float16; biases stay."""
    limit = float(np.finfo(np.float16).max)
    for i, layer in enumerate(policy.network.layers):
        largest = float(np.abs(layer.weight).max(initial=0.0))
        if largest > limit:
            raise BadValue(
                f"layer {i} has a weight of size {largest:.3g}: float16 ends at {limit:.0f}. "
                "Export as float32 or int8"
            )
    weights = [
        jnp.asarray(np.asarray(layer.weight, np.float16), jnp.float32)
        for layer in policy.network.layers
    ]
    network = eqx.tree_at(lambda n: [la.weight for la in n.layers], policy.network, weights)
    return Policy(network, policy.spaces, policy.golden, policy.normalization)
