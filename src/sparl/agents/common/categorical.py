"""Distributions of returns over fixed values, as categorical critics give them (1707.06887)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Atoms(NamedTuple):
    """`count` returns, evenly from `lowest` to `highest`."""

    lowest: float
    highest: float
    count: int

    @property
    def gap(self) -> float:
        """The distance of two neighbours."""
        return (self.highest - self.lowest) / (self.count - 1)

    @property
    def values(self) -> Float[Array, " bins"]:
        """The returns themselves."""
        return jnp.linspace(self.lowest, self.highest, self.count)

    def mean(self, p: Float[Array, "*critics bins batch"]) -> Float[Array, "*critics batch"]:
        """The mean return of distributions."""
        return jnp.sum(self.values[:, None] * p, axis=-2)

    def projected(
        self,
        p: Float[Array, "bins batch"],
        factor: Float[Array, " batch"],
        shift: Float[Array, " batch"],
    ) -> Float[Array, "bins batch"]:
        """The distributions of `shift + factor * Z`, where Z has the distributions `p`.

        What lies between two of the values is shared by its distances from them, and what lies
        beyond the outer ones goes to them.
        """
        moved = jnp.clip(shift + factor * self.values[:, None], self.lowest, self.highest)
        place = (moved - self.lowest) / self.gap
        below = jnp.clip(jnp.floor(place), 0, self.count - 2)
        share = place - below
        lower, sample = below.astype(jnp.int32), jnp.arange(p.shape[1])
        empty = jnp.zeros_like(p)
        return empty.at[lower, sample].add((1.0 - share) * p).at[lower + 1, sample].add(share * p)


def cross_entropy(
    logits: Float[Array, "critics bins batch"], target: Float[Array, "bins batch"]
) -> Float[Array, "critics batch"]:
    """Of what critics give, from the distributions that they learn from."""
    return -jnp.sum(target * jax.nn.log_softmax(logits, axis=1), axis=1)
