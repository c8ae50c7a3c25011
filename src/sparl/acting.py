"""A policy's networks outside compiled code, for one observation at a time.

Dispatching a compiled call takes about 60 us, for one observation several times what its
multiplications take. The same kernels, called directly, are done in a fifth of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from sparl import kernels
from sparl.learner import Structure

HostNetwork = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""[inputs, batch] to [outputs, batch]."""


@dataclass(frozen=True)
class HostMLP:
    """Where one network lies in the flat vectors of its part, and how to run it there."""

    inference: kernels.Inference
    values: slice
    indices: slice
    squash: bool

    def bound(self, values: NDArray[np.float32], indices: NDArray[np.int32]) -> HostNetwork:
        values, indices = values[self.values], indices[self.indices]

        def network(x: NDArray[np.float32]) -> NDArray[np.float32]:
            y = self.inference(values, indices, x)
            return np.tanh(y) if self.squash else y

        return network


class Acting:
    """The networks of one part as functions of NumPy arrays."""

    def __init__(self, networks: dict[str, HostMLP]) -> None:
        self._networks = networks

    @classmethod
    def of(cls, structure: Structure) -> Acting | None:
        """None where the compiled kernels are missing, or do not know all layers."""
        if not kernels.usable():
            return None
        found = {}
        for name, network in structure.positions().items():
            forms = network.kernel_forms()
            if forms is None:
                return None
            form = kernels.Form.of(forms)
            inference = kernels.Inference(*form)
            values, indices = kernels.vectors(forms)
            found[name] = HostMLP(inference, _span(values), _span(indices), network.squash)
        return cls(found)

    def networks(
        self, values: NDArray[np.float32], indices: NDArray[np.int32]
    ) -> dict[str, HostNetwork]:
        """The networks of a part's flat vectors; changes of those change them."""
        return {name: network.bound(values, indices) for name, network in self._networks.items()}


class Forward:
    """One network of a part as a function of NumPy arrays, by the kernels where they know it."""

    def __init__(self, structure: Structure, name: str) -> None:
        self._name = name
        self._acting = Acting.of(structure)
        self._compiled = jax.jit(
            lambda values, indices, observation: (
                structure.networks(values, indices)[name](observation.T).T
            )
        )

    def bound(self, values: Any, indices: Any) -> HostNetwork:
        """The network of a part's flat vectors; waits for them where they are being computed."""
        if self._acting is None:
            return lambda x: np.asarray(self._compiled(values, indices, x.T)).T
        return self._acting.networks(np.asarray(values), np.asarray(indices))[self._name]


def _span(positions: jax.Array) -> slice:
    """The positions as a slice; they follow each other, being made from the same layers."""
    if not len(positions):
        return slice(0, 0)
    first = int(positions[0])
    if not np.array_equal(np.asarray(positions), np.arange(first, first + len(positions))):
        raise AssertionError("a learner's vectors have another order than the kernels'")
    return slice(first, first + len(positions))
