"""RLx2: rigged reinforcement learning lottery (2205.15043, 2023), the reference at high sparsity.

The paper says:
- RigL runs in every layer of actor and critics, every 10,000 updates, with Erdos-Renyi counts.
- The first topology keeps the largest weights of the initialisation.
- Targets have the topology of their online networks.
- Two changes of the agent and its replay belong to the method: 3-step targets after a while, and a
  replay that forgets what an old policy did.

Our reading: the two changes are options of their own, so that any method can use them. They are
the agent's `n_step` = 3 with `n_step_from` = 300000, and the run's `dynamic_replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from sparl.learner import Role
from sparl.methods.rigl import RigL
from sparl.networks import Networks


@dataclass(frozen=True)
class RLx2(RigL):
    """RigL from the largest first weights; see also n_step and dynamic_replay (2205.15043)."""

    name: ClassVar[str] = "rlx2"
    prunes: ClassVar[bool] = True

    interval: int = 10_000
    """Updates between two changes of the topology; 0 for never."""

    def first_scores(self, dense: jax.Array, key: jax.Array) -> jax.Array:
        """The magnitudes of a layer's weights, [out, in]."""
        return jnp.abs(dense)

    def notes(
        self, networks: dict[str, Networks], roles: Mapping[str, Role], updates: int | None
    ) -> list[str]:
        return [
            "The paper's RLx2 also has n_step 3 and n_step_from 300000 in the agent and, for "
            "continuous actions, dynamic_replay in the run. Here you set these options yourself."
        ]
