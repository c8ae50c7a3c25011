"""An instance that needs the Lasso: `gymnasium.make("sparl/SpreadSparse-v0", m=64, seed=3)`.

On `HardSparse` the exploratory policy always takes the secret action, so that its data name what
matters, and ridge regression does as well as the Lasso. Here every action has a part of every
feature. Its data are well conditioned and name nothing: d weights are to be told apart from noise,
and s of them matter. It was constructed for this project and is not the paper's (2011.04018).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import hadamard

from sparl import validation
from sparl.errors import BadValue
from sparl.linear_mdp.mdp import SparseLinearMDP

ALIVE, DEAD = range(2)


class SpreadSparse(SparseLinearMDP):
    """Stay alive: of m signs of an action, s secret ones decide whether it does.

    There are d = m + 2 features: coordinates 1 to m, v, b.

    - The actions of the first state are the rows eps of a Hadamard matrix of order m, and their
      negatives. Their features are eps in the coordinates 1 to m, and 1 at v.
    - The second state is absorbing and has the feature e_b.

    From the first state, an action stays there with probability 1/2 + the mean of sigma_k eps_k / 2
    over the secret k. The secret signs sigma are those of some action, which so stays for sure. The
    reward is 1 in the first state and 0 in the second, and the best value is H. The exploratory
    policy is uniform: in its data the coordinates 1 to m do not go together, whatever m is.

    Attributes:
        secret: The k that matter, counted from 0, [s].
        signs: sigma, [s].
        choices: The number of actions of the first state, 2 m.
    """

    def __init__(self, m: int = 64, s: int = 2, H: int = 6, seed: int = 0) -> None:
        """An instance whose secret is drawn.

        Args:
            m: Coordinates that could matter, a power of 2.
            s: Those of them that do.
            H: The horizon.
            seed: Draws which do, and their signs. The seed of `reset` decides the episodes.

        Raises:
            BadValue: A value is out of these ranges.
        """
        validation.at_least(2, m=m)
        validation.at_least(1, s=s, H=H)
        validation.at_least(0, seed=seed)
        if m & (m - 1):
            raise BadValue(f"m is {m}: it must be a power of 2, as 64 or 128")
        if s > m:
            raise BadValue(f"s is {s}: there are {m} coordinates that could matter")
        rng = np.random.default_rng(seed)
        rows = hadamard(m).astype(float)
        rows = np.concatenate([rows, -rows])
        self.secret = np.sort(rng.choice(m, s, replace=False))
        self.signs = rows[rng.integers(2 * m), self.secret]
        self.choices = 2 * m
        v, b = m, m + 1
        alive = np.zeros((2 * m, m + 2))
        alive[:, :m], alive[:, v] = rows, 1.0
        psi = np.zeros((m + 2, 2))
        psi[self.secret, ALIVE] = self.signs / (2 * s)
        psi[self.secret, DEAD] = -self.signs / (2 * s)
        psi[v], psi[b, DEAD] = 0.5, 1.0
        super().__init__(
            features=[alive, np.eye(m + 2)[[b]]],
            psi=psi,
            rewards=[np.ones(2 * m), np.zeros(1)],
            horizon=H,
            exploratory=[np.full(2 * m, 0.5 / m), np.ones(1)],
        )
