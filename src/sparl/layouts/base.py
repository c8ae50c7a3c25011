"""What every layout answers: how one linear layer is stored and multiplied."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float

from sparl import kernels


class Layout(eqx.Module):
    """One linear layer, y = W x + b, in some way of storing W.

    `weight` holds what is stored of W and trained, in the shape the layout likes; anything else
    with that shape (a gradient, an Adam moment, a target's weights) is *aligned* with it, and
    `spread` and `pick` take it to and from the coordinates of the dense matrix. Activations are
    feature-major, [features, batch].
    """

    name: ClassVar[str]

    weight: eqx.AbstractVar[jax.Array]
    bias: eqx.AbstractVar[jax.Array]

    @property
    def out_features(self) -> int:
        return self.bias.shape[0]

    @property
    @abstractmethod
    def in_features(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix that the layer stands for, (out, in)."""
        return self.out_features, self.in_features

    @abstractmethod
    def apply(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        """W x + b."""

    def kernel_form(self) -> kernels.Layer | None:
        """The layer as part of a network that runs as one kernel; None if it cannot be."""
        return None

    @abstractmethod
    def spread(
        self, aligned: jax.Array, fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        """An aligned array in dense coordinates, `fill` where the layout stores nothing."""

    @abstractmethod
    def pick(self, dense: Float[Array, "out in"]) -> jax.Array:
        """The entries of a dense matrix at the stored places, aligned with `weight`."""

    @abstractmethod
    def first_rows(self, count: int) -> Layout:
        """The layer with its first `count` outputs alone; for arrays that are no tracers."""

    def to_dense(self) -> Float[Array, "out in"]:
        """W as the dense matrix that `apply` multiplies by."""
        return self.spread(self.weight)

    @abstractmethod
    def active(self) -> Float[Array, "out in"]:
        """1.0 where a weight takes part in `apply`, 0.0 elsewhere."""

    @property
    @abstractmethod
    def kept(self) -> int:
        """How many of the stored weights take part in `apply` (biases are not counted)."""

    @property
    def copies(self) -> int:
        """Entries of W that one stored weight stands for."""
        return 1

    @property
    def macs(self) -> int:
        """Multiply-adds of one input vector, which are the entries of W that are not left out."""
        return self.kept

    @property
    def index_bytes(self) -> int:
        """Bytes of indices in a saved policy."""
        return 0

    @property
    def stored_bytes(self) -> int:
        """Bytes of weights, biases and indices in a saved policy."""
        return 4 * (self.kept + self.bias.size) + self.index_bytes


def index_width(count: int) -> int:
    """Bytes of the smallest type that numbers so many."""
    return 1 if count <= 2**8 else 2 if count <= 2**16 else 4
