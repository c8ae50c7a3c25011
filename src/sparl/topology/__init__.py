"""Which weights of a layer are kept: patterns, selections and budgets."""

from sparl.topology.allocation import RULES, Rule, allocate, apportion, budget
from sparl.topology.patterns import Kept, NofM, Pattern, PerLayer, PerRow
from sparl.topology.permutation import permuted_for
from sparl.topology.selection import ROUNDING, divergence, grown, largest, survivors

__all__ = [
    "ROUNDING",
    "RULES",
    "Kept",
    "NofM",
    "Pattern",
    "PerLayer",
    "PerRow",
    "Rule",
    "allocate",
    "apportion",
    "budget",
    "divergence",
    "grown",
    "largest",
    "permuted_for",
    "survivors",
]
