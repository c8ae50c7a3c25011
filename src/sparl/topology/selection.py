"""Selections of places by score: the largest, those that survive a drop, those that grow."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

ROUNDING = 1e-3
"""Added before a number of weights is rounded down: a tenth of 50 weights is then five, although
0.1 in binary may be a little less."""


@partial(jax.jit, inline=True)
def largest(scores: Float[Array, "out in"], count: int | Int32[Array, ""]) -> Bool[Array, "out in"]:
    """A mask of the `count` largest scores; of equal scores, the lowest row and column win.

    The smallest score that is kept is found by bisection: first over the range of scores, then over
    the places, counting at each step. That takes a few ms for 65,536 scores, where a sort takes 20.

    Args:
        scores: Any floats, infinities included.
        count: May be an array: nothing compiles again when it changes.
    """
    bits = jax.lax.bitcast_convert_type(jnp.where(scores == 0, 0.0, scores), jnp.uint32)
    # Unsigned integers in the order of the floats.
    keys = jnp.where(bits >> 31, ~bits, bits | jnp.uint32(1 << 31))
    # Unsigned integers in the order of the places, the first place largest.
    ranks = jnp.uint32(scores.size - 1) - jax.lax.iota(jnp.uint32, scores.size)
    ranks = ranks.reshape(scores.shape)
    rank_bits = scores.size.bit_length()

    def at_or_above(key: jax.Array, rank: jax.Array) -> Bool[Array, "out in"]:
        return (keys > key) | ((keys == key) & (ranks >= rank))

    def bisect(i: jax.Array, least: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        step, over_keys = i.astype(jnp.uint32), i < 32
        key = jnp.where(over_keys, least[0] | (jnp.uint32(1 << 31) >> step), least[0])
        rank = least[1] | (jnp.uint32(1 << (rank_bits - 1)) >> (step - 32))
        rank = jnp.where(over_keys, 0, rank)
        enough = jnp.sum(at_or_above(key, rank)) >= count
        return jnp.where(enough, key, least[0]), jnp.where(enough, rank, least[1])

    start = (jnp.uint32(0), jnp.uint32(0))
    return at_or_above(*jax.lax.fori_loop(0, 32 + rank_bits, bisect, start))


@partial(jax.jit, static_argnames="by_sign", inline=True)
def drop_smallest(
    weight: Float[Array, "out in"],
    active: Bool[Array, "out in"],
    fraction: float | Float[Array, ""],
    by_sign: bool = False,
) -> Bool[Array, "out in"]:
    """A mask of the active places that survive a drop of the smallest magnitudes.

    Args:
        weight: The values whose magnitudes are compared.
        active: Where weights are in use.
        fraction: Share of the active places that is dropped; their number is rounded down.
        by_sign: Drops that share of the positive weights and the same share of the negative ones,
            in both cases those closest to zero (SET, Mocanu et al. 2018). Zeros count as positive.
    """
    if by_sign:
        positive, negative = active & (weight >= 0), active & (weight < 0)
        return drop_smallest(weight, positive, fraction) | drop_smallest(weight, negative, fraction)
    count = jnp.sum(active, dtype=jnp.int32)
    dropped = jnp.floor(fraction * count + ROUNDING).astype(jnp.int32)
    return largest(jnp.where(active, jnp.abs(weight), -1.0), count - dropped)


@partial(jax.jit, inline=True)
def grow(
    kept: Bool[Array, "out in"], scores: Float[Array, "out in"], count: int | Int32[Array, ""]
) -> Bool[Array, "out in"]:
    """A mask of `count` places: all of `kept`, and of the others those with the largest scores."""
    missing = count - jnp.sum(kept, dtype=jnp.int32)
    return kept | largest(jnp.where(kept, -jnp.inf, scores), missing)


def divergence(before: Float[Array, "out in"], after: Float[Array, "out in"]) -> jax.Array:
    """Sparse Architecture Divergence (SAD, 2602.14578): the number of mask bits that flipped.

    A weight that moves from one place to another flips two bits.

    Args:
        before: A mask of zeros and ones.
        after: A later mask of the same layer.
    """
    return jnp.sum(before != after)
