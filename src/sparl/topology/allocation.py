"""How many weights each layer of a network keeps: exact counts, decided before a layer is built.

A rule gives every layer a real-valued share. `apportion` turns the shares into whole numbers whose
sum is the budget to the last weight. All functions here are pure functions of shapes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Literal

from sparl.errors import BadValue

Rule = Literal["er", "erk", "uniform"]
RULES: tuple[Rule, ...] = ("er", "erk", "uniform")


def budget(total: int, sparsity: float) -> int:
    """The number of weights that a sparsity leaves.

    The share that is left out is rounded to the nearest weight, halves upwards.

    Args:
        total: Weights of the dense network.
        sparsity: Share of them that is left out, in [0, 1].
    """
    return total - math.floor(sparsity * total + 0.5)


def allocate(shapes: Sequence[tuple[int, ...]], kept: int, rule: Rule) -> list[int]:
    """The number of weights that each layer keeps; they add up to exactly `kept`.

    A layer whose density would exceed 1 becomes dense, and the rule is solved again for the others
    (RLx2, 2205.15043). Every layer keeps at least one weight.

    Args:
        shapes: (out, in) of each layer; a convolution's kernel sizes follow.
        kept: Weights that all layers keep together.
        rule: `uniform`: every layer has the same density. `er` (Erdos-Renyi; Mocanu et al. 2018):
            density in proportion to (n_in + n_out) / (n_in n_out). `erk` (Erdos-Renyi kernel;
            RigL, 1911.11134): adds a convolution's kernel sizes to the sum; for linear layers it
            is the same as `er`.

    Raises:
        BadValue: `kept` is above the number of weights, or below the number of layers. Another
            sparsity is the way out.
    """
    sizes = [math.prod(shape) for shape in shapes]
    if not len(shapes) <= kept <= sum(sizes):
        raise BadValue(
            f"{kept} weights cannot be shared among {len(shapes)} layers with {sum(sizes)}: "
            "at least one to a layer, at most all. Choose another sparsity"
        )
    # A layer's share is proportional to its size times its density.
    proportions = [
        size if rule == "uniform" else sum(shape if rule == "erk" else shape[:2])
        for shape, size in zip(shapes, sizes, strict=True)
    ]
    shares = [Fraction(size) for size in sizes]
    not_dense, remaining = set(range(len(sizes))), Fraction(kept)
    while not_dense:
        scale = remaining / sum(proportions[i] for i in not_dense)
        too_dense = {i for i in not_dense if scale * proportions[i] >= sizes[i]}
        if not too_dense:
            for i in not_dense:
                shares[i] = scale * proportions[i]
            break
        remaining -= sum(sizes[i] for i in too_dense)
        not_dense -= too_dense
    return apportion(shares, kept, sizes)


def allocate_beside(
    dense: Collection[int],
    shapes: Sequence[tuple[int, ...]],
    kept: int,
    rule: Rule,
    least_inputs: int = 0,
) -> list[int]:
    """`allocate` where some layers stay dense, within the same budget.

    Args:
        dense: Positions of layers that stay dense.
        shapes: As in `allocate`, of all layers.
        kept: Weights that all layers keep together, dense ones too.
        rule: As in `allocate`, for the other layers.
        least_inputs: Layers whose neurons would keep fewer inputs on average become dense, too, and
            the rule is solved again for the others. These then have fewer, so the order in which
            layers become dense does not matter.

    Raises:
        BadValue: The dense layers leave too few weights for the others.
    """
    sizes, chosen = [math.prod(shape) for shape in shapes], set(dense)
    while True:
        sparse = [i for i in range(len(shapes)) if i not in chosen]
        left = kept - sum(sizes[i] for i in chosen)
        try:
            allocated = allocate([shapes[i] for i in sparse], left, rule)
        except BadValue as error:
            if not chosen:
                raise
            enough = f" and neurons of the others keep {least_inputs} inputs on average"
            raise BadValue(
                f"{kept} weights are too few where {len(chosen)} of {len(shapes)} layers are dense"
                f"{enough if least_inputs else ''}. Choose a lower sparsity or wider layers"
                f"{', or smaller least_inputs' if least_inputs else ''}"
            ) from error
        counts = dict(zip(sparse, allocated, strict=True))
        narrow = {i for i, n in counts.items() if n < min(sizes[i], least_inputs * shapes[i][0])}
        if not narrow:
            return [counts.get(i, size) for i, size in enumerate(sizes)]
        chosen |= narrow


def apportion(shares: Sequence[Fraction], total: int, most: Sequence[int]) -> list[int]:
    """Whole numbers close to `shares` that add up to `total`.

    Shares are rounded down; then the largest remainders get one more each, and of equal remainders
    the first.

    Args:
        shares: What each entry should get.
        total: What all entries get together.
        most: The most that each entry may get; every entry gets at least 1.
    """
    counts = [
        min(limit, max(1, math.floor(share))) for share, limit in zip(shares, most, strict=True)
    ]
    # Shares below 1 were raised to 1, which may have taken the sum above the total.
    while sum(counts) > total:
        counts[counts.index(max(counts))] -= 1
    while sum(counts) < total:
        has_room = [i for i in range(len(counts)) if counts[i] < most[i]]
        counts[max(has_room, key=lambda i: (shares[i] - counts[i], -i))] += 1
    return counts
