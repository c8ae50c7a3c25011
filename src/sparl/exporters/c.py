"""Policies as C99: constant tables and a few short loops, without dependencies or dynamic memory.

`CProgram.files` gives the text of every file; the same policy always gives the same text. The loops
are files in `templates/parts`. A program contains those that its layers need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, resources
from string import Template
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.exporters import flow
from sparl.exporters.layers import DeviceLayer
from sparl.exporters.network import DeviceNetwork
from sparl.networks import LAYER_EPSILON
from sparl.policy import Policy

RANGE_NOTE = """Observations
 * more than twice as large as the recorded ones may be clipped."""
"""A sentence of the header of a policy in integers."""
C_TYPES = {"f4": "float", "u1": "uint8_t", "i1": "int8_t", "u2": "uint16_t", "u4": "uint32_t"}
"""C types by NumPy's codes."""


@dataclass(frozen=True)
class Table:
    """A constant array of the exported code; `str` gives its definition."""

    name: str
    values: NDArray[Any]

    @property
    def ctype(self) -> str:
        """The C type of its numbers."""
        return C_TYPES[self.values.dtype.str[1:]]

    def __str__(self) -> str:
        size = self.values.size
        return f"static const {self.ctype} {self.name}[{size}] = {{\n{_rows(self.values)}\n}};\n"


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
            "version": metadata.version("sparl"),
            "summary": f"{self._observation_summary}, {self._action_summary}",
            "layers": "\n * ".join(map(_layer_summary, network.layers)),
            "observation_size": spaces.observation_size,
            "action_size": 1 if spaces.discrete else spaces.action_size,
            "output_size": self.outputs,
            "output_meaning": "the value of each choice"
            if spaces.discrete
            else "actions within -1 and 1"
            if self.policy.network.squash
            else "actions, meant to be within -1 and 1",
            "action_meaning": f"a choice from {spaces.first} on"
            if spaces.discrete
            else "within its bounds",
            "range_note": RANGE_NOTE if network.integers else "",
            "bytes": self.nbytes,
            "buffers": "\n    ".join(
                f"{ctype} {name}[{length}];" for name, ctype, length in self._buffers
            ),
            "action_type": "int32_t" if spaces.discrete else "float",
            "tests": len(self.policy.golden),
            "observations": _lists(self.policy.golden),
            "expected": _lists(expected),
            "tolerance": _number(np.float32(network.tolerance(expected))),
            "types": self._typedefs,
            "tables": "\n".join(map(str, self._tables)),
            "kernels": "\n".join(self._loops),
            "functions": "\n".join([self._policy_outputs, self._policy_act]),
        }
        names = ("policy.h", "policy.c", "policy_test.c", "main.c", "Makefile")
        return {
            name: _tidied(Template(template_text(f"{name}.in")).substitute(words)) for name in names
        }

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
    def _typedefs(self) -> str:
        ctypes = self.network.ctypes
        return (
            f"typedef {ctypes.weight} weight_t;\ntypedef {ctypes.input} input_t;\n"
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
            bounds = {"low": spaces.low, "high": spaces.high}
            tables += [Table(name, np.array(b, np.float32)) for name, b in bounds.items()]
        return tables

    @property
    def _loops(self) -> Iterable[str]:
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
            for word, number in layer.fixed.items():
                text = text.replace(word, str(number))
            function = flow.function_name(layer)
            functions[function] = text.replace(f" {layer.loop}(", f" {function}(")
        return functions.values()

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
    def _policy_act(self) -> str:
        name = "choose.c" if self.policy.spaces.discrete else "act.c"
        return Template(template_text(f"parts/{name}")).substitute(first=self.policy.spaces.first)


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


def template_text(name: str) -> str:
    """Gives the text of a file in `templates`, by its path there."""
    return resources.files("sparl.exporters").joinpath("templates", *name.split("/")).read_text()


def _tidied(text: str) -> str:
    """Removes blanks at ends of lines, and all but one of several empty lines."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).rstrip() + "\n"


def _lists(rows: NDArray[Any]) -> str:
    return "\n".join(f"    {{{', '.join(map(_number, row))}}}," for row in rows)


def _rows(values: NDArray[Any]) -> str:
    """Writes floats eight to a line, integers sixteen."""
    flat, per_line = values.reshape(-1), 8 if values.dtype.kind == "f" else 16
    lines: Sequence[NDArray[Any]] = [flat[i : i + per_line] for i in range(0, flat.size, per_line)]
    return "\n".join("    " + ", ".join(map(_number, line)) + "," for line in lines)


def _number(value: Any) -> str:
    """Writes a float32 in nine digits, which are enough to tell every one apart."""
    if not isinstance(value, np.floating):
        return str(value)
    text = f"{value:.9g}"
    return f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f"
