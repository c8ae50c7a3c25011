"""How many weights each layer of a network keeps: exact counts, decided before anything is made.

Real-valued shares come from a rule; `apportion` turns them into whole numbers whose sum is the
budget to the last weight. Pure functions of shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from sparl.errors import BadValue

Rule = Literal["er", "erk", "uniform"]
RULES: tuple[Rule, ...] = ("er", "erk", "uniform")


def budget(total: int, sparsity: float) -> int:
    """Weights that are left of `total` at a sparsity: the share left out is rounded to the
    nearest weight."""
    return total - math.floor(sparsity * total + 0.5)


def allocate(shapes: Sequence[tuple[int, ...]], kept: int, rule: Rule) -> list[int]:
    """Weights that each layer keeps so that all keep exactly `kept`.

    `uniform`: every layer has the same density. `er` (Erdos-Renyi; Mocanu et al. 2018): density
    in proportion to (n_in + n_out) / (n_in n_out). `erk` (Erdos-Renyi kernel, RigL, 1911.11134)
    counts a convolution's kernel sizes in the sum as well; for linear layers it is the same. A
    layer whose density would exceed 1 becomes dense, and the rule is solved again for the others
    (RLx2, 2205.15043). Every layer keeps at least one weight.

    Raises `BadValue` where `kept` is more than there are, or fewer than there are layers.
    """
    sizes = [math.prod(shape) for shape in shapes]
    if not len(shapes) <= kept <= sum(sizes):
        raise BadValue(
            f"{kept} weights cannot be shared among {len(shapes)} layers with {sum(sizes)}: "
            "at least one to a layer, at most all. Choose another sparsity"
        )
    # What a layer gets is in proportion to size times density.
    parts = [
        size if rule == "uniform" else sum(shape if rule == "erk" else shape[:2])
        for shape, size in zip(shapes, sizes, strict=True)
    ]
    shares = [Fraction(size) for size in sizes]
    open_layers, left = set(range(len(sizes))), Fraction(kept)
    while open_layers:
        scale = left / sum(parts[i] for i in open_layers)
        full = {i for i in open_layers if scale * parts[i] >= sizes[i]}
        if not full:
            for i in open_layers:
                shares[i] = scale * parts[i]
            break
        left -= sum(sizes[i] for i in full)
        open_layers -= full
    return apportion(shares, kept, sizes)


def apportion(shares: Sequence[Fraction], total: int, most: Sequence[int]) -> list[int]:
    """Whole numbers close to `shares` that add up to `total`, each from 1 to its `most`.

    Rounded down, then one more for the largest remainders, the first of equal ones.
    """
    counts = [
        min(limit, max(1, math.floor(share))) for share, limit in zip(shares, most, strict=True)
    ]
    while sum(counts) > total:  # ones that were raised from 0
        counts[counts.index(max(counts))] -= 1
    while sum(counts) < total:
        room = [i for i in range(len(counts)) if counts[i] < most[i]]
        counts[max(room, key=lambda i: (shares[i] - counts[i], -i))] += 1
    return counts
