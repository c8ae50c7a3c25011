"""A policy's networks outside XLA, for one observation at a time.

Dispatching a compiled call takes about 60 us, for one observation several times what its
multiplications take. The same kernels, called directly, are done in a fifth of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from sparl import kernels, wiring
from sparl.learner import Part, Structure
from sparl.networks import Network

HostNetwork = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""[inputs, batch] to [outputs, batch]."""
Vector = NDArray[Any]
"""Of a part: all its values, or all its indices."""


@dataclass(frozen=True)
class Layers:
    """Where one layer, or a chain of them, lies in the flat vectors of its part; how to run it."""

    inference: kernels.Inference
    values: slice
    indices: slice

    @classmethod
    def of(cls, forms: Sequence[kernels.Layer]) -> Layers:
        """`forms`, as the kernels take them, with positions in place of numbers."""
        form = kernels.Form.of(forms)
        values, indices = kernels.vectors(forms)
        return cls(kernels.Inference(*form), _span(values), _span(indices))

    def __call__(self, values: Vector, indices: Vector, x: Vector) -> Vector:
        return self.inference(values[self.values], indices[self.indices], x)


@dataclass(frozen=True)
class Chain:
    """A plain MLP: one call."""

    layers: Layers
    squash: bool

    def bound(self, values: Vector, indices: Vector) -> HostNetwork:
        def network(x: Vector) -> Vector:
            y = self.layers(values, indices, x)
            return np.tanh(y) if self.squash else y

        return network


@dataclass(frozen=True)
class Wired:
    """A network of any wiring: a call for each layer, NumPy between them."""

    layers: list[Layers]
    norms: list[tuple[Callable[..., Any], list[slice]] | None]
    wiring: wiring.Wiring
    squash: bool

    def bound(self, values: Vector, indices: Vector) -> HostNetwork:
        def normalised(i: int, y: Vector) -> Vector:
            norm = self.norms[i]
            assert norm is not None
            return norm[0](y, *(values[where] for where in norm[1]))

        def network(x: Vector) -> Vector:
            y = wiring.run(
                self.wiring,
                x,
                lambda i, y: self.layers[i](values, indices, y),
                normalised,
                wiring.IN_NUMPY,
            )
            return np.tanh(y) if self.squash else y

        return network


class OnHost:
    """One network of a part, as a function of the part and of NumPy arrays.

    Where the compiled kernels are missing, or do not know all its layers, XLA runs it after all.
    """

    def __init__(self, part: str, name: str, structure: Structure) -> None:
        self.part = part
        self.direct = host_network(structure.positions()[name])
        """None where XLA runs it."""
        self._compiled = jax.jit(
            lambda values, indices, x: structure.networks(values, indices)[name](x)
        )

    def __call__(self, part: Part, x: Vector) -> Vector:
        """[inputs, batch] to [outputs, batch]; waits for an update of the part under way."""
        if self.direct is None:
            return np.asarray(self._compiled(part.values, part.indices, x))
        return self.direct.bound(np.asarray(part.values), np.asarray(part.indices))(x)


def host_network(positions: Network) -> Chain | Wired | None:
    """A network that has positions in its part's vectors in place of numbers, to be bound to those.

    None where the compiled kernels are missing, or do not know all layers.
    """
    network, forms = positions, positions.kernel_forms()
    if forms is None or not kernels.usable():
        return None
    if network.wiring.is_chain:
        return Chain(Layers.of(forms), network.squash)
    return Wired(
        [Layers.of([form]) for form in forms],
        [
            norm and (norm.normalised, list(map(_span, vars(norm).values())))
            for norm in network.norms
        ],
        network.wiring,
        network.squash,
    )


def _span(positions: jax.Array | Vector) -> slice:
    """The positions as a slice; they follow each other, being made from the same layers."""
    if not len(positions):
        return slice(0, 0)
    first = int(positions[0])
    if not np.array_equal(np.asarray(positions), np.arange(first, first + len(positions))):
        raise AssertionError("a learner's vectors have another order than the kernels'")
    return slice(first, first + len(positions))
