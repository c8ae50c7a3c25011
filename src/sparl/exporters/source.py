"""What an export takes of a run: observations that were seen, and the network it began with."""

from __future__ import annotations

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.agents.common import learner_parts
from sparl.config import NotImported
from sparl.networks import Network, dense_copy
from sparl.policy import Policy
from sparl.replay import Columns
from sparl.storage import RunFolder

COMPARED = 10_000
"""An export is compared with the policy on this many of the run's newest observations, and on those
that were extreme in an entry."""


def recorded_observations(run: RunFolder, policy: Policy) -> NDArray[np.float32] | None:
    """Gives observations in the replay of a run's newest checkpoint, [count, seen].

    They are the newest ones, and of those before them the ones in which an entry was lowest or
    highest: what a policy that has learned sees is narrow. What the policy sees of them. None where
    the run has no checkpoint, or its replay is empty.
    """
    steps = run.checkpoints.steps()
    if not steps:
        return None
    spaces = run.record().spaces
    columns = Columns(spaces.observation_size, spaces.action_size, spaces.discrete)
    seen = older = np.zeros((0, spaces.observation_size), np.float32)
    for rows in run.checkpoints.rows(steps[-1], columns.width):
        seen = np.concatenate([seen, rows[:, : spaces.observation_size]])
        if len(seen) > COMPARED:
            older = np.concatenate([older, seen[:-COMPARED]])
            older = older[np.unique([*older.argmin(axis=0), *older.argmax(axis=0)])]
            seen = seen[-COMPARED:]
    return policy.select_inputs(np.concatenate([older, seen])) if len(seen) else None


def dense_network(policy: Policy, run: RunFolder | None) -> Network:
    """Gives the dense network that a run began with, with shapes in place of arrays.

    Args:
        policy: The trained policy.
        run: Its run; without one, or where its agent is not imported, the policy's own network is
            taken with every weight stored.
    """
    agent, spaces = None if run is None else run.record().agent, policy.spaces
    if agent is None or isinstance(agent, NotImported):
        return jax.eval_shape(dense_copy, policy.network)
    agent = agent.for_actions("discrete" if spaces.discrete else "continuous")
    return learner_parts.dense_policy(agent, spaces.observation_size, spaces.action_size)


def dense_bytes(dense: Network) -> int:
    """Gives the bytes of a dense network in float32."""
    return 4 * sum(leaf.size for leaf in jax.tree.leaves(dense))
