"""The results of the runs of one variant: those that differ only in their seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparl.analysis.runs import FinishedRun


@dataclass(frozen=True)
class Variant:
    """Results of the runs of one variant. Sizes are means over the seeds, times are medians."""

    label: str
    agent: str
    method: str
    seeds: tuple[int, ...]
    policy_returns: tuple[float, ...]
    """Of each seed: the mean return of the policy that the run has left, in its own evaluation."""
    policy_return: float
    """IQM of `policy_returns`."""
    low: float | None
    """Lower end of the 95 % interval of `policy_return`; None for one seed."""
    high: float | None
    """Upper end of that interval."""
    late_returns: tuple[float, ...]
    """Of each seed: the mean of its last evaluations, which tells of late training."""
    late_return: float
    """IQM of `late_returns`."""
    policy_weights_kept: float
    policy_weights_total: float
    policy_bytes: float
    weights_kept: float
    """Of all online networks, at the end."""
    weights_total: float
    """Of the same networks if they were dense."""
    average_compression_ratio: float | None
    """Mean over all updates, like the next three; see `accounting.Footprint`."""
    average_compression_ratio_with_indices: float | None
    average_weight_bytes_read: float | None
    average_weight_bytes_written: float | None
    steps_per_second: float
    wall_seconds: float
    steps_to_reach: float | None
    """Environment steps until an evaluation first reaches `Comparison.reach`; None for never."""
    seconds_to_reach: float | None
    seeds_reaching: int
    """How many seeds ever reach it."""
    runs: tuple[FinishedRun, ...]

    def figures(self) -> dict[str, Any]:
        """Gives all fields except the runs, with lists in place of tuples."""
        fields = {key: value for key, value in vars(self).items() if key != "runs"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
