"""Prints the reports of commands as tables in the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sparl.agents import fitting
from sparl.envs import Checked
from sparl.storage import quoted
from sparl.training import Console

NAMES = 20
"""Columns of names in lists."""


def print_report(report: dict[str, Any]) -> None:
    """Prints the report of `sparl.training.inspect`: per network a row per layer, and totals."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("layer", "layout", "pattern", "out x in"):
        table.add_column(heading, no_wrap=True)
    for heading in ("kept", "of", "bytes", "mul-adds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, network in report["networks"].items():
        table.add_row(Text(name, style="bold"))
        for layer in network["layers"]:
            original_shape = layer["original_shape"]
            was = "" if original_shape == layer["shape"] else f", was {_by(original_shape)}"
            table.add_row(
                layer["name"],
                layer["layout"],
                layer["pattern"] or "",
                _by(layer["shape"]) + was,
                *_counts(layer["kept"], math.prod(original_shape), layer["bytes"], layer["macs"]),
            )
        totals = (network[key] for key in ("weights_kept", "weights_total", "bytes", "macs"))
        neurons = f"{network['neurons']} neurons"
        original = network["neurons_total"]
        was = ""
        if original != network["neurons"]:
            was = f"was {original}, -{1 - network['neurons'] / original:.1%}"
        table.add_row("total", neurons, "", was, *_counts(*totals), style="bold", end_section=True)
    console = Console()
    console.print(table)
    console.print(f"compression ratio (1 - stored / dense): {report['compression_ratio']:.3f}")
    if report["average_compression_ratio"] is not None:
        console.print(f"average over training: {report['average_compression_ratio']:.3f}")
    if report["normalized_observations"]:
        console.print("observations are normalised by running statistics from training")


def print_check(env: str, checked: Checked) -> None:
    """Prints what `sparl check` found of an environment."""
    spaces, actions = checked.spaces, "discrete" if checked.spaces.discrete else "continuous"
    names = ", ".join(f"{entry.name} ({entry.size})" for entry in spaces.entries)
    limit = "without a limit" if checked.longest is None else f"of at most {checked.longest} steps"
    print(f"{env}: {spaces.observation_size} observations, {spaces.action_size} {actions} actions")
    if names:
        print(f"  flattened from: {names}")
    print(f"  {checked.action_space}; agents that fit: {', '.join(fitting(actions))}")
    print(f"  episodes {limit}")
    print(f"  a step takes {_time(checked.step_seconds)}, a reset {_time(checked.reset_seconds)}")
    if checked.random_return is not None:
        over = f"{checked.episodes} episode{'s' if checked.episodes > 1 else ''}"
        print(f"  random actions return {checked.random_return:.1f} (mean of {over})")
    for finding in checked.findings:
        print(f"- {finding.what}\n  -> {finding.so}")
    if not checked.findings:
        print("Nothing was found that should be otherwise.")


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def print_export(report: dict[str, Any], out: Path) -> None:
    """Prints the report of `sparl.export`, and how to run the self-test again.

    Args:
        report: As `sparl.export` gives it.
        out: The folder of the export.
    """
    console = Console(soft_wrap=True)
    share = report["bytes"] / report["dense_bytes"]
    console.print(
        f"{out}: {report['bytes']:,} bytes, {share:.3f} of the dense network in float32 "
        f"({report['dense_bytes']:,})"
    )
    if "layers" in report:
        table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
        table.add_column("layer, out x in", no_wrap=True)
        table.add_column("loop", no_wrap=True)
        for heading in ("weights", "bytes with indices"):
            table.add_column(heading, justify="right", no_wrap=True)
        for layer in report["layers"]:
            counts = _counts(layer["weights"], layer["bytes"])
            table.add_row(_by(layer["shape"]), layer["loop"], *counts)
        console.print(table)
        frames = report.get("frames_bytes", 0)
        console.print(
            f"working memory of a call: {report['scratch_bytes']:,} bytes"
            + (f"; {frames:,} remember the frames" if frames else "")
        )
    error = report["error"]
    console.print(
        f"difference to the policy's outputs over {error['observations']:,} observations: "
        f"at most {error['max']:.1e}"
        + (f", {error['mean']:.1e} on average" if "mean" in error else "")
        + (
            f"; another choice for {error['other_choices']:.2%} of them"
            if "other_choices" in error
            else ""
        )
    )
    if "returns" in report:
        returns = report["returns"]
        console.print(
            f"mean return over {returns['episodes']} episodes: {returns['exported']:.1f}; "
            f"that of the original policy: {returns['original']:.1f}"
        )
    if report["to"] == "c":
        checked = report["checked"]
        make = f"make -C {quoted(out)} test"
        if checked:
            console.print(f"self-test passed, compiled by {checked}; to run it again: {make}")
        else:
            console.print(f"self-test not run, because there is no C compiler; to run it: {make}")


def print_features(features: dict[str, Any]) -> None:
    """Prints the features that `sparl features` selected: a row per input, largest weight first.

    Args:
        features: What `linear_mdp.features.find` gives, as a dictionary.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("input", "weight"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("helps to predict (weight)")
    for kept in sorted(features["kept"], key=lambda kept: -kept["weight"]):
        largest_first = sorted(kept["predicts"].items(), key=lambda item: -item[1])
        predicted = ", ".join(f"{name} {weight:.3f}" for name, weight in largest_first)
        table.add_row(str(kept["input"]), f"{kept['weight']:.3f}", predicted)
    console = Console()
    console.print(table)
    console.print(
        f"{len(features['kept'])} of {features['inputs_in_all']} inputs of {features['env']} matter"
    )


def print_list(kinds: dict[str, dict[str, str | None]]) -> None:
    """Prints names with the first sentences of their docstrings, by kind.

    Args:
        kinds: From a kind, as agents, to the docstring of each name.
    """
    console = Console()
    for kind, names in kinds.items():
        console.print(kind, style="bold")
        for name, text in names.items():
            sentence = " ".join((text or "").split()).partition(". ")[0].rstrip(".")
            lines = textwrap.wrap(sentence, max(20, console.width - NAMES)) or [""]
            for head, line in zip([f"  {name}", *[""] * len(lines)], lines, strict=False):
                console.print(f"{head:<{NAMES}}{line}", soft_wrap=True)


def _by(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _counts(*values: int) -> list[str]:
    return [f"{value:,}" for value in values]
