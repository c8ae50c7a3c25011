"""Choices of places by scores: the largest, those that survive a drop, those that grow."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

ROUNDING = 1e-3
"""So that a tenth of 50 weights is five of them, though 0.1 is a little less in binary."""


@partial(jax.jit, inline=True)
def largest(scores: Float[Array, "out in"], count: int | Int32[Array, ""]) -> Bool[Array, "out in"]:
    """Where the `count` largest scores are; of equal ones, those of the lowest row and column.

    `count` may be an array: nothing compiles again when it changes. The last one that is kept is
    found by halving the range of scores, then that of places, each time by counting: a few ms for
    65,536 scores where a sort takes 20.
    """
    bits = jax.lax.bitcast_convert_type(jnp.where(scores == 0, 0.0, scores), jnp.uint32)
    # Unsigned integers in the order of the floats, and of the places, the first one largest.
    keys = jnp.where(bits >> 31, ~bits, bits | jnp.uint32(1 << 31))
    ranks = jnp.uint32(scores.size - 1) - jax.lax.iota(jnp.uint32, scores.size)
    ranks = ranks.reshape(scores.shape)
    rank_bits = scores.size.bit_length()

    def reach(key: jax.Array, rank: jax.Array) -> Bool[Array, "out in"]:
        return (keys > key) | ((keys == key) & (ranks >= rank))

    def halve(i: jax.Array, least: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        step, of_key = i.astype(jnp.uint32), i < 32
        key = jnp.where(of_key, least[0] | (jnp.uint32(1 << 31) >> step), least[0])
        rank = least[1] | (jnp.uint32(1 << (rank_bits - 1)) >> (step - 32))
        rank = jnp.where(of_key, 0, rank)
        enough = jnp.sum(reach(key, rank)) >= count
        return jnp.where(enough, key, least[0]), jnp.where(enough, rank, least[1])

    return reach(*jax.lax.fori_loop(0, 32 + rank_bits, halve, (jnp.uint32(0), jnp.uint32(0))))


@partial(jax.jit, static_argnames="by_sign", inline=True)
def survivors(
    weight: Float[Array, "out in"],
    active: Bool[Array, "out in"],
    fraction: float | Float[Array, ""],
    by_sign: bool = False,
) -> Bool[Array, "out in"]:
    """The active places without the `fraction` (rounded down) of smallest magnitude.

    `by_sign`: that fraction of the positive weights, the smallest, and of the negative ones, the
    largest (SET, Mocanu et al. 2018); zeros count as positive.
    """
    if by_sign:
        positive, negative = active & (weight >= 0), active & (weight < 0)
        return survivors(weight, positive, fraction) | survivors(weight, negative, fraction)
    count = jnp.sum(active, dtype=jnp.int32)
    dropped = jnp.floor(fraction * count + ROUNDING).astype(jnp.int32)
    return largest(jnp.where(active, jnp.abs(weight), -1.0), count - dropped)


@partial(jax.jit, inline=True)
def grown(
    kept: Bool[Array, "out in"], scores: Float[Array, "out in"], count: int | Int32[Array, ""]
) -> Bool[Array, "out in"]:
    """`kept` and, of the other places, those of the largest scores, `count` places in all."""
    missing = count - jnp.sum(kept, dtype=jnp.int32)
    return kept | largest(jnp.where(kept, -jnp.inf, scores), missing)


def divergence(before: Float[Array, "out in"], after: Float[Array, "out in"]) -> jax.Array:
    """Sparse Architecture Divergence (SAD, 2602.14578): how many mask bits flipped.

    Takes two 0/1 masks; a weight that moves from one place to another flips two bits.
    """
    return jnp.sum(before != after)
