"""What a finished run leaves: its policies and its final figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sparl.networks import accounting
from sparl.policy import Policy
from sparl.storage import Mark
from sparl.training.collector import Host


def write_results(
    host: Host, best: Policy | None, tables: dict[str, Mark], totals: dict[str, Any]
) -> None:
    """Writes `policy/`, `policy-best/` and summary.json.

    Args:
        host: The trainer, with the final policy.
        best: That of the best evaluation; None where there was none.
        tables: How far each table of the run has come.
        totals: Entries of summary.json that only some runs have.

    Raises:
        OSError: The disk is full, for example.
    """
    folder, engine, policy = host.folder, host.engine, host.policy()
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
    of_run = {"env": host.config.env, "seed": host.config.seed}
    marks = {"tables": {name: asdict(mark) for name, mark in tables.items()}}
    folder.write_summary(of_run | host.state.summary() | sizes | totals | marks)
