"""Which weights of a layer are kept: pure selections over a matrix of scores.

A pattern is a rule about counts ("at most 2 of every 4 in a row"); `select` applies it to
scores and answers with the kept places. Nothing here knows of values, layers or learning.
Ties go to the lower column, so a selection never depends on how a sort is implemented. Selections
are compiled as a whole, for where nothing around them is compiled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, PRNGKeyArray

from sparl.errors import BadValue

MAX_GROUP = 16
MAX_SHARED = 16
"""Rows that can share one choice of columns."""
ROUNDING = 1e-3
"""So that a tenth of 50 weights is five of them, though 0.1 is a little less in binary."""


class Kept(NamedTuple):
    """Places kept in an [out, in] matrix, row after row, columns ascending within a row.

    `columns[row_starts[r]:row_starts[r + 1]]` are the kept columns of row r.
    """

    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " rows"]  # out + 1 of them

    @classmethod
    @partial(jax.jit, static_argnums=(0, 2), inline=True)
    def of(cls, mask: Bool[Array, "out in"], count: int) -> Kept:
        """The places where `mask` is true; there must be `count` of them."""
        # Sorted: `jnp.nonzero` is no faster and takes six times as long to compile.
        everywhere = jnp.arange(mask.size, dtype=jnp.int32)
        places = jnp.sort(jnp.where(mask.reshape(-1), everywhere, mask.size))[:count]
        row_starts = jnp.cumsum(jnp.sum(mask, axis=1, dtype=jnp.int32))
        return cls(places % mask.shape[1], jnp.pad(row_starts, (1, 0)))


@dataclass(frozen=True)
class NofM:
    """Row-wise N:M: in every row, at most `n` of every `m` consecutive inputs are kept.

    A last group that is shorter than `m` counts as if padded with zeros, and padding is never
    kept (our reading of 2602.14578): it keeps min(n, its length). With fewer inputs than `m`
    the whole row is that one short group.

    With `v` above 1, written N:MxV, every `v` consecutive rows keep the same columns, those of the
    largest sums of scores over the rows. A last group of rows may be shorter.
    """

    n: int
    m: int
    v: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m <= MAX_GROUP:
            raise BadValue(
                f"pattern {self.n}:{self.m} is not possible: N:M keeps N of every M weights, "
                f"with 1 <= N <= M <= {MAX_GROUP}, for example 2:4 or 1:8"
            )
        if not 1 <= self.v <= MAX_SHARED:
            raise BadValue(
                f"pattern {self} is not possible: V of N:MxV, the rows that share their choice, "
                f"must be from 1 to {MAX_SHARED}, for example 1:8x4"
            )

    def __str__(self) -> str:
        return f"{self.n}:{self.m}" + (f"x{self.v}" if self.v != 1 else "")

    @classmethod
    def parse(cls, text: str) -> NofM:
        """`"2:4"` to `NofM(2, 4)`, `"1:8x4"` to `NofM(1, 8, 4)`. Raises `BadValue` for others."""
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*(?:x\s*(\d+)\s*)?", text)
        if match is None:
            raise BadValue(
                f"pattern {text!r} is not of the form N:M or N:MxV, for example 2:4, 1:8 or 1:8x4"
            )
        return cls(int(match[1]), int(match[2]), int(match[3] or 1))

    def kept_per_row(self, in_features: int) -> int:
        full, rest = divmod(in_features, self.m)
        return full * self.n + min(self.n, rest)

    def count(self, out_features: int, in_features: int) -> int:
        return out_features * self.kept_per_row(in_features)

    @partial(jax.jit, static_argnums=0, inline=True)
    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The `n` largest scores of each group, or sums of scores where rows share a choice."""
        out_features, in_features = scores.shape
        if self.v > 1:
            alone = NofM(self.n, self.m)
            columns = alone.select(_summed(scores, self.v)).columns.reshape(
                -1, alone.kept_per_row(in_features)
            )
            return _even_rows(jnp.repeat(columns, self.v, axis=0)[:out_features])
        groups = -(-in_features // self.m)
        padding = groups * self.m - in_features
        padded = jnp.pad(scores, ((0, 0), (0, padding)), constant_values=-jnp.inf)
        order = jnp.argsort(
            padded.reshape(out_features, groups, self.m), axis=-1, descending=True, stable=True
        )
        offsets = jnp.sort(order[..., : self.n], axis=-1)
        columns = offsets + self.m * jnp.arange(groups)[:, None]
        # Padding has the largest offsets of the last group: cutting the row off drops it alone.
        kept = self.kept_per_row(in_features)
        return _even_rows(columns.reshape(out_features, -1)[:, :kept])


@dataclass(frozen=True)
class PerRow:
    """The same number of kept weights in every row, anywhere in it."""

    kept: int

    def __post_init__(self) -> None:
        if self.kept < 1:
            raise BadValue(f"{self.kept} kept weights per row: a row keeps at least 1")

    def __str__(self) -> str:
        return f"{self.kept} per row"

    def count(self, out_features: int, in_features: int) -> int:
        return out_features * min(self.kept, in_features)

    @partial(jax.jit, static_argnums=0, inline=True)
    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The `kept` largest scores of each row."""
        order = jnp.argsort(scores, axis=-1, descending=True, stable=True)
        return _even_rows(jnp.sort(order[:, : self.kept], axis=-1))


@dataclass(frozen=True)
class PerLayer:
    """A number of kept weights for the whole layer; rows may differ, and may be empty."""

    kept: int

    def __post_init__(self) -> None:
        if self.kept < 1:
            raise BadValue(f"{self.kept} kept weights per layer: a layer keeps at least 1")

    def __str__(self) -> str:
        return f"{self.kept} per layer"

    def count(self, out_features: int, in_features: int) -> int:
        return min(self.kept, out_features * in_features)

    @partial(jax.jit, static_argnums=0, inline=True)
    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The `kept` largest scores of the layer."""
        count = self.count(*scores.shape)
        return Kept.of(largest(scores, count), count)


Pattern = NofM | PerRow | PerLayer


def _summed(scores: Float[Array, "out in"], v: int) -> Float[Array, "groups in"]:
    """The sums of every `v` consecutive rows; the last one may be of fewer."""
    padded = jnp.pad(scores, ((0, -scores.shape[0] % v), (0, 0)))
    return jnp.sum(padded.reshape(-1, v, scores.shape[1]), axis=1)


def _even_rows(columns: Int32[Array, "out per_row"]) -> Kept:
    out_features, per_row = columns.shape
    row_starts = per_row * jnp.arange(out_features + 1, dtype=jnp.int32)
    return Kept(columns.reshape(-1).astype(jnp.int32), row_starts)


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


@partial(jax.jit, static_argnames=("pattern", "swaps"), inline=True)
def permuted_for(
    pattern: NofM, scores: Float[Array, "out in"], swaps: int, key: PRNGKeyArray
) -> Int32[Array, " in"]:
    """An order of the columns in which `pattern` keeps more of the scores, which are not negative.

    Greedy: of `swaps` random pairs of columns from different groups, those are exchanged that
    raise what their two groups keep (a search of Pool & Yu, NeurIPS 2021, without its escapes from
    local optima). A last group that is shorter than M is left as it is.
    """
    groups = scores.shape[1] // pattern.m
    order = jnp.arange(scores.shape[1], dtype=jnp.int32)
    if groups < 2:
        return order

    def kept(places: Int32[Array, "two m"]) -> jax.Array:
        chosen = jnp.sort(jnp.moveaxis(scores[:, places], 0, -1), axis=1)
        return jnp.sum(chosen[:, pattern.m - pattern.n :])

    def attempt(i: jax.Array, order: Int32[Array, " in"]) -> Int32[Array, " in"]:
        draw = jax.random.randint(jax.random.fold_in(key, i), (4,), 0, 2**30)
        first = draw[0] % groups
        second = (first + 1 + draw[1] % (groups - 1)) % groups
        a, b = first * pattern.m + draw[2] % pattern.m, second * pattern.m + draw[3] % pattern.m
        swapped = order.at[a].set(order[b]).at[b].set(order[a])
        both = jnp.stack([first, second])[:, None] * pattern.m + jnp.arange(pattern.m)
        return jnp.where(kept(swapped[both]) > kept(order[both]), swapped, order)

    return jax.lax.fori_loop(0, swaps, attempt, order)


def divergence(before: Float[Array, "out in"], after: Float[Array, "out in"]) -> jax.Array:
    """Sparse Architecture Divergence (SAD, 2602.14578): how many mask bits flipped.

    Takes two 0/1 masks; a weight that moves from one place to another flips two bits.
    """
    return jnp.sum(before != after)
