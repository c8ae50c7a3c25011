"""A policy's networks outside compiled code, for one observation at a time.

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

from sparl import kernels
from sparl.learner import Structure
from sparl.networks import Network, wiring

HostNetwork = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""[inputs, batch] to [outputs, batch]."""
Vector = NDArray[Any]
"""Of a part: all its values, or all its indices."""


@dataclass(frozen=True)
class Layers:
    """Where one layer, or several, lies in the flat vectors of its part; how to run it."""

    inference: kernels.Inference
    values: slice
    indices: slice

    @classmethod
    def of(
        cls, forms: Sequence[kernels.Layer], connections: kernels.Connections | None = None
    ) -> Layers:
        """`forms`, as the kernels take them, with positions in place of numbers."""
        form = kernels.Form.of(forms, connections)
        values, indices = kernels.ordered(forms)
        return cls(kernels.Inference(form), _span(*values), _span(*indices))

    def __call__(self, values: Vector, indices: Vector, x: Vector) -> Vector:
        return self.inference(values[self.values], indices[self.indices], x)


@dataclass(frozen=True)
class Whole:
    """A network that the kernels run in one call."""

    layers: Layers
    squash: bool

    def bound(self, values: Vector, indices: Vector) -> HostNetwork:
        def network(x: Vector) -> Vector:
            y = self.layers(values, indices, x)
            return np.tanh(y) if self.squash else y

        return network


@dataclass(frozen=True)
class Wired:
    """A network of any other wiring: a call for each layer, NumPy between them."""

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


class Forward:
    """One network of a part as a function of NumPy arrays, by the kernels where they know it."""

    def __init__(self, structure: Structure, name: str) -> None:
        self.direct = host_network(structure.positions()[name])
        """None where XLA runs it: without the kernels, or with a layer that they do not know."""
        self._compiled = jax.jit(
            lambda values, indices, x: structure.networks(values, indices)[name](x)
        )

    def bound(self, values: Any, indices: Any) -> HostNetwork:
        """The network of a part's flat vectors; waits for them where they are being computed."""
        if self.direct is None:
            return lambda x: np.asarray(self._compiled(values, indices, x))
        return self.direct.bound(np.asarray(values), np.asarray(indices))


def host_network(positions: Network) -> Whole | Wired | None:
    """A network that has positions in its part's vectors in place of numbers, to be bound to those.

    None where the compiled kernels are missing, or do not know all layers.
    """
    network, forms = positions, positions.kernel_forms()
    if forms is None or not kernels.usable():
        return None
    whole = network.whole()
    if whole is not None:
        return Whole(Layers.of(whole, network.connections), network.squash)
    norms = [
        norm and (norm.normalised, [_span(at) for at in vars(norm).values()])
        for norm in network.norms
    ]
    return Wired([Layers.of([form]) for form in forms], norms, network.wiring, network.squash)


def _span(*positions: Vector) -> slice:
    """The positions as one slice; they follow each other, being made from the same layers."""
    found = np.concatenate([*positions, np.zeros(0, int)])
    if not len(found):
        return slice(0, 0)
    first = int(found[0])
    if not np.array_equal(found, np.arange(first, first + len(found))):
        raise AssertionError("a learner's vectors have another order than the kernels'")
    return slice(first, first + len(found))
