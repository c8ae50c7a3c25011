"""A policy's network as a device stores it and computes with it, in one of three types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl import kernels
from sparl.errors import BadValue
from sparl.exporters.checks import check_policy
from sparl.exporters.int8 import LARGEST, Int8Network, quantize_network
from sparl.exporters.layers import DeviceLayer, device_layer
from sparl.kernels import Activation
from sparl.networks import BatchNorm, LayerNorm, Network, Normalization, Wiring, folded
from sparl.policy import TOLERANCE, Policy

Dtype = Literal["float32", "float16", "int8"]
"""The type of the stored weights."""

NamedArrays = dict[str, NDArray[np.float32]]
"""Arrays by the names that they have in C, less the number of the layer."""

FUNCTIONS: dict[Activation, str] = {
    "relu": "rectified",
    "swish": "swish",
    "elu": "elu",
    "tanh": "tangent",
}
"""The C function of each activation, from one number to one number."""


class CTypes(NamedTuple):
    """The C types that the loops work with."""

    weight: str
    input: str
    sum: str
    weight_value: str = "(w)"
    """Expression that turns a stored weight w into a number."""


@dataclass(frozen=True)
class DeviceNetwork:
    """The layers of a policy in a device's order, and the C expressions between them."""

    layers: tuple[DeviceLayer, ...]
    wiring: Wiring
    """Without norms of inputs that were folded into the layers."""
    input_arrays: tuple[NamedArrays, ...]
    """Per layer: what turns the values that it reads into its inputs. `steps` per unit of each
    input, for integers; `gain` and `shift` of a layer norm, `stretch` and `offset` of a batch norm
    that could not be folded."""
    output_arrays: tuple[NamedArrays, ...]
    """Per layer: what turns its sums into its outputs, in the order of the arguments of
    `between_layers`; `sum_gain` and `sum_shift` of a layer norm in front of its activation."""
    reference: Policy | Int8Network
    """Computes what the exported code computes, up to the order in which sums are added."""
    ctypes: CTypes
    parts: tuple[str, ...]
    """Files of `templates/parts` that the exported code needs besides the layers' loops."""
    between_layers: str
    """The part that is called between two layers of a chain."""
    observation_value: str
    """C expression of observation i as the first layer reads it."""
    observation_arrays: NamedArrays
    """Arrays [obs] of a normalization, which `observation_value` reads."""
    limits: tuple[int, ...] = ()
    """Per layer: the most steps of an input. Empty for floating-point weights."""

    @property
    def integers(self) -> bool:
        """Whether the network computes with integers (int8)."""
        return bool(self.limits)

    @property
    def output_values(self) -> tuple[str, ...]:
        """Per layer: the C expression of its output i, before the activation."""
        sums = "(float)sums[i]" if self.integers else "sums[i]"
        return tuple(
            (f"{sums} * factor_{i}[i]" if "factor" in arrays else sums) + f" + bias_{i}[i]"
            for i, arrays in enumerate(self.output_arrays)
        )

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gives what the device computes for observations [batch, obs].

        Returns:
            [batch, out]: actions within [-1, 1], or the value of each choice.
        """
        return self.reference.outputs(observation)

    def tolerance(self, outputs: NDArray[np.float32]) -> float:
        """Gives how far a device may be from these outputs because it rounds differently."""
        allowed = TOLERANCE * float(np.abs(outputs).max(initial=1.0))
        if self.integers:  # an input halfway between two steps may be rounded to either
            allowed += 10 * LARGEST * float(self.output_arrays[-1]["factor"].max())
        return allowed


def device_network(
    policy: Policy, dtype: Dtype, observations: NDArray[np.float32] | None = None
) -> DeviceNetwork:
    """Gives a policy's network as a device stores it.

    Args:
        policy: The trained policy.
        dtype: Type of the stored weights.
        observations: [batch, obs], recorded ones; int8 takes the ranges of its inputs from them.

    Raises:
        BadValue: A weight is too large for float16; export as float32 or int8. Or the policy's
            sizes contradict each other.
    """
    check_policy(policy)
    policy = Policy(folded(policy.network), policy.spaces, policy.golden, policy.normalization)
    if dtype == "int8":
        assert observations is not None
        return _integer_network(
            quantize_network(policy.network, observations, policy.normalization)
        )
    if dtype == "float16":
        policy = _rounded_to_float16(policy)
    network, normalization = policy.network, policy.normalization
    weights = [_stored(np.asarray(layer.weight), dtype) for layer in network.layers]
    parts = ("finite", "half") if dtype == "float16" else ("finite",)
    parts += _clipping_parts(normalization)
    if network.wiring.is_chain:
        parts += ("rectified", "relu") if len(network.layers) > 1 else ()
    return DeviceNetwork(
        layers=tuple(map(device_layer, network.layers, weights)),
        wiring=network.wiring,
        input_arrays=tuple(map(_norm_arrays, network.input_norms)),
        output_arrays=tuple(
            _with_norm(norm, {"bias": np.asarray(layer.bias)})
            for layer, norm in zip(network.layers, network.norms, strict=True)
        ),
        reference=policy,
        ctypes=(
            CTypes("uint16_t", "float", "float", "half(w)")
            if dtype == "float16"
            else CTypes("float", "float", "float")
        ),
        parts=parts + _function_parts(network),
        between_layers="relu",
        observation_value=_observation_value(normalization),
        observation_arrays=_normalization_arrays(normalization),
    )


def _integer_network(quantized: Int8Network) -> DeviceNetwork:
    network, normalization = quantized.network, quantized.normalization
    highest = f"{quantized.limits[0]}.0f"
    parts = ("finite", "quantize", *_clipping_parts(normalization))
    input_arrays = [
        _norm_arrays(norm) | ({} if steps is None else {"steps": steps})
        for norm, steps in zip(network.input_norms, quantized.steps, strict=True)
    ]
    observation_value = _observation_value(normalization)
    observation_arrays = _normalization_arrays(normalization)
    if network.wiring.is_chain:
        parts += ("requantize",) if len(network.layers) > 1 else ()
        if normalization is not None and normalization.clip is None:
            # One multiplication does for the scale and the steps.
            observation_value = "(observation[i] - mean[i])"
            input_arrays[0]["steps"] = input_arrays[0]["steps"] * observation_arrays.pop("scale")
        observation_value = f"quantize({observation_value} * steps_0[i], -{highest}, {highest})"
    return DeviceNetwork(
        layers=tuple(
            device_layer(layer, int8_layer.weight)
            for layer, int8_layer in zip(network.layers, quantized.layers, strict=True)
        ),
        wiring=network.wiring,
        input_arrays=tuple(input_arrays),
        output_arrays=tuple(
            _with_norm(norm, {"factor": la.factor, "bias": la.bias})
            for la, norm in zip(quantized.layers, network.norms, strict=True)
        ),
        reference=quantized,
        ctypes=CTypes("int8_t", "int16_t", "int32_t"),
        parts=parts + _function_parts(network),
        between_layers="requantize",
        observation_value=observation_value,
        observation_arrays=observation_arrays,
        limits=quantized.limits,
    )


def _observation_value(normalization: Normalization | None) -> str:
    if normalization is None:
        return "observation[i]"
    normalized, clip = "((observation[i] - mean[i]) * scale[i])", normalization.clip
    return normalized if clip is None else f"clipped({normalized}, {float(np.float32(clip))!r}f)"


def _clipping_parts(normalization: Normalization | None) -> tuple[str, ...]:
    return () if normalization is None or normalization.clip is None else ("clipped",)


def _normalization_arrays(normalization: Normalization | None) -> NamedArrays:
    if normalization is None:
        return {}
    return {"mean": np.asarray(normalization.mean), "scale": np.asarray(normalization.scale)}


def _norm_arrays(norm: LayerNorm | BatchNorm | None) -> NamedArrays:
    if norm is None:
        return {}
    if isinstance(norm, BatchNorm):
        affine = kernels.affine(*(np.asarray(array) for array in vars(norm).values()))
        return dict(zip(("stretch", "offset"), affine, strict=True))
    return {"gain": np.asarray(norm.gain), "shift": np.asarray(norm.shift)}


def _with_norm(norm: LayerNorm | BatchNorm | None, arrays: NamedArrays) -> NamedArrays:
    """With the arrays of a norm of a layer's sums; a batch norm is its factor and its bias."""
    if not isinstance(norm, BatchNorm):
        return arrays | {f"sum_{name}": array for name, array in _norm_arrays(norm).items()}
    factor, offset = kernels.affine(*(np.asarray(array) for array in vars(norm).values()))
    before = arrays.get("factor", np.ones_like(factor))
    return {"factor": before * factor, "bias": arrays["bias"] * factor + offset}


def _function_parts(network: Network) -> tuple[str, ...]:
    """Gives the parts for norms, for the outputs, and for activations but those of a chain."""
    stages = () if network.wiring.is_chain else network.wiring.stages
    used = {FUNCTIONS[stage.activation] for stage in stages if stage.activation}
    used |= {"tangent"} if network.squash else set()
    parts = ["layer_norm"] if any("layer" in (s.norm, s.input_norm) for s in stages) else []
    parts += ["affine"] if any(stage.input_norm == "batch" for stage in stages) else []
    parts += ["exp_less_1"] if used - {"rectified"} else []
    return (*parts, *sorted(used))


def _stored(weight: NDArray[np.float32], dtype: Dtype) -> NDArray[Any]:
    """Gives weights as the device stores them; float16 as the bits of uint16."""
    return weight.astype(np.float16).view(np.uint16) if dtype == "float16" else weight


def _rounded_to_float16(policy: Policy) -> Policy:
    """Rounds the weights, but not the biases, to float16."""
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
