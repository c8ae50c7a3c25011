"""RLx2: rigged reinforcement learning lottery (2205.15043, 2023), the reference at high sparsity.

The paper says: RigL in every layer of actor and critics, every 10,000 updates, with Erdos-Renyi
counts; the first topology is that of the initialisation's largest weights; targets have the online
topology. Two changes of the agent and its replay belong to it, and serve any method here: 3-step
targets after a while, `--n-step 3 --n-step-from 300000`, and a replay that forgets what an old
policy did, `--dynamic-replay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from sparl.methods.rigl import RigL
from sparl.networks import Networks


@dataclass(frozen=True)
class RLx2(RigL):
    """RigL from the initialisation's largest weights; see also --n-step and --dynamic-replay."""

    name: ClassVar[str] = "rlx2"
    prunes: ClassVar[bool] = True

    interval: int = 10_000
    """Updates between two changes of the topology; 0 for never."""

    def first_scores(self, dense: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.abs(dense)

    def notes(self, networks: dict[str, Networks]) -> list[str]:
        return [
            "RLx2 is this topology together with the agent's n_step 3 and n_step_from "
            "300000 and, for continuous actions, the run's dynamic_replay: options of their "
            "own here."
        ]
