"""A hard instance for online sparse RL: `gymnasium.make("sparl/HardSparse-v0", m=64, seed=3)`.

Hao et al. (2021, 2011.04018) show that a learner without an exploratory policy has regret linear in
the number of episodes N while N is below the dimension d. That holds even if a policy exists that
would collect well-conditioned data. This instance shows it in figures. It was constructed for this
project and is not the paper's own.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import hadamard

from sparl import validation
from sparl.errors import BadValue
from sparl.linear_mdp.mdp import SparseLinearMDP

START, GOOD, GOAL, BAD = range(4)
"""The states x0, xI, xg and xb."""


class HardSparse(SparseLinearMDP):
    """Of the m actions of the start state, only the secret action k leads to any reward.

    There are d = m + 4 features: coordinates 1 to m, u, v, g, b.

    - Action j of x0 has the features e_j + e_u.
    - The actions of xI are the rows eps of a Hadamard matrix of order m, and their negatives. Their
      features are eps / 4 in the coordinates 1 to m, and 1 at v.
    - xg and xb are absorbing and have the features e_g and e_b.

    The rows of psi that are not 0 are those of k, u, v, g and b. They are such that

    - from x0, action k leads to xI, and every other action leads to xb;
    - from xI, an action stays with probability 1/2 + eps_k/4, leads to xg with 1/4, and leads to xb
      with 1/4 - eps_k/4.

    The reward is 1 in xI and xg, and 0 elsewhere. The best value is H - 1; a learner that has not
    found k gets 0. The exploratory policy takes k, and is uniform afterwards. Its smallest
    eigenvalue does not depend on m, while that of the uniform policy falls like 1/m.

    Attributes:
        secret: k, counted from 0.
        choices: m.
    """

    def __init__(self, m: int = 16, H: int = 6, k: int | None = None, seed: int = 0) -> None:
        """A hard instance.

        Args:
            m: Actions of the start state, a power of 2.
            H: The horizon, at least 2.
            k: The secret action, counted from 0; `seed` draws it if it is None.
            seed: Of k only. The seed of `reset` decides the episodes.

        Raises:
            BadValue: A value is out of these ranges.
        """
        validation.at_least(2, m=m, H=H)
        validation.at_least(0, seed=seed)
        if m & (m - 1):
            raise BadValue(f"m is {m}: it must be a power of 2, as 64 or 128")
        if k is not None and not 0 <= k < m:
            raise BadValue(f"k is {k}: there are the actions 0 to {m - 1}")
        self.secret = int(np.random.default_rng(seed).integers(m)) if k is None else k
        self.choices = m
        u, v, g, b = range(m, m + 4)
        unit = np.eye(m + 4)
        rows = hadamard(m).astype(float)
        rows = np.concatenate([rows, -rows])
        good = np.zeros((2 * m, m + 4))
        good[:, :m], good[:, v] = rows / 4, 1.0
        psi = np.zeros((m + 4, 4))
        psi[:, GOOD] = unit[self.secret] + unit[v] / 2
        psi[:, GOAL] = unit[g] + unit[v] / 4
        psi[:, BAD] = unit[u] - unit[self.secret] + unit[b] + unit[v] / 4
        uniform, only_action = np.full(2 * m, 0.5 / m), np.ones(1)
        super().__init__(
            features=[unit[:m] + unit[u], good, unit[[g]], unit[[b]]],
            psi=psi,
            rewards=[np.zeros(m), np.ones(2 * m), np.ones(1), np.zeros(1)],
            horizon=H,
            exploratory=[unit[self.secret, :m], uniform, only_action, only_action],
        )

    def lower_bound(self, episodes: int) -> float:
        """The least expected regret of any learner without an exploratory policy, for a uniform k.

        It is (H - 1) N (1 - (N + 1) / (2 m)): after n episodes the learner has found k with
        probability n / m at most, and before that it gets nothing.

        Args:
            episodes: N, at most m.

        Raises:
            BadValue: N is above m, where the bound does not hold.
        """
        if episodes > self.choices:
            raise BadValue(f"the bound is for at most m = {self.choices} episodes, not {episodes}")
        return (self.horizon - 1) * episodes * (1 - (episodes + 1) / (2 * self.choices))
