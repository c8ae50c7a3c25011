"""A hard instance for online sparse RL: `gymnasium.make("sparl/HardSparse-v0", m=64, seed=3)`.

Hao et al. (2021, 2011.04018) show that regret is linear in the number of episodes N, as long as
that is below the dimension d, for learners that have no exploratory policy, although one exists
that would collect well-conditioned data. This instance was constructed for this project, to show
that in figures; it is not the paper's own.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import hadamard

from sparl import validation
from sparl.errors import BadValue
from sparl.linear_mdp.mdp import SparseLinearMDP

START, GOOD, GOAL, BAD = range(4)
"""x0, xI, xg and xb."""


class HardSparse(SparseLinearMDP):
    """Of m actions at the start, only the secret one k leads on; and k alone is worth knowing
    afterwards.

    d = m + 4: coordinates 1 to m, u, v, g, b. Action j of x0 has the features e_j + e_u. Actions of
    xI are the rows eps of a Hadamard matrix of order m, and their negatives: eps / 4, and 1 at v.
    xg and xb are absorbing and have e_g and e_b. The rows of psi that are not 0 are those of k, u,
    v, g and b, such that

    - from x0, action k leads to xI and every other one to xb,
    - from xI, it stays with 1/2 + eps_k/4, goes to xg with 1/4 and to xb with 1/4 - eps_k/4.

    The reward is 1 in xI and xg, else 0: the best value is H - 1, that of whoever has not found k
    is 0. The exploratory policy takes k and is uniform from then on; its smallest eigenvalue does
    not depend on m, while that of the uniform policy falls like 1/m.
    """

    def __init__(self, m: int = 16, H: int = 6, k: int | None = None, seed: int = 0) -> None:
        """
        - `m`: actions of the start, a power of 2.
        - `H`: the horizon, at least 2.
        - `k`: the secret action, counted from 0; if not given, `seed` draws it.
        - `seed`: of k alone. That of `reset` decides episodes.

        Raises `BadValue` for values out of these ranges.
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
        inside = np.zeros((2 * m, m + 4))
        inside[:, :m], inside[:, v] = rows / 4, 1.0
        psi = np.zeros((m + 4, 4))
        psi[:, GOOD] = unit[self.secret] + unit[v] / 2
        psi[:, GOAL] = unit[g] + unit[v] / 4
        psi[:, BAD] = unit[u] - unit[self.secret] + unit[b] + unit[v] / 4
        uniform, only = np.full(2 * m, 0.5 / m), np.ones(1)
        super().__init__(
            features=[unit[:m] + unit[u], inside, unit[[g]], unit[[b]]],
            psi=psi,
            rewards=[np.zeros(m), np.ones(2 * m), only, np.zeros(1)],
            horizon=H,
            exploratory=[unit[self.secret, :m], uniform, only, only],
        )

    def lower_bound(self, episodes: int) -> float:
        """Least expected regret after N <= m episodes, over a uniform k, of any learner without an
        exploratory policy: (H - 1) N (1 - (N + 1) / (2 m)).

        It has found k after n episodes with n / m at most, and gets nothing before.
        """
        if episodes > self.choices:
            raise BadValue(f"the bound is for at most m = {self.choices} episodes, not {episodes}")
        return (self.horizon - 1) * episodes * (1 - (episodes + 1) / (2 * self.choices))
