"""What a finished run leaves: its policy, with golden inputs, and its final figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.envs import Spaces
from sparl.networks import accounting
from sparl.policy import GOLDEN, Policy
from sparl.replay import Replay
from sparl.storage import Mark, RunFolder
from sparl.training.state import LoopState


def write_results(
    folder: RunFolder,
    run: RunConfig,
    engine: Engine,
    replay: Replay,
    spaces: Spaces,
    state: LoopState,
    tables: dict[str, Mark],
    totals: dict[str, Any],
) -> Policy:
    """Writes `policy/` and summary.json.

    Args:
        replay: Its newest observations are the golden inputs of the policy.
        tables: How far each table of the run has come.
        totals: Entries of summary.json that only some runs have.

    Returns:
        The policy.

    Raises:
        OSError: The disk is full, for example.
    """
    first = replay.added - min(GOLDEN, replay.size)
    golden = replay.span(first, replay.added)[:, : spaces.observation_size]
    policy = Policy(engine.policy(), spaces, golden, engine.normalization)
    policy.save(folder.policy)
    original = {"policy": engine.original_policy}
    sizes = accounting.sizes(
        engine.report(), accounting.report({"policy": policy.network}, original)
    )
    of_run = {"env": run.env, "seed": run.seed}
    marks = {"tables": {name: asdict(mark) for name, mark in tables.items()}}
    folder.write_summary(of_run | state.summary() | sizes | totals | marks)
    return policy
