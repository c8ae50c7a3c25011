"""The way of activations through exported code: the body of `policy_outputs`, line by line.

A chain of layers with ReLU between them needs two buffers, sums and inputs, and one pass over each
layer's sums. In any other wiring all values are kept, in float, and each layer gathers those that
it reads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sparl.exporters.layers import DeviceLayer
from sparl.exporters.network import FUNCTIONS, DeviceNetwork
from sparl.networks import Wiring

INDICES = {"dense": 0, "n_of_m": 1, "per_row": 1, "csr": 2, "circulant": 2}
"""Arrays of indices that a loop takes."""


def function_of(layer: DeviceLayer) -> str:
    """The loop's name, with what is written into it and the bits of indices that can differ."""
    widths = [8 * a.dtype.itemsize for name, a in layer.indices.items() if name != "place"]
    numbers = [*layer.fixed.values(), *widths]
    return "_".join([layer.loop, *map(str, numbers)])


def padded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def lines(network: DeviceNetwork, wiring: Wiring, squash: bool) -> list[str]:
    """Statements: from `observation` to `scratch->outputs`, with what they answer."""
    body = _chain(network) if wiring.is_chain else _wired(network, wiring)
    value = network.given_out[-1]
    return [
        *("for (i = 0; i < POLICY_OBSERVATION_SIZE; i++) {", "    if (!isfinite(observation[i]))"),
        "        return POLICY_NOT_FINITE;",
        f"    {'x' if wiring.is_chain else 'values'}[i] = {network.taken_in};",
        *("}", *body),
        "for (i = 0; i < POLICY_OUTPUT_SIZE; i++) {",
        f"    scratch->outputs[i] = {f'tanhf({value})' if squash else value};",
        *("    if (!isfinite(scratch->outputs[i]))", "        return POLICY_NOT_FINITE;"),
        *("}", "return POLICY_OK;"),
    ]


def _chain(network: DeviceNetwork) -> Iterator[str]:
    for i, layer in enumerate(network.layers):
        yield from _product(i, layer)
        if layer is not network.layers[-1]:
            finish = [f"{name}_{i}" for name in network.finish[i]]
            limit = [f"{n}.0f" for n in network.limits[i + 1 : i + 2]]
            arrays = ", ".join(["sums", *finish, str(layer.outputs), *limit, "x"])
            yield f"{network.between}({arrays});"


def _wired(network: DeviceNetwork, wiring: Wiring) -> Iterator[str]:
    widths = [network.layers[0].inputs, *(layer.outputs for layer in network.layers)]
    starts = list(itertools.accumulate(widths, initial=0))
    read = "read" if network.integers else "x"
    for i, (layer, stage) in enumerate(zip(network.layers, wiring.stages, strict=True)):
        at = 0
        for value in stage.reads:
            yield f"for (i = 0; i < {widths[value]}; i++)"
            yield f"    {read}[{at} + i] = values[{starts[value]} + i];"
            at += widths[value]
        if stage.norm == "layer":
            yield f"layer_norm(gain_{i}, shift_{i}, {layer.inputs}, {read});"
        if network.integers:
            highest = f"{network.limits[i]}.0f"
            yield f"for (i = 0; i < {layer.inputs}; i++)"
            yield f"    x[i] = quantize(read[i] * steps_{i}[i], -{highest}, {highest});"
        yield from _product(i, layer)
        if i == len(network.layers) - 1:
            return
        made = network.given_out[i]
        made = f"{FUNCTIONS[stage.activation]}({made})" if stage.activation else made
        if stage.adds is not None:
            made = f"values[{starts[stage.adds]} + i] + {made}"
        yield f"for (i = 0; i < {layer.outputs}; i++)"
        yield f"    values[{starts[i + 1]} + i] = {made};"


def _product(i: int, layer: DeviceLayer) -> Iterator[str]:
    whole = padded(layer.inputs, layer.unit)
    if whole > layer.inputs:
        yield f"for (i = {layer.inputs}; i < {whole}; i++)"
        yield "    x[i] = 0;"
    arrays = [f"{name}_{i}" for name in layer.indices] or ["0"] * INDICES[layer.loop]
    told = ", ".join([f"weight_{i}", *arrays, *map(str, layer.sizes)])
    yield f"{function_of(layer)}({told}, x, sums);"
