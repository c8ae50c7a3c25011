"""What a run leaves when it is over: its policy, and the sizes of its networks."""

from __future__ import annotations

from typing import Any

from sparl.engine import Engine
from sparl.envs import Spaces
from sparl.networks import accounting
from sparl.policy import GOLDEN, Policy
from sparl.replay import Replay


def policy_of(engine: Engine, replay: Replay, spaces: Spaces) -> Policy:
    """The policy that acts as the agent does now; the newest observations are its golden ones."""
    first = replay.added - min(GOLDEN, replay.size)
    golden = replay.span(first, replay.added)[:, : spaces.observation_size]
    return Policy(engine.policy(), spaces, golden, engine.normalization)


def sizes(engine: Engine, policy: Policy) -> dict[str, Any]:
    """The figures of summary.json on the sizes of all networks, and of the policy alone."""
    original = {"policy": engine.original_policy}
    report = accounting.report({"policy": policy.network}, original)
    return accounting.sizes(engine.report(), report)
