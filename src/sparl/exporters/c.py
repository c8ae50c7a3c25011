"""Policies as C99: constant tables and a few short loops, without dependencies or dynamic memory.

`CProgram.files` gives the text of every file; the same policy always gives the same text. The loops
are files in `templates/parts`. A program contains those that its layers need.
"""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadValue
from sparl.exporters import flow
from sparl.exporters.checks import check_policy
from sparl.exporters.interface import Interface
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
from sparl.validation import shown

RANGE_NOTE = """Observations
 * more than twice as large as the recorded ones may be clipped."""
"""A sentence of the header of a policy in integers."""
LARGEST_INT16 = 2**15 - 1
NAME = "policy"
"""What files and symbols of the templates begin with."""
HEADERS = frozenset(("math", "stdint", "limits", "float", "stddef", "string", "stdio", "numpy"))
"""Names of files that an export would hide from what includes or imports them."""
FILES = {
    "policy.h": "policy.h",
    "policy.c": "policy.c",
    # A firmware takes what is in the folder itself, and has a main of its own.
    "test/policy_test.c": "policy_test.c",
    "test/main.c": "main.c",
    "Makefile": "Makefile",
}
"""The template of each file."""


def check_name(name: str) -> None:
    """Raises `BadValue` for what files and symbols cannot begin with. It gets into code."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise BadValue(
            f"name is {shown(name)}: files and symbols begin with it, so it takes small letters, "
            "digits and underscores, a letter first"
        )
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name in HEADERS
    if taken:
        raise BadValue(f"name is {shown(name)}, a word of Python or of C: add another to it")


def renamed(text: str, name: str) -> str:
    """A text of the templates whose files and symbols begin with another name.

    Raises:
        BadValue: None can begin with that.
    """
    check_name(name)
    text = re.sub(r"\bpolicy(?=_\w|\.[cho]\b)", name, text)
    return re.sub(r"\bPOLICY(?=_\w)", name.upper(), text)


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
    name: str = NAME
    """What files and symbols begin with, so that a program can have several policies."""
    recorded: NDArray[np.float32] | None = field(default=None, compare=False)
    """Observations [count, obs] of training, whose ranges the header tells; None without any."""

    def __post_init__(self) -> None:
        check_policy(self.policy)
        check_name(self.name)

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

    @property
    def frames_bytes(self) -> int:
        """Bytes of a `policy_frames`, which remembers observations; 0 where there is none."""
        return self.interface.frames_bytes

    @cached_property
    def interface(self) -> Interface:
        """What the program takes and gives."""
        return Interface(self.policy, self.recorded)

    def files(self) -> dict[str, str]:
        """Gives the text of every file by its name."""
        network, interface = self.network, self.interface
        expected = network.outputs(interface.tested)
        words = {
            **interface.header,
            **interface.self_test,
            "version": Source(metadata.version("sparl")),
            "summary": Source(interface.summary),
            "layers": Source("\n * ".join(map(_layer_summary, network.layers))),
            "output_size": self.outputs,
            "range_note": Source(RANGE_NOTE if network.integers else ""),
            "bytes": self.nbytes,
            "buffers": Source(
                "\n    ".join(f"{ctype} {name}[{length}];" for name, ctype, length in self._buffers)
            ),
            "tests": len(interface.tested),
            "observations": number_lists(self.policy.golden),
            "expected": number_lists(expected),
            "tolerance": number(np.float32(network.tolerance(expected))),
            "types": self._typedefs,
            "tables": Source("\n".join(map(str, self._tables))),
            "kernels": self._loops,
            "functions": Source("\n".join([self._policy_outputs, *interface.functions])),
        }
        return {
            renamed(path, self.name): renamed(tidied(fill(f"{template}.in", words)), self.name)
            for path, template in FILES.items()
        }

    def write(self, folder: Path) -> Path:
        """Writes all files into a folder, which is there; gives the folder."""
        for path, text in self.files().items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return folder

    @property
    def outputs(self) -> int:
        """How many numbers the network gives."""
        return self.network.layers[-1].outputs

    @property
    def _width(self) -> int:
        """The widest layer's inputs or outputs, padding included.

        Loops over groups point to where the last group would end.
        """
        layers = [(la, la.fixed.get("GROUP", 1)) for la in self.network.layers]
        return max(flow.padded(n, group) for la, group in layers for n in (la.inputs, la.outputs))

    @property
    def _buffers(self) -> list[Buffer]:
        """The arrays of the scratch memory except the outputs, which come last."""
        ctypes, width = self.network.ctypes, self._width
        buffers = []
        if not self.network.wiring.is_chain:
            buffers.append(Buffer("values", "float", sum(self.policy.network.widths[:-1])))
            if self.network.integers:
                buffers.append(Buffer("read", "float", width))
        return [*buffers, Buffer("sums", ctypes.sum, width), Buffer("inputs", ctypes.input, width)]

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
        return tables + self.interface.tables

    @property
    def _loops(self) -> Source:
        """The functions that the layers need, one for each combination of index types."""
        functions = {}
        for name in (*self.network.parts, *self.interface.parts):
            text = template_text(f"parts/{name}.c")
            functions[name] = text.replace("LAYER_EPSILON", f"{LAYER_EPSILON:g}f")
        for layer in self.network.layers:
            if "BITS" in layer.fixed:
                functions["places"] = template_text("parts/places.c")
            text = _each_row(template_text(f"parts/{layer.loop}.c"), layer.fixed.get("SHARE", 1))
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
        body = flow.lines(self.network, self.policy.network.squash)
        pointers = [
            f"{ctype} *{'x' if name == 'inputs' else name} = scratch->{name};"
            for name, ctype, _ in self._buffers
        ]
        statements = "".join(f"    {line}\n" for line in [*pointers, "int i;", *body])
        return (
            "int policy_outputs(const float observation[POLICY_INPUT_SIZE], "
            f"policy_scratch *scratch)\n{{\n{statements}}}\n"
        )


def _each_row(text: str, rows: int) -> str:
    """A loop's text, in which a line with the word ROW stands for one line per row."""

    def lines(line: re.Match[str]) -> str:
        return "".join(line[0].replace("ROW", str(row)) for row in range(rows))

    return re.sub(r".*ROW.*\n", lines, text)


def _layer_summary(layer: DeviceLayer) -> str:
    kinds = {
        "n_of_m": "{KEEP} of every {GROUP} inputs",
        "shared_rows": "{KEEP} of every {GROUP} inputs, the same ones in {SHARE} neighbouring rows",
        "per_row": "equally many in every row",
        "shared_columns": "equally many in every row, the same ones in {SHARE} neighbouring rows",
        "csr": "anywhere in the layer",
        "circulant": "in circulant blocks of {GROUP}",
    }
    kind = kinds.get(layer.loop, layer.loop).format(**layer.fixed)
    return f"{layer.outputs} x {layer.inputs}: {layer.weight.size} weights, {kind}"
