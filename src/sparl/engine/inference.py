"""Networks outside compiled code, for acting on one observation at a time.

Dispatching a compiled call takes about 60 us, several times what the multiplications for one
observation take. The same kernels, called directly, need a fifth of that time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from sparl import kernels
from sparl.learner import Structure
from sparl.networks import Network, wiring

HostNetwork = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""[inputs, batch] to [outputs, batch]."""
Vector = NDArray[Any]
"""All values of a part, or all its indices."""


@dataclass(frozen=True)
class Layers:
    """One or several layers that the kernels run in one call."""

    inference: kernels.Inference
    values: slice
    """The place of their values in the vector of their part."""
    indices: slice
    """The place of their indices in the vector of their part."""

    @classmethod
    def of(
        cls, forms: Sequence[kernels.Layer], connections: kernels.Connections | None = None
    ) -> Layers:
        """Finds the places of layers.

        Args:
            forms: The layers as the kernels take them, with positions in place of numbers.
            connections: How the layers are connected; None for a chain.
        """
        form = kernels.Form.of(forms, connections)
        values, indices = kernels.ordered(forms)
        return cls(kernels.Inference(form), _span(*values), _span(*indices))

    def __call__(self, values: Vector, indices: Vector, x: Vector) -> Vector:
        """The outputs for inputs x, [inputs, batch]."""
        return self.inference(values[self.values], indices[self.indices], x)


@dataclass(frozen=True)
class Whole:
    """A network that the kernels run in one call."""

    layers: Layers
    squash: bool
    """Whether outputs go through tanh."""

    def bound(self, values: Vector, indices: Vector) -> HostNetwork:
        """The network with the numbers of a part's vectors."""

        def network(x: Vector) -> Vector:
            y = self.layers(values, indices, x)
            return np.tanh(y) if self.squash else y

        return network


class HostNorm(NamedTuple):
    """A norm of a network, and the places of its numbers in the values of its part."""

    function: Callable[..., Any]
    values: list[slice]


@dataclass(frozen=True)
class Wired:
    """A network of any other wiring: the kernels run each layer, and NumPy does the rest."""

    layers: list[Layers]
    norms: list[HostNorm | None]
    """The norm of each stage, if it has one."""
    wiring: wiring.Wiring
    squash: bool
    """Whether outputs go through tanh."""

    def bound(self, values: Vector, indices: Vector) -> HostNetwork:
        """The network with the numbers of a part's vectors."""

        def normalize(i: int, y: Vector) -> Vector:
            norm = self.norms[i]
            assert norm is not None
            return norm.function(y, *(values[place] for place in norm.values))

        def network(x: Vector) -> Vector:
            y = wiring.run(
                self.wiring,
                x,
                lambda i, y: self.layers[i](values, indices, y),
                normalize,
                wiring.IN_NUMPY,
            )
            return np.tanh(y) if self.squash else y

        return network


class Forward:
    """One network of a part as a function of NumPy arrays; by the kernels if they support it."""

    def __init__(self, structure: Structure, name: str) -> None:
        self.direct = host_network(structure.positions()[name])
        """The network for the kernels. None if XLA runs it, because the kernels are missing or do
        not support one of its layers."""
        self._compiled = jax.jit(
            lambda values, indices, x: structure.networks(values, indices)[name](x)
        )

    def bound(self, values: Any, indices: Any) -> HostNetwork:
        """The network with the numbers of a part's vectors; waits until they are computed."""
        if self.direct is None:
            return lambda x: np.asarray(self._compiled(values, indices, x))
        return self.direct.bound(np.asarray(values), np.asarray(indices))


def host_network(positions: Network) -> Whole | Wired | None:
    """A network that the kernels run outside compiled code.

    Args:
        positions: The network, with positions in its part's vectors in place of numbers.

    Returns:
        None if the compiled kernels are missing, or do not support all its layers.
    """
    network, forms = positions, positions.kernel_forms()
    if forms is None or not kernels.usable():
        return None
    whole = network.whole()
    if whole is not None:
        return Whole(Layers.of(whole, network.connections), network.squash)
    norms = [
        norm and HostNorm(norm.normalised, [_span(place) for place in vars(norm).values()])
        for norm in network.norms
    ]
    return Wired([Layers.of([form]) for form in forms], norms, network.wiring, network.squash)


def _span(*positions: Vector) -> slice:
    """The positions as one slice; they are consecutive, because they are of the same layers."""
    joint = np.concatenate([*positions, np.zeros(0, int)])
    if not len(joint):
        return slice(0, 0)
    first = int(joint[0])
    if not np.array_equal(joint, np.arange(first, first + len(joint))):
        raise AssertionError("a learner's vectors have another order than the kernels'")
    return slice(first, first + len(joint))
