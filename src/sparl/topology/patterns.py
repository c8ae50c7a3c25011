"""Which weights of a layer are kept: patterns, which select places by a matrix of scores.

A pattern is a rule about counts, for example "at most 2 of every 4 in a row". Its `select` applies
the rule to scores and returns the kept places. Nothing here knows of values, layers or learning.

Of equal scores the lower column is kept, so a selection does not depend on how a sort is
implemented. Every selection is compiled as a whole, because its caller may not be compiled.
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
"""The largest M of N:M."""
MAX_SHARED_ROWS = 16
"""The largest V: rows that keep the same columns."""


class Kept(NamedTuple):
    """The kept places of an [out, in] matrix, row by row.

    `columns[row_starts[r]:row_starts[r + 1]]` are the kept columns of row r, ascending.
    """

    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " row_starts"]
    """out + 1 offsets into `columns`."""

    @classmethod
    @partial(jax.jit, static_argnums=(0, 2), inline=True)
    def of(cls, mask: Bool[Array, "out in"], count: int) -> Kept:
        """The places where `mask` is true; it must be true at exactly `count` of them."""
        # A sort, because `jnp.nonzero` is no faster and takes six times as long to compile.
        all_places = jnp.arange(mask.size, dtype=jnp.int32)
        places = jnp.sort(jnp.where(mask.reshape(-1), all_places, mask.size))[:count]
        row_starts = jnp.cumsum(jnp.sum(mask, axis=1, dtype=jnp.int32))
        return cls(places % mask.shape[1], jnp.pad(row_starts, (1, 0)))


@dataclass(frozen=True)
class NofM:
    """Row-wise N:M: in every row, at most `n` of every `m` consecutive inputs are kept.

    A last group that is shorter than `m` keeps min(n, its length): we read 2602.14578 as padding it
    with zeros that are never kept. A row with fewer inputs than `m` is one such short group.

    With `v` above 1, written N:MxV, every `v` consecutive rows keep the same columns: those whose
    scores, summed over the rows, are largest. A last group of rows may be shorter than `v`.

    Raises:
        BadValue: The counts contradict each other, or exceed what can be stored.
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
        _check_shared_rows(self)

    def __str__(self) -> str:
        return f"{self.n}:{self.m}" + (f"x{self.v}" if self.v != 1 else "")

    @classmethod
    def parse(cls, text: str) -> NofM:
        """The pattern that a text names: `"2:4"` is `NofM(2, 4)`, `"1:8x4"` is `NofM(1, 8, 4)`.

        Raises:
            BadValue: The text has another form, or its counts are not possible.
        """
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*(?:x\s*(\d+)\s*)?", text)
        if match is None:
            raise BadValue(
                f"pattern {text!r} is not of the form N:M or N:MxV, for example 2:4, 1:8 or 1:8x4"
            )
        return cls(int(match[1]), int(match[2]), int(match[3] or 1))

    def kept_per_row(self, in_features: int) -> int:
        """The number of weights that each row keeps."""
        full_groups, last_group = divmod(in_features, self.m)
        return full_groups * self.n + min(self.n, last_group)

    def count(self, out_features: int, in_features: int) -> int:
        """The number of weights that a layer of this shape keeps."""
        return out_features * self.kept_per_row(in_features)

    @partial(jax.jit, static_argnums=0, inline=True)
    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The places of the `n` largest scores of each group.

        Where rows share their columns, the sums of their scores are compared.
        """
        out_features, in_features = scores.shape
        if self.v > 1:
            one_row_pattern = NofM(self.n, self.m)
            columns = one_row_pattern.select(sum_row_groups(scores, self.v)).columns.reshape(
                -1, one_row_pattern.kept_per_row(in_features)
            )
            return _kept_in_even_rows(jnp.repeat(columns, self.v, axis=0)[:out_features])
        groups = -(-in_features // self.m)
        padding = groups * self.m - in_features
        padded = jnp.pad(scores, ((0, 0), (0, padding)), constant_values=-jnp.inf)
        order = jnp.argsort(
            padded.reshape(out_features, groups, self.m), axis=-1, descending=True, stable=True
        )
        offsets = jnp.sort(order[..., : self.n], axis=-1)
        columns = offsets + self.m * jnp.arange(groups)[:, None]
        # Padding has the largest offsets of the last group, so cutting rows short drops only it.
        kept = self.kept_per_row(in_features)
        return _kept_in_even_rows(columns.reshape(out_features, -1)[:, :kept])


@dataclass(frozen=True)
class PerRow:
    """The same number of weights in every row, at any columns.

    With `v` above 1 every `v` consecutive rows keep the same columns, as in `NofM`.
    """

    kept: int
    v: int = 1

    def __post_init__(self) -> None:
        if self.kept < 1:
            raise BadValue(f"{self.kept} kept weights per row: a row keeps at least 1")
        _check_shared_rows(self)

    def __str__(self) -> str:
        return f"{self.kept} per row" + (f" x{self.v}" if self.v != 1 else "")

    def count(self, out_features: int, in_features: int) -> int:
        """The number of weights that a layer of this shape keeps."""
        return out_features * min(self.kept, in_features)

    @partial(jax.jit, static_argnums=0, inline=True)
    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The places of the `kept` largest scores of each row, or of the largest sums over rows."""
        summed = sum_row_groups(scores, self.v) if self.v > 1 else scores
        order = jnp.argsort(summed, axis=-1, descending=True, stable=True)
        columns = jnp.sort(order[:, : self.kept], axis=-1)
        return _kept_in_even_rows(jnp.repeat(columns, self.v, axis=0)[: scores.shape[0]])


@dataclass(frozen=True)
class PerLayer:
    """A number of weights for the whole layer; rows may keep different numbers, or none."""

    kept: int

    def __post_init__(self) -> None:
        if self.kept < 1:
            raise BadValue(f"{self.kept} kept weights per layer: a layer keeps at least 1")

    def __str__(self) -> str:
        return f"{self.kept} per layer"

    def count(self, out_features: int, in_features: int) -> int:
        """The number of weights that a layer of this shape keeps."""
        return min(self.kept, out_features * in_features)

    @partial(jax.jit, static_argnums=0, inline=True)
    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The places of the `kept` largest scores of the layer."""
        count = self.count(*scores.shape)
        return Kept.of(largest(scores, count), count)


Pattern = NofM | PerRow | PerLayer


def _check_shared_rows(pattern: NofM | PerRow) -> None:
    """Raises `BadValue` for a V that cannot be."""
    if not 1 <= pattern.v <= MAX_SHARED_ROWS:
        raise BadValue(
            f"pattern {pattern} is not possible: V, the rows that share their choice, must be from "
            f"1 to {MAX_SHARED_ROWS}, for example 4"
        )


def sum_row_groups(scores: Float[Array, "out in"], v: int) -> Float[Array, "groups in"]:
    """The sum of every `v` consecutive rows; the last group may have fewer."""
    padded = jnp.pad(scores, ((0, -scores.shape[0] % v), (0, 0)))
    return jnp.sum(padded.reshape(-1, v, scores.shape[1]), axis=1)


def _kept_in_even_rows(columns: Int32[Array, "out per_row"]) -> Kept:
    """The kept places of rows that all keep the same number of columns."""
    out_features, per_row = columns.shape
    row_starts = per_row * jnp.arange(out_features + 1, dtype=jnp.int32)
    return Kept(columns.reshape(-1).astype(jnp.int32), row_starts)
