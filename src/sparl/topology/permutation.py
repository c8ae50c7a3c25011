"""An order of columns in which an N:M pattern keeps more (Pool & Yu, NeurIPS 2021)."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, PRNGKeyArray

from sparl.topology.patterns import NofM, sum_row_groups


@partial(jax.jit, static_argnames=("pattern", "swaps"), inline=True)
def permute_columns(
    pattern: NofM, scores: Float[Array, "out in"], swaps: int, key: PRNGKeyArray
) -> Int32[Array, " in"]:
    """An order of the columns in which `pattern` keeps a larger sum of scores.

    A greedy search: it draws `swaps` random pairs of columns from different groups, and exchanges a
    pair if that raises the sum which its two groups keep. Pool & Yu (NeurIPS 2021) also escape from
    local optima; this search does not.

    Args:
        pattern: N:M or N:MxV; a last group that is shorter than M stays as it is.
        scores: Not negative.
        swaps: Pairs that are tried.
        key: Draws the pairs.

    Returns:
        The old column at each new position.
    """
    scores = sum_row_groups(scores, pattern.v)
    groups = scores.shape[1] // pattern.m
    order = jnp.arange(scores.shape[1], dtype=jnp.int32)
    if groups < 2:
        return order

    def sum_kept(columns: Int32[Array, "two m"]) -> jax.Array:
        ascending = jnp.sort(jnp.moveaxis(scores[:, columns], 0, -1), axis=1)
        return jnp.sum(ascending[:, pattern.m - pattern.n :])

    def try_swap(i: jax.Array, order: Int32[Array, " in"]) -> Int32[Array, " in"]:
        draw = jax.random.randint(jax.random.fold_in(key, i), (4,), 0, 2**30)
        first = draw[0] % groups
        second = (first + 1 + draw[1] % (groups - 1)) % groups
        a, b = first * pattern.m + draw[2] % pattern.m, second * pattern.m + draw[3] % pattern.m
        swapped = order.at[a].set(order[b]).at[b].set(order[a])
        both = jnp.stack([first, second])[:, None] * pattern.m + jnp.arange(pattern.m)
        return jnp.where(sum_kept(swapped[both]) > sum_kept(order[both]), swapped, order)

    return jax.lax.fori_loop(0, swaps, try_swap, order)
