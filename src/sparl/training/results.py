"""What a finished run leaves: its policies and its final figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.networks import accounting
from sparl.policy import Policy
from sparl.storage import Mark, RunFolder
from sparl.training.state import LoopState


def write_results(
    folder: RunFolder,
    run: RunConfig,
    engine: Engine,
    policy: Policy,
    best: Policy | None,
    state: LoopState,
    tables: dict[str, Mark],
    totals: dict[str, Any],
) -> None:
    """Writes `policy/`, `policy-best/` and summary.json.

    Args:
        policy: The final one.
        best: That of the best evaluation; None where there was none.
        tables: How far each table of the run has come.
        totals: Entries of summary.json that only some runs have.

    Raises:
        OSError: The disk is full, for example.
    """
    for path in (folder.policy, folder.best_policy):
        if path.is_symlink():  # a run folder of others must not lead elsewhere
            path.unlink()
    policy.save(folder.policy)
    if best is not None:
        best.save(folder.best_policy)
    original = {"policy": engine.original_policy}
    sizes = accounting.sizes(
        engine.report(), accounting.report({"policy": policy.network}, original)
    )
    of_run = {"env": run.env, "seed": run.seed}
    marks = {"tables": {name: asdict(mark) for name, mark in tables.items()}}
    folder.write_summary(of_run | state.summary() | sizes | totals | marks)
