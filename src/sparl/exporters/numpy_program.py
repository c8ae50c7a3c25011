"""Policies as a Python file that needs NumPy alone, for a Raspberry Pi without JAX.

The file is straight-line code, written from `templates/policy.py.in`; the numbers are beside it in
an .npz. Weights of sparse layers are stored without zeros, and multiplied as dense matrices.
"""

from __future__ import annotations

import io
import runpy
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import kernels
from sparl.envs import inner_float32
from sparl.errors import BadRun, BadValue
from sparl.exporters.c import NAME, check_name
from sparl.exporters.interface import Interface
from sparl.exporters.layers import UNSIGNED
from sparl.exporters.network import Dtype, device_network
from sparl.exporters.text import Source, fill
from sparl.kernels import Activation
from sparl.layouts import Layout, Packed, RowSparse, index_width, rows_that_share
from sparl.networks import LAYER_EPSILON, Arrays, LayerNorm, Place, run
from sparl.policy import TOLERANCE, Policy


class NumpyProgram:
    """A policy as a Python file and its numbers.

    Args:
        policy: The trained policy.
        dtype: Type of the stored weights; computed is in float32.
        name: Of the file.

    Raises:
        BadValue: The type is int8, a weight is too large for float16, or no file has such a name.
    """

    def __init__(self, policy: Policy, dtype: Dtype = "float32", name: str = NAME) -> None:
        check_name(name)
        if dtype == "int8":
            raise BadValue("dtype is int8: NumPy computes in floats. Take float32 or float16, or c")
        network = device_network(policy, dtype)
        assert isinstance(network.reference, Policy)
        # What is stored: norms are folded into layers, weights have the type's precision.
        self._policy, self._dtype, self._name = network.reference, np.dtype(dtype), name
        self._interface = Interface(self._policy)
        self._arrays: dict[str, NDArray[Any]] = {}
        self._constants: list[str] = []
        self._lines: list[str] = []
        self._text = self._written()

    def files(self) -> dict[str, bytes]:
        """Gives the content of every file by its name."""
        packed, arrays = io.BytesIO(), dict[str, Any](self._arrays)
        np.savez_compressed(packed, **arrays)
        return {f"{self._name}.py": self._text.encode(), f"{self._name}.npz": packed.getvalue()}

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers that the policy needs."""
        tests = ("golden", "expected")
        return sum(a.nbytes for name, a in self._arrays.items() if name not in tests)

    def check(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs what was written: its self-test, its actions, its outputs for observations.

        Raises:
            BadRun: It does not do what the policy does.
        """
        policy, spaces = self._policy, self._policy.spaces
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.files().items():
                (Path(folder) / name).write_bytes(content)
            module = runpy.run_path(str(Path(folder) / f"{self._name}.py"))
            passed = module["self_test"]()
            outputs = module["outputs"](observations)
            frame = observations.reshape(len(observations), spaces.frames, -1)[:1, -1]
            action, _ = module["predict"](frame.reshape(self._shape))
        expected, _ = policy.predict(frame.reshape(self._shape))
        same = np.shape(action) == np.shape(expected) and action.dtype == expected.dtype
        wanted = policy.outputs(observations)
        worst = float(np.abs(outputs - wanted).max(initial=0.0))
        if not passed or not same or not worst <= _tolerance(wanted):
            raise BadRun(
                f"outputs of the NumPy export are off by {worst:.1e}, or its actions differ "
                "in shape or type, and it is not written. Please report it"
            )
        return outputs

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of one observation of the environment."""
        spaces = self._policy.spaces
        return spaces.observation_shape[1:] if spaces.frames > 1 else spaces.observation_shape

    def _written(self) -> str:
        policy, spaces = self._policy, self._policy.spaces
        result = self._network()
        several = spaces.frames > 1
        state_meaning = "The state goes in and out as it is: the policy has no memory."
        if several:
            state_meaning = (
                "The state is what the call before gave, and None when an episode begins: the "
                "newest\n    observations are remembered in it."
            )
        expected = policy.outputs(policy.golden)
        self._arrays |= {"golden": policy.golden, "expected": expected}
        meanings = self._interface.header
        words = {
            "version": Source(metadata.version("sparl")),
            "summary": Source(self._interface.summary),
            "name": Source(self._name),
            "output_meaning": Source(meanings["output_meaning"]),
            "output_size": policy.network.layers[-1].out_features,
            "input_size": spaces.observation_size,
            "observation_size": spaces.observation_size // spaces.frames,
            "shape": Source(self._shape),
            "rank": len(self._shape),
            "state_meaning": Source(state_meaning),
            "frames": _indented(["", *FRAMES] if several else []).replace(
                "COUNT", str(spaces.frames)
            ),
            "action": _indented(self._action()),
            "body": _indented([*self._lines, f"return {result}"]),
            "constants": Source("\n".join(self._constants)),
            "tolerance": Source(repr(_tolerance(expected))),
        }
        written = {name: Source(w) if isinstance(w, str) else w for name, w in words.items()}
        return fill("policy.py.in", written)

    def _array(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Puts numbers beside the file, and gives the expression that reads them."""
        self._arrays[name] = np.ascontiguousarray(np.asarray(value), dtype)
        return f'arrays["{name}"]'

    def _constant(self, name: str, expression: str) -> str:
        self._constants.append(f"{name} = {expression}")
        return name

    def _line(self, expression: str) -> str:
        """A line of `outputs`; gives the name of its value."""
        name = f"v{len(self._lines)}"
        self._lines.append(f"{name} = {expression}")
        return name

    def _network(self) -> str:
        """Writes `outputs`; gives the name of what it returns."""
        network, seen = self._policy.network, self._policy.normalization
        x = "np.asarray(observation, np.float32)"
        if seen is not None:
            mean = self._constant("mean", self._array("mean", seen.mean))
            scale = self._constant("scale", self._array("scale", seen.scale))
            x = f"({x} - {mean}) * {scale}"
            if seen.clip is not None:
                x = f"np.clip({x}, {-float(seen.clip)!r}, {float(seen.clip)!r})"
        activations: dict[Activation, Any] = {
            kind: lambda y, form=form: self._line(form.replace("Y", y))
            for kind, form in ACTIVATIONS.items()
        }
        operations = Arrays(
            lambda values: self._line(f"np.concatenate([{', '.join(values)}], axis=1)"),
            lambda a, b: self._line(f"{a} + {b}"),
            activations,
        )
        y = run(network.wiring, self._line(x), self._linear, self._normalised, operations)
        return self._line(f"np.tanh({y})") if network.squash else y

    def _linear(self, i: int, y: str) -> str:
        layer = self._policy.network.layers[i]
        self._store(i, layer)
        weight = self._constant(
            f"weight_{i}", f"matrix({i}, {layer.out_features}, {layer.in_features}).T"
        )
        bias = self._constant(f"bias_{i}", self._array(f"bias_{i}", layer.bias))
        return self._line(f"{y} @ {weight} + {bias}")

    def _store(self, i: int, layer: Layout) -> None:
        """The weights of a layer: as a matrix, or as those that are kept and where they are."""
        weight = np.asarray(layer.weight)
        if isinstance(layer, Packed):
            for name, indices in (("column", layer.columns), ("start", layer.row_starts)):
                largest = int(np.asarray(indices).max(initial=0))
                self._array(f"{name}_{i}", indices, UNSIGNED[index_width(largest + 1)])
            flat = weight.reshape(-1) if isinstance(layer, RowSparse) else weight
            self._array(f"weight_{i}", flat, self._dtype)
            if isinstance(layer, RowSparse) and (share := rows_that_share(layer.pattern)) > 1:
                self._array(f"share_{i}", share, np.uint8)
        else:
            self._array(f"weight_{i}", layer.to_dense(), self._dtype)

    def _normalised(self, place: Place, i: int, y: str) -> str:
        norm = self._policy.network.norm(place, i)
        numbered = f"{place}_{i}"
        if isinstance(norm, LayerNorm):
            gain = self._constant(f"gain_{numbered}", self._array(f"gain_{numbered}", norm.gain))
            shift = self._constant(
                f"shift_{numbered}", self._array(f"shift_{numbered}", norm.shift)
            )
            centred = self._line(f"{y} - {y}.mean(axis=1, keepdims=True)")
            variance = f"np.square({centred}).mean(axis=1, keepdims=True)"
            return self._line(
                f"{centred} / np.sqrt({variance} + {LAYER_EPSILON!r}) * {gain} + {shift}"
            )
        factor, offset = kernels.affine(*vars(norm).values())
        factor = self._constant(f"factor_{numbered}", self._array(f"factor_{numbered}", factor))
        offset = self._constant(f"offset_{numbered}", self._array(f"offset_{numbered}", offset))
        return self._line(f"{y} * {factor} + {offset}")

    def _action(self) -> list[str]:
        """Lines that make actions [batch, ...] of outputs y."""
        spaces = self._policy.spaces
        dtype, shape = np.dtype(spaces.dtype).name, f"(-1, *{spaces.action_shape})"
        if spaces.nvec:
            choices, starts = tuple(map(int, spaces.nvec)), tuple(map(int, spaces.starts))
            return [
                f"choices = np.unravel_index(y.argmax(axis=1), {choices})",
                f"action = np.stack(choices, axis=-1) + np.array({starts})",
                f"action = action.reshape({shape}).astype(np.{dtype})",
            ]
        if spaces.discrete:
            return [f"action = y.argmax(axis=1) + {int(spaces.first)}"]
        low, high = inner_float32(spaces.low, spaces.high)
        if spaces.rounds:
            low, high = np.array(spaces.low, np.float64), np.array(spaces.high, np.float64)
        low = self._constant("low", self._array("low", low, low.dtype))
        high = self._constant("high", self._array("high", high, high.dtype))
        inside = f"np.clip({low} + (y + 1) * (0.5 * {high} - 0.5 * {low}), {low}, {high})"
        inside = f"np.rint({inside})" if spaces.rounds else inside
        return [f"action = {inside}.astype(np.{dtype}).reshape({shape})"]


ACTIVATIONS: dict[Activation, str] = {
    "relu": "np.maximum(Y, 0)",
    "swish": "Y / (1 + np.exp(-np.maximum(Y, -80)))",
    "elu": "np.where(Y > 0, Y, np.expm1(np.minimum(Y, 0)))",
    "tanh": "np.tanh(Y)",
}
FRAMES = [
    "newest = seen[:, None]",
    "if state is None:",
    "    state = np.repeat(newest, COUNT, axis=1)",
    "else:",
    "    state = np.concatenate([state[:, 1:], newest], axis=1)",
    "seen = state.reshape(len(state), -1)",
]


def _tolerance(outputs: NDArray[np.float32]) -> float:
    """How far from these outputs another order of sums may lead."""
    return TOLERANCE * float(np.abs(outputs).max(initial=1.0))


def _indented(lines: list[str]) -> str:
    return "\n    ".join(lines)
