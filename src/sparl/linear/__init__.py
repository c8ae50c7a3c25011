"""Sparse linear MDPs: thousands of candidate features, few of which matter.

`LassoFQI` finds them; `HardSparse` (`sparl/HardSparse-v0`) is where that is hard for others.
"""

from sparl.linear.baselines import LSVI, Committed, RidgeFQI, commit
from sparl.linear.hard import HardSparse
from sparl.linear.lasso_fqi import FQI, LassoFQI, LinearQ, exploration
from sparl.linear.mdp import SparseLinearMDP
from sparl.linear.transitions import Transitions, collect, uniformly

__all__ = [
    "FQI",
    "LSVI",
    "Committed",
    "HardSparse",
    "LassoFQI",
    "LinearQ",
    "RidgeFQI",
    "SparseLinearMDP",
    "Transitions",
    "collect",
    "commit",
    "exploration",
    "uniformly",
]
