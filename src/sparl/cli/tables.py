"""Prints the reports of commands as tables in the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from sparl.agents import fitting
from sparl.distillation import Distilled
from sparl.envs import Checked
from sparl.storage import quoted
from sparl.training import Console, return_text

NAMES = 20
"""Columns of names in lists."""
Row = tuple[str, int | float | None, int | float | None]
"""A figure's name, and what it is of two policies; None where it is not known."""


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A context that tells on stderr how much of something is done: live on a terminal.

    Args:
        what: Is being done.

    Yields:
        A function that takes how much is done, and how much there is at most.
    """
    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        console.print(what)
        yield lambda done, of: None
        return
    with console.status(what) as status:
        yield lambda done, of: status.update(f"{what}: {done} of at most {of}")


INSPECTED = ("layer", "layout", "pattern", "out x in", "kept", "of", "bytes", "mul-adds")
"""Columns of `sparl inspect`; those from `kept` on are numbers."""
LEFT_OUT = ("mul-adds", "pattern", "of", "layout", "bytes")
"""Which of them a narrow terminal does without, the first of them first: no number is ever cut."""


def print_report(report: dict[str, Any]) -> None:
    """Prints the report of `sparl.training.inspect`: per network a row per layer, and totals."""
    rows: list[tuple[list[str], str]] = []
    for name, network in report["networks"].items():
        rows.append(([name], "bold"))
        for layer in network["layers"]:
            original_shape = layer["original_shape"]
            was = "" if original_shape == layer["shape"] else f", was {_by(original_shape)}"
            of = math.prod(original_shape)
            row = [
                layer["name"],
                layer["layout"],
                layer["pattern"] or "",
                _by(layer["shape"]) + was,
            ]
            rows.append((row + _counts(layer["kept"], of, layer["bytes"], layer["macs"]), ""))
        totals = (network[key] for key in ("weights_kept", "weights_total", "bytes", "macs"))
        neurons, was = f"{network['neurons']} neurons", ""
        if network["neurons_total"] != network["neurons"]:
            original = network["neurons_total"]
            was = f"was {original}, -{1 - network['neurons'] / original:.1%}"
        rows.append((["total", neurons, "", was, *_counts(*totals)], "total"))
    console = Console()
    shown = _fitting([row for row, _ in rows], console.width)
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for i in shown:
        justify = "left" if i < INSPECTED.index("kept") else "right"
        table.add_column(INSPECTED[i], justify=justify, no_wrap=True)
    for row, kind in rows:
        style = "bold" if kind else None
        cells = [row[i] for i in shown if i < len(row)]
        table.add_row(*cells, style=style, end_section=kind == "total")
    console = Console()
    console.print(table)
    if len(shown) < len(INSPECTED):
        missing = ", ".join(name for i, name in enumerate(INSPECTED) if i not in shown)
        console.print(f"left out, because the terminal is narrow: {missing}")
    console.print(f"compression ratio (1 - stored / dense): {report['compression_ratio']:.3f}")
    if report["average_compression_ratio"] is not None:
        console.print(f"average over training: {report['average_compression_ratio']:.3f}")
    if report["normalized_observations"]:
        console.print("observations are normalised by running statistics from training")


def _fitting(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The numbers of the columns of `INSPECTED` for which there is room."""
    needed = [
        1 + max(len(row[i]) for row in (INSPECTED, *rows) if i < len(row))
        for i in range(len(INSPECTED))
    ]
    shown = list(range(len(INSPECTED)))
    for name in LEFT_OUT:
        if 1 + sum(needed[i] for i in shown) <= width:
            break
        shown.remove(INSPECTED.index(name))
    return shown


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
        print(f"  random actions return {return_text(checked.random_return)} (mean of {over})")
    if checked.middle_return is not None:
        print(f"  actions in the middle of their range return {return_text(checked.middle_return)}")
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
    if "unchecked" in report:
        console.print(f"not run here, but compared as Python: {report['unchecked']}", markup=False)
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
    if "before" in report:
        returns, before = report.get("returns", {}), report["before"]
        rows = [
            ("bytes", before["bytes"], report["bytes"]),
            ("microseconds per action here", before["microseconds"], report.get("microseconds")),
            ("mean return", returns.get("original"), returns.get("exported")),
        ]
        print_before_and_after(("float32", report["dtype"]), rows)
        if returns:
            console.print(f"returns are means over {returns['episodes']} episodes, the same ones")
        if returns.get("worse"):
            console.print(
                f"WARNING: the policy got worse. float16 loses less than {report['dtype']}"
                if report["dtype"] == "int8"
                else "WARNING: the policy got worse. float32 loses nothing"
            )
    elif report.get("microseconds") is not None:
        console.print(f"an action takes {report['microseconds']:.2f} microseconds here")
    if report["to"] == "c":
        checked = report["checked"]
        make = f"make -C {quoted(out)} test"
        if checked:
            console.print(f"self-test passed, compiled by {checked}; to run it again: {make}")
        else:
            console.print(f"self-test not run, because there is no C compiler; to run it: {make}")


def print_distilled(found: Distilled) -> None:
    """Prints what students came to, beside their teacher and beside random actions."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("return", "kept", "weights", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    sizes = _counts(found.teacher_weights, found.teacher_bytes)
    table.add_row("teacher", return_text(found.teacher_return), "", *sizes)
    table.add_row("random actions", return_text(found.random_return), "", "", "")
    for student in found.students:
        table.add_row(
            "student " + " ".join(map(str, student.hidden)),
            return_text(student.mean_return),
            f"{student.kept:.1%}",
            *_counts(student.weights, student.bytes),
            style="bold" if student == found.chosen else None,
        )
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        f"returns: means over the same {found.episodes} episodes; kept: of the teacher's return "
        "above that of random actions"
    )


def print_before_and_after(headings: tuple[str, str], rows: Sequence[Row]) -> None:
    """Prints figures of two policies side by side.

    Args:
        headings: What the two are called.
        rows: Name, and the figure of each; rows without one of them are left out.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, before, after in rows:
        if before is not None and after is not None:
            table.add_row(name, _figure(before), _figure(after))
    Console().print(table)


def _figure(number: int | float) -> str:
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:.2f}" if abs(number) < 10 else f"{number:,.1f}"


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
            sentence += "." * (sentence != "")
            lines = textwrap.wrap(sentence, max(20, console.width - NAMES)) or [""]
            head = f"  {name}"
            if len(head) >= NAMES:
                console.print(head, soft_wrap=True)
                head = ""
            for line in lines:
                console.print(f"{head:<{NAMES}}{line}", soft_wrap=True)
                head = ""


def _by(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _counts(*values: int) -> list[str]:
    return [f"{value:,}" for value in values]
