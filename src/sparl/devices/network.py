"""A policy's network as a device stores it and computes with it, in one of three types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.devices.int8 import LARGEST, Int8Network, quantized
from sparl.devices.layers import DeviceLayer, device_layer
from sparl.errors import BadValue
from sparl.policy import TOLERANCE, Policy

Dtype = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class DeviceNetwork:
    """Layers in a device's order, and how exported code goes from one to the next."""

    layers: tuple[DeviceLayer, ...]
    finish: tuple[dict[str, NDArray[np.float32]], ...]
    """Of each layer what makes outputs of its sums, in the order that `between` takes them."""
    compute: Policy | Int8Network
    """What the exported code computes, up to the order of sums."""
    types: dict[str, str]
    """C types of weights, inputs and sums, and `weight`: a stored weight w as a number."""
    parts: tuple[str, ...]
    """Parts of the exported code besides the layers' loops."""
    between: str
    """The part between two layers."""
    taken_in: str
    """An observation as the first layer's input, in C."""
    taken_by: dict[str, NDArray[np.float32]]
    """Arrays [obs] that `taken_in` names: of a normalization, and for integers their steps."""
    given_out: str
    """An output of the last layer, number {i}, in C."""
    limits: tuple[int, ...] = ()
    """Most steps of an input, by layer, for integers."""

    @property
    def integers(self) -> bool:
        return bool(self.limits)

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
    layers, seen = policy.network.layers, policy.normalization
    stored = [_stored(np.asarray(layer.weight), dtype) for layer in layers]
    types = {"weight_type": "float", "input_type": "float", "sum_type": "float", "weight": "(w)"}
    if dtype == "float16":
        types |= {"weight_type": "uint16_t", "weight": "half(w)"}
    return DeviceNetwork(
        layers=tuple(map(device_layer, layers, stored)),
        finish=tuple({"bias": np.asarray(layer.bias)} for layer in layers),
        compute=policy,
        types=types,
        parts=(("half",) if dtype == "float16" else ()) + (("relu",) if len(layers) > 1 else ()),
        between="relu",
        taken_in="observation[i]" if seen is None else "(observation[i] - mean[i]) * scale[i]",
        taken_by={} if seen is None else {k: np.asarray(v) for k, v in seen._asdict().items()},
        given_out="sums[i] + bias_{i}[i]",
    )


def _integers(network: Int8Network) -> DeviceNetwork:
    layers = zip(network.network.layers, network.layers, strict=True)
    highest = f"{network.limits[0]}.0f"
    centred = "observation[i]" if network.mean is None else "(observation[i] - mean[i])"
    return DeviceNetwork(
        layers=tuple(device_layer(layer, stored.weight) for layer, stored in layers),
        finish=tuple({"factor": la.factor, "bias": la.bias} for la in network.layers),
        compute=network,
        types={
            "weight_type": "int8_t",
            "input_type": "int16_t",
            "sum_type": "int32_t",
            "weight": "(w)",
        },
        parts=("quantize", *(("requantize",) if len(network.layers) > 1 else ())),
        between="requantize",
        limits=network.limits,
        taken_in=f"quantize({centred} * steps[i], -{highest}, {highest})",
        taken_by={
            **({} if network.mean is None else {"mean": network.mean}),
            "steps": network.steps,
        },
        given_out="(float)sums[i] * factor_{i}[i] + bias_{i}[i]",
    )


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
