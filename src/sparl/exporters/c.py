"""Policies as C99: constant tables and a few short loops, without dependencies or dynamic memory.

`CProgram.files` gives the text of every file; the same policy always gives the same text. The loops
are files in `templates/parts`. A program contains those that its layers need.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import NamedTuple

import numpy as np

from sparl.envs import inner_float32
from sparl.exporters import flow
from sparl.exporters.checks import check_policy
from sparl.exporters.layers import DeviceLayer
from sparl.exporters.network import DeviceNetwork
from sparl.exporters.text import (
    C_TYPES,
    Source,
    Table,
    fill,
    number,
    number_lists,
    template_text,
    tidied,
)
from sparl.networks import LAYER_EPSILON
from sparl.policy import Policy

RANGE_NOTE = """Observations
 * more than twice as large as the recorded ones may be clipped."""
"""A sentence of the header of a policy in integers."""
UNBOUNDED = "actions, meant to be within -1 and 1"
LARGEST_INT16 = 2**15 - 1


class Buffer(NamedTuple):
    """An array of the scratch memory that one call works in."""

    name: str
    ctype: str
    length: int


@dataclass(frozen=True)
class CProgram:
    """A policy as C source files."""

    policy: Policy
    network: DeviceNetwork
    """The policy's network as the device stores it."""

    def __post_init__(self) -> None:
        check_policy(self.policy)

    @property
    def nbytes(self) -> int:
        """Bytes of all constant tables."""
        return sum(table.values.nbytes for table in self._tables)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of a `policy_scratch`, the memory that one call works in."""
        sizes = {"float": 4, "int32_t": 4, "int16_t": 2}
        total = sum(sizes[buffer.ctype] * buffer.length for buffer in self._buffers)
        return -(-total // 4) * 4 + 4 * self.outputs

    def files(self) -> dict[str, str]:
        """Gives the text of every file by its name."""
        spaces, network = self.policy.spaces, self.network
        expected = network.outputs(self.policy.golden)
        words = {
            "version": Source(metadata.version("sparl")),
            "summary": Source(f"{self._observation_summary}, {self._action_summary}"),
            "layers": Source("\n * ".join(map(_layer_summary, network.layers))),
            "observation_size": spaces.observation_size,
            "action_size": 1 if spaces.discrete else spaces.action_size,
            "output_size": self.outputs,
            "output_meaning": self._output_meaning,
            "action_meaning": self._action_meaning,
            "range_note": Source(RANGE_NOTE if network.integers else ""),
            "bytes": self.nbytes,
            "buffers": Source(
                "\n    ".join(f"{ctype} {name}[{length}];" for name, ctype, length in self._buffers)
            ),
            "action_type": Source("int32_t" if spaces.discrete else "float"),
            "tests": len(self.policy.golden),
            "observations": number_lists(self.policy.golden),
            "expected": number_lists(expected),
            "tolerance": number(np.float32(network.tolerance(expected))),
            "types": self._typedefs,
            "tables": Source("\n".join(map(str, self._tables))),
            "kernels": self._loops,
            "functions": Source("\n".join([self._policy_outputs, self._policy_act])),
        }
        names = ("policy.h", "policy.c", "policy_test.c", "main.c", "Makefile")
        return {name: tidied(fill(f"{name}.in", words)) for name in names}

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""
        return self.network.layers[-1].outputs

    @property
    def _width(self) -> int:
        """The widest layer's inputs or outputs, padding included."""
        layers = self.network.layers
        return max(flow.padded(n, la.unit) for la in layers for n in (la.inputs, la.outputs))

    @property
    def _buffers(self) -> list[Buffer]:
        """The arrays of the scratch memory except the outputs, which come last."""
        ctypes, width = self.network.ctypes, self._width
        buffers = []
        if not self.policy.network.wiring.is_chain:
            buffers.append(Buffer("values", "float", sum(self.policy.network.widths[:-1])))
            if self.network.integers:
                buffers.append(Buffer("read", "float", width))
        return [*buffers, Buffer("sums", ctypes.sum, width), Buffer("inputs", ctypes.input, width)]

    @property
    def _observation_summary(self) -> str:
        normalised = "" if self.policy.normalization is None else " (normalised inside)"
        return _count(self.policy.spaces.observation_size, "observation") + normalised

    @property
    def _action_summary(self) -> str:
        spaces = self.policy.spaces
        return _count(spaces.action_size, "choice" if spaces.discrete else "action")

    @property
    def _output_meaning(self) -> Source:
        if self.policy.spaces.discrete:
            return Source("the value of each choice")
        within = "actions within -1 and 1" if self.policy.network.squash else UNBOUNDED
        return Source(within)

    @property
    def _action_meaning(self) -> Source:
        spaces = self.policy.spaces
        if spaces.discrete:
            return Source(f"a choice from {number(spaces.first)} on")
        return Source("within its bounds")

    @property
    def _typedefs(self) -> Source:
        ctypes, largest = self.network.ctypes, 4 * self._width
        # Loops count in int, at most to four times the width.
        check = (
            f"#include <limits.h>\n#if INT_MAX < {largest}\n"
            '#error "This policy needs an int of more than 16 bits"\n#endif\n\n'
        )
        return Source(
            (check if largest > LARGEST_INT16 else "")
            + f"typedef {ctypes.weight} weight_t;\ntypedef {ctypes.input} input_t;\n"
            f"typedef {ctypes.sum} sum_t;\n#define WEIGHT(w) {ctypes.weight_value}\n"
        )

    @cached_property
    def _tables(self) -> list[Table]:
        tables = []
        for i, layer in enumerate(self.network.layers):
            arrays = {"weight": layer.weight, **layer.indices}
            arrays |= self.network.input_arrays[i] | self.network.output_arrays[i]
            tables += [Table(f"{name}_{i}", array) for name, array in arrays.items()]
        tables += [Table(name, array) for name, array in self.network.observation_arrays.items()]
        spaces = self.policy.spaces
        if not spaces.discrete:
            low, high = inner_float32(spaces.low, spaces.high)
            tables += [Table("low", low), Table("high", high)]
        return tables

    @property
    def _loops(self) -> Source:
        """The functions that the layers need, one for each combination of index types."""
        functions = {}
        for name in self.network.parts:
            text = template_text(f"parts/{name}.c")
            functions[name] = text.replace("LAYER_EPSILON", f"{LAYER_EPSILON:g}f")
        for layer in self.network.layers:
            text = template_text(f"parts/{layer.loop}.c")
            for index, array in layer.indices.items():
                text = text.replace(f"{index}_t", C_TYPES[array.dtype.str[1:]])
            # A loop that gets no indices still names their types.
            text = re.sub(r"\b(column|start)_t\b", "uint8_t", text)
            for word, value in layer.fixed.items():
                text = text.replace(word, number(value))
            function = flow.function_name(layer)
            functions[function] = text.replace(f" {layer.loop}(", f" {function}(")
        return Source("\n".join(functions.values()))

    @property
    def _policy_outputs(self) -> str:
        body = flow.lines(self.network, self.policy.network.wiring, self.policy.network.squash)
        pointers = [
            f"{ctype} *{'x' if name == 'inputs' else name} = scratch->{name};"
            for name, ctype, _ in self._buffers
        ]
        statements = "".join(f"    {line}\n" for line in [*pointers, "int i;", *body])
        return (
            "int policy_outputs(const float observation[POLICY_OBSERVATION_SIZE], "
            f"policy_scratch *scratch)\n{{\n{statements}}}\n"
        )

    @property
    def _policy_act(self) -> Source:
        name = "choose.c" if self.policy.spaces.discrete else "act.c"
        return fill(f"parts/{name}", {"first": self.policy.spaces.first})


def _layer_summary(layer: DeviceLayer) -> str:
    kinds = {
        "n_of_m": "{KEEP} of every {GROUP} inputs",
        "per_row": "equally many in every row",
        "csr": "anywhere in the layer",
        "circulant": "in circulant blocks of {GROUP}",
    }
    kind = kinds.get(layer.loop, layer.loop).format(**layer.fixed)
    return f"{layer.outputs} x {layer.inputs}: {layer.weight.size} weights, {kind}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
