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
from jaxtyping import Array, Bool, Float, Int32

from sparl.errors import BadValue
from sparl.topology.selection import largest

MAX_GROUP = 16
MAX_SHARED = 16
"""Rows that can share one choice of columns."""


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
