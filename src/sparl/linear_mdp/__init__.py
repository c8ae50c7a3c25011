"""Sparse linear MDPs: thousands of candidate features, of which few matter.

`LassoFQI` finds those few. Two environments show what for: on `HardSparse` (`sparl/HardSparse-v0`)
learners without an exploratory policy fail, on `SpreadSparse` (`sparl/SpreadSparse-v0`) those
without a Lasso.
"""

from sparl.linear_mdp.baselines import LSVI, Committed, RidgeFQI, commit, greedy_in
from sparl.linear_mdp.exploring import FewActions
from sparl.linear_mdp.hard import HardSparse
from sparl.linear_mdp.lasso_fqi import FQI, LassoFQI, LinearQ, Regression, exploration
from sparl.linear_mdp.mdp import SparseLinearMDP
from sparl.linear_mdp.spread import SpreadSparse
from sparl.linear_mdp.steering import Steering
from sparl.linear_mdp.transitions import Table, Transitions, collect, of_episodes, uniformly

__all__ = [
    "FQI",
    "LSVI",
    "Committed",
    "FewActions",
    "HardSparse",
    "LassoFQI",
    "LinearQ",
    "Regression",
    "RidgeFQI",
    "SparseLinearMDP",
    "SpreadSparse",
    "Steering",
    "Table",
    "Transitions",
    "collect",
    "commit",
    "exploration",
    "greedy_in",
    "of_episodes",
    "uniformly",
]
