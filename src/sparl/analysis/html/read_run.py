"""Reads a run for the report, finished or not, and notes what its folder lacks and why.

A report shows what a folder has. Only a config.json that cannot be read is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.agents.common import learner_parts
from sparl.config import NotImported, RunConfig
from sparl.engine import Engine
from sparl.envs import Spaces
from sparl.errors import SparlError
from sparl.networks import accounting
from sparl.policy import Policy
from sparl.storage import Mark, RunFolder, SummaryFile, files, read_table
from sparl.training import Which, load_policy, snapshot

Columns = dict[str, NDArray[np.float64]]
"""A CSV file of numbers by column, NaN where a cell is empty."""


@dataclass(frozen=True)
class ReadRun:
    """What the report can show of a run. It is a `plots.EvaluatedRun`."""

    path: Path
    config: RunConfig
    agent: Any
    method: Any
    recorded: dict[str, Any]
    """The content of config.json, with the versions of libraries and the machine."""
    metrics: Columns
    restructures: Columns
    summary: dict[str, float] | None
    """The numbers of summary.json; None for a run that is not finished."""
    policy: Policy | None
    sizes: dict[str, Any] | None
    """The policy's `accounting.NetworkReport` as a dictionary."""
    networks: dict[str, Any]
    """The same for all networks by name, targets included, from the newest checkpoint."""
    left_out: tuple[str, ...]
    """What is not shown and why, one sentence each."""

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.summary is not None

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What was changed while it went on: by name the old value and the new one."""
        return [change.get("changed", {}) for change in self.recorded.get("changes", ())]

    @property
    def steps(self) -> tuple[int, ...]:
        """Environment steps before each evaluation."""
        return tuple(map(int, self._evaluations("step")))

    @property
    def seconds(self) -> tuple[float, ...]:
        """Wall-clock seconds before each evaluation."""
        return self._evaluations("wall_seconds")

    @property
    def returns(self) -> tuple[float, ...]:
        """Mean return of each evaluation."""
        return self._evaluations("eval_return")

    @property
    def versions(self) -> dict[str, str]:
        """Versions of libraries, and what config.json records of the machine."""
        machine = {"instruction set": self.recorded.get("instruction_set")}
        machine |= self.recorded.get("machine", {})
        versions = self.recorded.get("versions", {}) | machine
        return {name: str(value) for name, value in versions.items()}

    def newest(self, column: str) -> float | None:
        """Gives the last number in a column of metrics.csv; None where there is none."""
        values = self.metrics.get(column, np.empty(0))
        values = values[np.isfinite(values)]
        return float(values[-1]) if values.size else None

    def _evaluations(self, column: str) -> tuple[float, ...]:
        needed = [self.metrics.get(name) for name in ("step", "wall_seconds", "eval_return")]
        if any(values is None for values in needed):
            return ()
        evaluated = np.isfinite(self.metrics["eval_return"])
        return tuple(map(float, self.metrics[column][evaluated]))


def read(path: Path, which: Which = "final") -> ReadRun:
    """Reads everything that a report shows from a run folder.

    Args:
        path: The folder.
        which: Of its policies.

    Raises:
        BadRun: It is no run folder.
        BadFile: config.json cannot be read.
    """
    folder = RunFolder.open(path)
    config, agent, method, spaces = folder.record()
    left_out: list[str] = []
    summary = _summary(path, config, left_out)
    marks = {} if summary is None else summary.tables
    engine = _engine(folder, [agent, method], left_out)
    policy = _policy(folder, spaces, engine, summary is not None, which, left_out)
    sizes = None if policy is None else _sizes(policy, agent, left_out)
    return ReadRun(
        path=path,
        config=config,
        agent=agent,
        method=method,
        recorded=files.read_json(path / "config.json"),
        metrics=_columns(path / "metrics.csv", marks, left_out),
        # Methods that never restructure write no restructures.csv.
        restructures=_columns(path / "restructures.csv", marks, left_out, needed=False),
        summary=None if summary is None else summary.numbers(),
        policy=None if sizes is None else policy,
        sizes=sizes,
        networks=engine.report()["networks"] if engine else {},
        left_out=tuple(left_out),
    )


def _summary(path: Path, config: RunConfig, left_out: list[str]) -> SummaryFile | None:
    """Reads summary.json.

    None where there is none, or where the run was prolonged after it was written.
    """
    if not (path / "summary.json").exists():
        return None
    try:
        summary = SummaryFile.read(path / "summary.json")
    except SparlError as error:
        left_out.append(f"The final figures: {error}.")
        return None
    return summary if summary.is_whole(config.steps) else None


def _engine(folder: RunFolder, parts: list[Any], left_out: list[str]) -> Engine | None:
    what = "The layers of the networks beside the policy"
    for part in parts:
        if isinstance(part, NotImported):
            left_out.append(f"{what}: they need {part.spec}, which a report does not import.")
            return None
    try:
        return snapshot(folder)[0]
    except SparlError as error:
        left_out.append(f"{what}: {error}.")
        return None


def _policy(
    folder: RunFolder,
    spaces: Spaces,
    engine: Engine | None,
    finished: bool,
    which: Which,
    left_out: list[str],
) -> Policy | None:
    """Gives a policy of the run; of one that is not finished, that of its newest checkpoint."""
    if engine is not None and not finished and which == "final":
        golden = np.zeros((1, spaces.observation_size), np.float32)
        return Policy(engine.policy(), spaces, golden, engine.normalization)
    try:
        return load_policy(folder.path, which) if which == "best" else Policy.load(folder.policy)
    except SparlError as error:
        left_out.append(f"The policy, its layers and a film of it: {error}.")
        return None


def _sizes(policy: Policy, agent: Any, left_out: list[str]) -> dict[str, Any] | None:
    """Gives the sizes of the policy beside those of the agent's dense network."""
    if isinstance(agent, NotImported):
        return accounting.report_network(
            policy.network, accounting.shapes_of(policy.network)
        ).as_dict()
    spaces = policy.narrowed().spaces
    sizes = spaces.observation_size, spaces.action_size
    dense = learner_parts.dense_policy(agent, *sizes)
    original = accounting.shapes_of(dense)
    if dense.wiring != policy.network.wiring:
        left_out.append("The policy: policy/ does not belong to the agent in config.json.")
        return None
    return accounting.report_network(policy.network, original).as_dict()


def _columns(
    path: Path, marks: dict[str, Mark], left_out: list[str], needed: bool = True
) -> Columns:
    """Reads a CSV file; of one that is being written, all complete rows."""
    if not path.exists():
        if needed:
            left_out.append(f"All curves: {path} is missing.")
        return {}
    try:
        return read_table(path, marks.get(path.name))
    except SparlError as error:
        left_out.append(f"The curves of {path.name}: {error}.")
        return {}
