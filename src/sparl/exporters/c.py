"""Policies as C99: constant tables, a few short loops, no dependencies and no dynamic memory.

`CProgram.files` is the text of every file; the same policy gives the same text. The loops are files
in `templates/parts`, of which a policy gets those that its layers need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, resources
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.exporters import flow
from sparl.exporters.layers import DeviceLayer
from sparl.exporters.network import DeviceNetwork
from sparl.networks import LAYER_EPSILON
from sparl.policy import Policy

RANGE_NOTE = """An observation of more
 * than twice the size that was recorded may count as a smaller one."""
CTYPES = {"f4": "float", "u1": "uint8_t", "i1": "int8_t", "u2": "uint16_t", "u4": "uint32_t"}


@dataclass(frozen=True)
class Table:
    """A constant array of the exported code."""

    name: str
    values: NDArray[Any]

    @property
    def ctype(self) -> str:
        return CTYPES[self.values.dtype.str[1:]]

    def __str__(self) -> str:
        size = self.values.size
        return f"static const {self.ctype} {self.name}[{size}] = {{\n{_rows(self.values)}\n}};\n"


@dataclass(frozen=True)
class CProgram:
    """A policy as C."""

    policy: Policy
    network: DeviceNetwork
    """The policy's, as the device stores it."""

    @property
    def nbytes(self) -> int:
        """Of all constant tables."""
        return sum(table.values.nbytes for table in self._tables)

    @property
    def scratch_bytes(self) -> int:
        """Of a `policy_scratch`."""
        sizes = {"float": 4, "int32_t": 4, "int16_t": 2}
        total = sum(sizes[ctype] * length for _, ctype, length in self._buffers)
        return -(-total // 4) * 4 + 4 * self.outputs

    def files(self) -> dict[str, str]:
        """The text of every file, by name."""
        spaces, network = self.policy.spaces, self.network
        tests = network.outputs(self.policy.golden)
        words = {
            "version": metadata.version("sparl"),
            "summary": f"{self._observation_words}, {self._action_words}",
            "layers": "\n * ".join(map(_line, network.layers)),
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
            "buffers": "\n    ".join(f"{t} {name}[{size}];" for name, t, size in self._buffers),
            "action_type": "int32_t" if spaces.discrete else "float",
            "tests": len(self.policy.golden),
            "observations": _lists(self.policy.golden),
            "expected": _lists(tests),
            "tolerance": _number(np.float32(network.tolerance(tests))),
            **network.types,
            "types": self._types,
            "tables": "\n".join(map(str, self._tables)),
            "kernels": "\n".join(self._parts),
            "functions": "\n".join([self._policy_outputs, self._policy_act]),
        }
        names = ("policy.h", "policy.c", "policy_test.c", "main.c", "Makefile")
        return {name: _tidied(Template(text_of(f"{name}.in")).substitute(words)) for name in names}

    @property
    def outputs(self) -> int:
        """Numbers that the network gives."""
        return self.network.layers[-1].outputs

    @property
    def _width(self) -> int:
        """Of the widest layer's inputs or outputs, padding included."""
        layers = self.network.layers
        return max(flow.padded(n, la.unit) for la in layers for n in (la.inputs, la.outputs))

    @property
    def _buffers(self) -> list[tuple[str, str, int]]:
        """Name, type and length of each array of the scratch but the last, the outputs."""
        types, width = self.network.types, self._width
        found = []
        if not self.policy.network.wiring.is_chain:
            found.append(("values", "float", sum(self.policy.network.widths[:-1])))
            if self.network.integers:
                found.append(("read", "float", width))
        return [*found, ("sums", types["sum_type"], width), ("inputs", types["input_type"], width)]

    @property
    def _observation_words(self) -> str:
        inside = "" if self.policy.normalization is None else " (normalised inside)"
        return _many(self.policy.spaces.observation_size, "observation") + inside

    @property
    def _action_words(self) -> str:
        spaces = self.policy.spaces
        return _many(spaces.action_size, "choice" if spaces.discrete else "action")

    @property
    def _types(self) -> str:
        types = self.network.types
        return (
            f"typedef {types['weight_type']} weight_t;\ntypedef {types['input_type']} input_t;\n"
            f"typedef {types['sum_type']} sum_t;\n#define WEIGHT(w) {types['weight']}\n"
        )

    @cached_property
    def _tables(self) -> list[Table]:
        found = []
        for i, layer in enumerate(self.network.layers):
            arrays = {"weight": layer.weight, **layer.indices}
            arrays |= self.network.begin[i] | self.network.finish[i]
            found += [Table(f"{name}_{i}", array) for name, array in arrays.items()]
        found += [Table(name, array) for name, array in self.network.taken_by.items()]
        spaces = self.policy.spaces
        if not spaces.discrete:
            bounds = {"low": spaces.low, "high": spaces.high}
            found += [Table(name, np.array(b, np.float32)) for name, b in bounds.items()]
        return found

    @property
    def _parts(self) -> Iterable[str]:
        """The loops that the layers need, each for the index types that it is needed for."""
        found = {}
        for name in self.network.parts:
            text = text_of(f"parts/{name}.c")
            found[name] = text.replace("LAYER_EPSILON", f"{LAYER_EPSILON:g}f")
        for layer in self.network.layers:
            text = text_of(f"parts/{layer.loop}.c")
            for index, array in layer.indices.items():
                text = text.replace(f"{index}_t", CTYPES[array.dtype.str[1:]])
            text = re.sub(r"\b(column|start)_t\b", "uint8_t", text)  # of one that gets no indices
            for word, number in layer.fixed.items():
                text = text.replace(word, str(number))
            found[flow.function_of(layer)] = text.replace(
                f" {layer.loop}(", f" {flow.function_of(layer)}("
            )
        return found.values()

    @property
    def _policy_outputs(self) -> str:
        body = flow.lines(self.network, self.policy.network.wiring, self.policy.network.squash)
        buffers = [
            f"{ctype} *{'x' if name == 'inputs' else name} = scratch->{name};"
            for name, ctype, _ in self._buffers
        ]
        inside = "".join(f"    {line}\n" for line in [*buffers, "int i;", *body])
        return (
            "int policy_outputs(const float observation[POLICY_OBSERVATION_SIZE], "
            f"policy_scratch *scratch)\n{{\n{inside}}}\n"
        )

    @property
    def _policy_act(self) -> str:
        name = "choose.c" if self.policy.spaces.discrete else "act.c"
        return Template(text_of(f"parts/{name}")).substitute(first=self.policy.spaces.first)


def _line(layer: DeviceLayer) -> str:
    kinds = {
        "n_of_m": "{KEEP} of every {GROUP} inputs",
        "per_row": "as many in every row",
        "csr": "anywhere",
        "circulant": "in circulant blocks of {GROUP}",
    }
    kind = kinds.get(layer.loop, layer.loop).format(**layer.fixed)
    return f"{layer.outputs} x {layer.inputs}: {layer.weight.size} weights, {kind}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def text_of(name: str) -> str:
    """A file of `templates`."""
    return resources.files("sparl.exporters").joinpath("templates", *name.split("/")).read_text()


def _tidied(text: str) -> str:
    """Without blanks at the ends of lines, and with one empty line where there were several."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).rstrip() + "\n"


def _lists(rows: NDArray[Any]) -> str:
    return "\n".join(f"    {{{', '.join(map(_number, row))}}}," for row in rows)


def _rows(values: NDArray[Any]) -> str:
    """Numbers, eight or sixteen to a line."""
    flat, many = values.reshape(-1), 8 if values.dtype.kind == "f" else 16
    lines: Sequence[NDArray[Any]] = [flat[i : i + many] for i in range(0, flat.size, many)]
    return "\n".join("    " + ", ".join(map(_number, line)) + "," for line in lines)


def _number(value: Any) -> str:
    """Nine digits tell every float32 apart."""
    if not isinstance(value, np.floating):
        return str(value)
    text = f"{value:.9g}"
    return f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f"
