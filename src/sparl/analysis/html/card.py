"""A run as a notebook shows it: what it is, what its policy returns, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparl.networks import table_as_html
from sparl.storage import RunFolder
from sparl.training import Which


def card(path: Path, which: Which = "final") -> str:
    """A small table in HTML about a run, finished or not. It imports nothing that the run names.

    Args:
        path: The run folder.
        which: Of its policies.
    """
    folder = RunFolder(path)
    run, agent, method, _ = folder.record()
    summary = folder.read_summary()
    caption = f"{run.env}: {agent.name} with {method.name}, seed {run.seed}"
    rows = [["folder", str(path)]]
    if summary is None:
        saved = folder.checkpoints.steps()
        at = f"step {saved[-1]:,}" if saved else "no checkpoint yet"
        return table_as_html(caption, (), [*rows, ["unfinished", f"{at} of {run.steps:,}"]])
    rows += [["steps", f"{summary['steps']:,}"], *_returns(summary, run.eval_episodes, which)]
    kept, total = summary.get("policy_weights_kept"), summary.get("policy_weights_total")
    if kept is not None and total is not None:
        rows.append(["policy's weights", f"{kept:,} of {total:,}"])
        rows.append(["policy's bytes", f"{summary['policy_bytes']:,}"])
    rows.append(["steps per second", f"{summary['steps_per_second']:,.0f}"])
    return table_as_html(caption, (), rows)


def _returns(summary: dict[str, Any], episodes: int, which: Which) -> list[list[str]]:
    best, over = summary.get("policy_best_return"), f"mean over {episodes} episodes"
    if which == "best" and best is not None:
        at = f"step {summary['policy_best_step']:,}"
        return [["best policy's return", f"{best:.1f} at {at}, {over}"]]
    evaluations = summary["evals"]
    return [["policy's return", f"{evaluations[-1]['return']:.1f}, {over}"]] if evaluations else []
