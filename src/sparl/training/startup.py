"""What is told of a run when it starts."""

from __future__ import annotations

from typing import Any

from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.storage import RunFolder


def headline(run: RunConfig, engine: Engine, folder: RunFolder) -> str:
    """What is trained, by what, and into where."""
    networks = engine.learner.all_networks()
    held = 1 - engine.footprint.compression_ratio_with_indices
    return (
        f"{run.env}: {engine.agent.name} with method {engine.method.name}, seed "
        f"{run.seed}, into {folder.path}\n{len(networks)} networks, targets included, "
        f"{engine.sparsity:.0%} of their weights left out, in {held:.0%} of the bytes of dense ones"
    )


def notes(run: RunConfig, agent: Any) -> list[str]:
    """What comes before learning begins, and whether it does."""
    starts, before = agent.learning_starts, agent.updates_before
    if run.steps <= starts:
        return [
            f"learning starts after step {starts} and the run ends at step {run.steps}: nothing "
            "will be learned. Lower --learning-starts or raise --steps."
        ]
    if before:
        return [f"{before} updates of the representation alone come first, after step {starts}"]
    return []
