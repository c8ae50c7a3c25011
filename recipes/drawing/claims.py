"""What the papers claim beside what was measured: a row for each claim, its verdict by a rule.

The difference to dense is paired by seed and taken as a share of dense's mean. What so many seeds
resolve is half of its 95 % interval, by Student's t. A claim is met where all of the interval is at
or above what it needs, and not met where all of it is below. Between the two, and with fewer than
three seeds, it is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from drawing import style
from drawing.data import CURVES, final_return, recorded
from drawing.output import Output
from sparl.analysis.statistics import interval, iqm, resolution

CLAIMS = "claims.yaml"
FEWEST = 3
"""Seeds without which nothing is decided."""
HEADER = (
    *("claim", "protocol", "seeds", "IQM (95 %)", "dense", "*tiny*"),
    *("to dense, by seed", "verdict", "repeat it"),
)


def outputs(folder: Path) -> list[Output]:
    """Of `results/claims`, from the studies beside it; none without a file of claims."""
    claims = folder / CLAIMS
    if not claims.exists():
        return []
    curves = dict.fromkeys(
        folder.parent / claim["folder"] / CURVES
        for claim in yaml.safe_load(claims.read_text())
        if "folder" in claim
    )
    return [Output(folder / "table.md", (claims, *curves), table)]


def table(files: dict[str, Path]) -> str:
    """A row for each claim."""
    claims = files[CLAIMS]
    results = claims.parent.parent
    return style.table(HEADER, [_row(c, results) for c in yaml.safe_load(claims.read_text())])


def verdict(differences: Sequence[float], bar: float) -> str:
    """Whether differences, as shares of dense, meet a claim that needs `bar` at least."""
    resolved = resolution(differences)
    if resolved is None or len(differences) < FEWEST:
        return "open: too few seeds"
    mean = float(np.mean(differences))
    if mean - resolved >= bar:
        return "met"
    return "not met at this length" if mean + resolved < bar else "open"


def _row(claim: Mapping[str, Any], results: Path) -> list[str]:
    command = f"`{claim['command']}`"
    if "folder" not in claim:
        return [claim["claim"], *[""] * 6, "open: not run", command]
    finals: dict[str, dict[int, float]] = {}
    for (variant, seed), curve in recorded(results / claim["folder"] / CURVES).items():
        finals.setdefault(variant, {})[seed] = final_return(curve)
    ours, dense = finals[claim["ours"]], finals[claim.get("dense", "dense")]
    seeds = sorted(ours.keys() & dense.keys())
    scale = abs(float(np.mean(list(dense.values()))))
    differences = [(ours[seed] - dense[seed]) / scale for seed in seeds]
    resolved = resolution(differences)
    told = f"{np.mean(differences):+.0%}" if differences else ""
    told += f" ± {resolved:.0%}" if resolved is not None else ""
    return [
        *(claim["claim"], claim["protocol"], str(len(seeds))),
        *(_aggregate(ours), _aggregate(dense), _aggregate(finals.get(claim.get("tiny", ""), {}))),
        *(told, verdict(differences, claim["bar"]), command),
    ]


def _aggregate(finals: Mapping[int, float]) -> str:
    if not finals:
        return ""
    values = {"": list(finals.values())}
    ends = interval(values)
    told = f"{iqm(values):,.0f}"
    return told if ends is None else f"{told} ({ends[0]:,.0f} to {ends[1]:,.0f})"
