"""The interface of every layout: how one linear layer is stored and multiplied."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels


class Layout(eqx.Module):
    """One linear layer, y = W x + b, with its own way of storing W.

    `weight` holds the stored, trained part of W, in a shape that the layout chooses. Every other
    array of that shape (a gradient, an Adam moment, a target's weights) is *aligned* with it:
    `spread` takes it to the coordinates of the dense matrix, and `pick` takes it back. Activations
    are feature-major, [features, batch].
    """

    name: ClassVar[str]
    """What reports and saved policies call the layout."""

    weight: eqx.AbstractVar[jax.Array]
    bias: eqx.AbstractVar[jax.Array]

    @property
    def out_features(self) -> int:
        """Rows of W."""
        return self.bias.shape[0]

    @property
    @abstractmethod
    def in_features(self) -> int:
        """Columns of W."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of W, (out, in)."""
        return self.out_features, self.in_features

    @abstractmethod
    def apply(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        """W x + b."""

    def kernel_form(self) -> kernels.Layer | None:
        """The layer as the kernels take it; None if they do not know the layout."""
        return None

    @abstractmethod
    def spread(
        self, aligned: jax.Array, fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        """An aligned array in dense coordinates.

        Args:
            aligned: An array with the shape of `weight`.
            fill: What the entries get for which the layout stores nothing.
        """

    @abstractmethod
    def pick(self, dense: Float[Array, "out in"]) -> jax.Array:
        """The entries of a dense matrix at the stored places, as an aligned array."""

    @abstractmethod
    def first_rows(self, count: int) -> Layout:
        """The layer cut to its first `count` outputs; cannot be traced (shapes need values)."""

    def unit_rows(self, with_bias: bool) -> Layout:
        """The layer with every row of W, or of (W, b), at length 1; one of zeros stays as it is.

        Rows that share their weights go by those alone.
        """
        with_bias = with_bias and self.copies == 1
        squares = self.row_squares()
        if with_bias:
            squares = squares + self.bias**2
        factors = jnp.where(squares > 0, jax.lax.rsqrt(squares), 1.0)
        bias = self.bias * factors if with_bias else self.bias
        arrays = self.weight * self.of_rows(factors), bias
        return eqx.tree_at(lambda layer: (layer.weight, layer.bias), self, arrays)

    @abstractmethod
    def row_squares(self) -> Float[Array, " out"]:
        """The sum of the squares of each row of W."""

    @abstractmethod
    def of_rows(self, values: Float[Array, " out"]) -> jax.Array:
        """A value for each row of W, as an array that broadcasts with `weight`.

        Rows that share their weights must have the same value.
        """

    def to_dense(self) -> Float[Array, "out in"]:
        """W as the dense matrix that `apply` multiplies by."""
        return self.spread(self.weight)

    @abstractmethod
    def active(self) -> Float[Array, "out in"]:
        """1.0 where a weight takes part in `apply`, 0.0 elsewhere."""

    @property
    @abstractmethod
    def kept(self) -> int:
        """The number of stored weights that take part in `apply`; biases are not counted."""

    @property
    def copies(self) -> int:
        """The number of entries of W that one stored weight stands for."""
        return 1

    @property
    def macs(self) -> int:
        """Multiply-adds for one input vector: the number of entries of W that take part."""
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
    """Bytes of the smallest unsigned integer that can index `count` things."""
    return 1 if count <= 2**8 else 2 if count <= 2**16 else 4
