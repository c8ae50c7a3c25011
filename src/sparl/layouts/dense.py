"""Dense layers store every weight; all other layouts are compared with them."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels
from sparl.layouts.base import Layout


class Dense(Layout):
    """W stored whole.

    `apply` is XLA's product. A dense layer within a network runs in the network's kernel instead.
    """

    name: ClassVar[str] = "dense"

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]

    @property
    def in_features(self) -> int:
        return self.weight.shape[1]

    def apply(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        return self.weight @ x + self.bias[:, None]

    def kernel_form(self) -> kernels.Layer:
        return kernels.Layer(self.weight, self.bias, None)

    def spread(
        self, aligned: Float[Array, "out in"], fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        return aligned

    def pick(self, dense: Float[Array, "out in"]) -> Float[Array, "out in"]:
        return dense

    def row_squares(self) -> Float[Array, " out"]:
        return jnp.sum(self.weight**2, axis=1)

    def of_rows(self, values: Float[Array, " out"]) -> Float[Array, "out 1"]:
        return values[:, None]

    def first_rows(self, count: int) -> Dense:
        return Dense(self.weight[:count], self.bias[:count])

    def active(self) -> Float[Array, "out in"]:
        return jnp.ones(self.shape, jnp.float32)

    @property
    def kept(self) -> int:
        return self.weight.size
