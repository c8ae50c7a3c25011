"""Which weights of a layer are kept: patterns, selections and budgets."""

from sparl.topology.allocation import RULES, Rule, allocate, allocate_beside, apportion, budget
from sparl.topology.patterns import Kept, NofM, Pattern, PerLayer, PerRow, sum_row_groups
from sparl.topology.permutation import permute_columns
from sparl.topology.selection import ROUNDING, divergence, drop_smallest, grow, largest

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
    "allocate_beside",
    "apportion",
    "budget",
    "divergence",
    "drop_smallest",
    "grow",
    "largest",
    "permute_columns",
    "sum_row_groups",
]
