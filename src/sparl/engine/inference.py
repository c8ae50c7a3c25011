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
from sparl.networks import Network, select_ranges, wiring

HostNetwork = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""[inputs, batch] to [outputs, batch]; the numbers of the network are in it."""
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

    def __call__(self, values: Vector, indices: Vector, x: Vector) -> Vector:
        """The outputs for inputs x, [inputs, batch], with the numbers of a part's vectors."""
        y = self.layers(values, indices, x)
        return np.tanh(y) if self.squash else y


class HostNorm(NamedTuple):
    """A norm of a network, and the places of its numbers in the values of its part."""

    function: Callable[..., Any]
    values: list[slice]

    def __call__(self, values: Vector, x: Vector) -> Vector:
        """What is normalised, with the numbers of a part's vector."""
        return self.function(x, *(values[place] for place in self.values))


@dataclass(frozen=True)
class Wired:
    """A network of any other wiring: the kernels run each layer, and NumPy does the rest."""

    layers: list[Layers]
    norms: dict[tuple[wiring.Place, int], HostNorm]
    """The norms of those stages that have one."""
    wiring: wiring.Wiring
    squash: bool
    """Whether outputs go through tanh."""

    def __call__(self, values: Vector, indices: Vector, x: Vector) -> Vector:
        """The outputs for inputs x, [inputs, batch], with the numbers of a part's vectors."""
        y = wiring.run(
            self.wiring,
            x,
            lambda i, x: self.layers[i](values, indices, x),
            lambda place, i, x: self.norms[place, i](values, x),
            wiring.IN_NUMPY,
        )
        return np.tanh(y) if self.squash else y


class Forward:
    """One network of a part as a function of NumPy arrays; by the kernels if they support it."""

    def __init__(self, structure: Structure, name: str) -> None:
        positions = structure.positions()[name]
        self._inputs = positions.inputs
        self.direct = host_network(positions)
        """The network for the kernels. None if XLA runs it, because the kernels are missing or do
        not support one of its layers."""
        self._compiled = jax.jit(
            lambda values, indices, x: structure.networks(values, indices)[name](x)
        )

    def __call__(self, values: Any, indices: Any, x: Vector) -> Vector:
        """The outputs for inputs x, [inputs, batch].

        Args:
            values: All values of the part that the network belongs to; waits until they are
                computed.
            indices: All indices of that part.
        """
        if self.direct is None:
            return np.asarray(self._compiled(values, indices, x))
        x = select_ranges(self._inputs, x, np)
        return self.direct(np.asarray(values), np.asarray(indices), x)


def host_network(positions: Network) -> Whole | Wired | None:
    """A network that the kernels run outside compiled code, on what its layers see.

    Args:
        positions: The network, with positions in its part's vectors in place of numbers.

    Returns:
        None if the compiled kernels are missing, or do not support all its layers.
    """
    network, forms = positions, positions.kernel_forms()
    # They run on the CPU, on whatever device updates run.
    if forms is None or kernels.why_not_native() is not None:
        return None
    whole = network.whole()
    if whole is not None:
        return Whole(Layers.of(whole, network.connections), network.squash)
    all_norms: dict[wiring.Place, Any] = {
        "norms": network.norms,
        "input_norms": network.input_norms,
    }
    norms: dict[tuple[wiring.Place, int], HostNorm] = {
        (place, i): HostNorm(norm.normalised, [_span(numbers) for numbers in vars(norm).values()])
        for place, of_layers in all_norms.items()
        for i, norm in enumerate(of_layers)
        if norm is not None
    }
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
