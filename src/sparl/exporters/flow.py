"""The body of the exported `policy_outputs`: C statements from the observation to the outputs.

A chain of layers with ReLU between them needs two buffers, `sums` and `inputs`, and one pass over
the sums of each layer. In any other wiring, every layer's values are kept as floats in `values`,
and each layer gathers the values that it reads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sparl.exporters.layers import DeviceLayer
from sparl.exporters.network import FUNCTIONS, DeviceNetwork
from sparl.networks import Wiring

INDICES = {"dense": 0, "n_of_m": 1, "shared_rows": 1, "per_row": 1, "shared_columns": 1}
INDICES |= {"csr": 2, "circulant": 2}
"""How many arrays of indices each loop takes."""


def function_name(layer: DeviceLayer) -> str:
    """Gives the name of a layer's C function: its loop, constants, and bits of its indices.

    Layers that differ in none of these share one function.
    """
    index_bits = [8 * a.dtype.itemsize for name, a in layer.indices.items() if name != "place"]
    numbers = [*layer.fixed.values(), *index_bits]
    return "_".join([layer.loop, *map(str, numbers)])


def padded(count: int, unit: int) -> int:
    """Gives the least multiple of `unit` that is not below `count`."""
    return -(-count // unit) * unit


def lines(network: DeviceNetwork, squash: bool) -> list[str]:
    """Gives the statements, from `observation` to `scratch->outputs` and the returned status.

    Args:
        network: The layers, what each reads, and the expressions between them.
        squash: Whether tanh is applied to the outputs.
    """
    wiring = network.wiring
    body = _chain(network) if wiring.is_chain else _wired(network, wiring)
    value = network.output_values[-1]
    return [
        *("for (i = 0; i < POLICY_INPUT_SIZE; i++) {", "    if (!is_finite(observation[i]))"),
        "        return POLICY_NOT_FINITE;",
        f"    {'x' if wiring.is_chain else 'values'}[i] = {network.observation_value};",
        *("}", *body),
        "for (i = 0; i < POLICY_OUTPUT_SIZE; i++) {",
        f"    scratch->outputs[i] = {f'tangent({value})' if squash else value};",
        *("    if (!is_finite(scratch->outputs[i]))", "        return POLICY_NOT_FINITE;"),
        *("}", "return POLICY_OK;"),
    ]


def _chain(network: DeviceNetwork) -> Iterator[str]:
    for i, layer in enumerate(network.layers):
        yield from _product(i, layer)
        if layer is not network.layers[-1]:
            arrays = [f"{name}_{i}" for name in network.output_arrays[i]]
            limit = [f"{n}.0f" for n in network.limits[i + 1 : i + 2]]
            arguments = ", ".join(["sums", *arrays, str(layer.outputs), *limit, "x"])
            yield f"{network.between_layers}({arguments});"


def _wired(network: DeviceNetwork, wiring: Wiring) -> Iterator[str]:
    widths = [network.layers[0].inputs, *(layer.outputs for layer in network.layers)]
    starts = list(itertools.accumulate(widths, initial=0))
    read = "read" if network.integers else "x"
    for i, (layer, stage) in enumerate(zip(network.layers, wiring.stages, strict=True)):
        offset = 0
        for value in stage.reads:
            yield f"for (i = 0; i < {widths[value]}; i++)"
            yield f"    {read}[{offset} + i] = values[{starts[value]} + i];"
            offset += widths[value]
        if stage.input_norm == "layer":
            yield f"layer_norm(gain_{i}, shift_{i}, {layer.inputs}, {read});"
        if stage.input_norm == "batch":
            yield f"affine(stretch_{i}, offset_{i}, {layer.inputs}, {read});"
        if network.integers:
            highest = f"{network.limits[i]}.0f"
            yield f"for (i = 0; i < {layer.inputs}; i++) {{"
            yield "    if (!is_finite(read[i])) /* no integer stands for it */"
            yield "        return POLICY_NOT_FINITE;"
            yield f"    x[i] = quantize(read[i] * steps_{i}[i], -{highest}, {highest});"
            yield "}"
        yield from _product(i, layer)
        if i == len(network.layers) - 1:
            return
        output, place = network.output_values[i], starts[i + 1]
        if stage.norm == "layer":
            yield f"for (i = 0; i < {layer.outputs}; i++)"
            yield f"    values[{place} + i] = {output};"
            yield f"layer_norm(sum_gain_{i}, sum_shift_{i}, {layer.outputs}, values + {place});"
            output = f"values[{place} + i]"
        output = f"{FUNCTIONS[stage.activation]}({output})" if stage.activation else output
        if stage.adds is not None:
            output = f"values[{starts[stage.adds]} + i] + {output}"
        yield f"for (i = 0; i < {layer.outputs}; i++)"
        yield f"    values[{place} + i] = {output};"


def _product(i: int, layer: DeviceLayer) -> Iterator[str]:
    """Statements that compute the sums of layer i from its inputs x."""
    padded_inputs = padded(layer.inputs, layer.unit)
    if padded_inputs > layer.inputs:
        yield f"for (i = {layer.inputs}; i < {padded_inputs}; i++)"
        yield "    x[i] = 0;"
    arrays = [f"{name}_{i}" for name in layer.indices] or ["0"] * INDICES[layer.loop]
    arguments = ", ".join([f"weight_{i}", *arrays, *map(str, layer.sizes)])
    yield f"{function_name(layer)}({arguments}, x, sums);"
