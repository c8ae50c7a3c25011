"""What sets variants apart from one of them, and whether so many seeds can tell.

Differences are paired by seed: runs of one seed begin with the same networks and episodes. Nothing
whose 95 % interval includes 0 is called a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparl.analysis import statistics
from sparl.analysis.variant import Variant
from sparl.errors import BadValue

USUAL = "dense"
"""The variant that others are compared with if none is named; else the first."""


@dataclass(frozen=True)
class Difference:
    """A variant's returns beside those of another one, over the seeds that both have."""

    label: str
    against: str
    seeds: tuple[int, ...]
    mean: float
    """Of the policies' returns, seed by seed: the variant's minus the other's."""
    resolution: float | None
    """The smallest mean that so many seeds can tell: half of the mean's 95 % interval. None for one
    seed."""
    probability_of_improvement: float
    """How likely a run of the variant is above one of the other, over all pairs of runs."""

    @property
    def is_one(self) -> bool:
        """Whether so many seeds tell that there is a difference."""
        return self.resolution is not None and abs(self.mean) > self.resolution

    @property
    def verdict(self) -> str:
        """In words."""
        if self.resolution is None:
            return "one seed tells nothing"
        if not self.is_one:
            return "not told apart"
        return "better" if self.mean > 0 else "worse"

    def as_dict(self) -> dict[str, Any]:
        """All figures in a form that can be written as JSON."""
        return vars(self) | {"seeds": list(self.seeds), "verdict": self.verdict}


def differences(variants: Sequence[Variant], against: str | None = None) -> tuple[Difference, ...]:
    """Compares every variant with one of them, where they share seeds.

    Args:
        against: The label of that one; if not given, `dense`, or else the first.

    Raises:
        BadValue: No variant has that label.
    """
    labels = [variant.label for variant in variants]
    if against is None:
        against = USUAL if USUAL in labels else labels[0]
    if against not in labels:
        raise BadValue(f"against is {against!r}: the variants are {', '.join(labels)}")
    one = variants[labels.index(against)]
    found = (_difference(variant, one) for variant in variants if variant is not one)
    return tuple(difference for difference in found if difference.seeds)


def _difference(variant: Variant, other: Variant) -> Difference:
    of_variant = dict(zip(variant.seeds, variant.policy_returns, strict=True))
    of_other = dict(zip(other.seeds, other.policy_returns, strict=True))
    seeds = tuple(seed for seed in variant.seeds if seed in of_other)
    apart = [of_variant[seed] - of_other[seed] for seed in seeds]
    return Difference(
        variant.label,
        other.label,
        seeds,
        float(np.mean(apart)) if apart else 0.0,
        statistics.resolution(apart),
        statistics.probability_of_improvement(variant.policy_returns, other.policy_returns),
    )
