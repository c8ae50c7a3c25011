"""Which weights of a layer are kept: pure selections over a matrix of scores.

A pattern is a rule about counts ("at most 2 of every 4 in a row"); `select` applies it to
scores and answers with the kept places. Nothing here knows of values, layers or learning.
Ties go to the lower column, so a selection never depends on how a sort is implemented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl.errors import BadValue

MAX_GROUP = 16


class Kept(NamedTuple):
    """Places kept in an [out, in] matrix, row after row, columns ascending within a row.

    `columns[row_starts[r]:row_starts[r + 1]]` are the kept columns of row r.
    """

    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " rows"]  # out + 1 of them


@dataclass(frozen=True)
class NofM:
    """Row-wise N:M: in every row, at most `n` of every `m` consecutive inputs are kept.

    A last group that is shorter than `m` counts as if padded with zeros, and padding is never
    kept (our reading of 2602.14578): it keeps min(n, its length). With fewer inputs than `m`
    the whole row is that one short group.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m <= MAX_GROUP:
            raise BadValue(
                f"pattern {self.n}:{self.m} is not possible: N:M keeps N of every M weights, "
                f"with 1 <= N <= M <= {MAX_GROUP}, for example 2:4 or 1:8"
            )

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @classmethod
    def parse(cls, text: str) -> NofM:
        """`"2:4"` to `NofM(2, 4)`. Raises `BadValue` for anything else."""
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", text)
        if match is None:
            raise BadValue(f"pattern {text!r} is not of the form N:M, for example 2:4 or 1:8")
        return cls(int(match[1]), int(match[2]))

    def kept_per_row(self, in_features: int) -> int:
        full, rest = divmod(in_features, self.m)
        return full * self.n + min(self.n, rest)

    def count(self, out_features: int, in_features: int) -> int:
        return out_features * self.kept_per_row(in_features)

    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The `n` largest scores of each group."""
        out_features, in_features = scores.shape
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

    def select(self, scores: Float[Array, "out in"]) -> Kept:
        """The `kept` largest scores of the layer."""
        out_features, in_features = scores.shape
        order = jnp.argsort(scores.reshape(-1), descending=True, stable=True)
        places = jnp.sort(order[: self.kept])
        row_starts = jnp.searchsorted(places, in_features * jnp.arange(out_features + 1))
        return Kept((places % in_features).astype(jnp.int32), row_starts.astype(jnp.int32))


Pattern = NofM | PerRow | PerLayer


def _even_rows(columns: Int32[Array, "out per_row"]) -> Kept:
    out_features, per_row = columns.shape
    row_starts = per_row * jnp.arange(out_features + 1, dtype=jnp.int32)
    return Kept(columns.reshape(-1).astype(jnp.int32), row_starts)


def divergence(before: Float[Array, "out in"], after: Float[Array, "out in"]) -> jax.Array:
    """Sparse Architecture Divergence (SAD, 2602.14578): how many mask bits flipped.

    Takes two 0/1 masks; a weight that moves from one place to another flips two bits.
    """
    return jnp.sum(before != after)
