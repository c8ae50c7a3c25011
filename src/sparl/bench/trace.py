"""`sparl bench step --trace`: what the threads of the kernels do in one update.

A kernel's work is split into tasks, which the thread that runs it and idle ones take one by one.
At the end of each such part threads meet: who has no task left waits for the others. Each count of
threads is measured in a process of its own, because JAX starts its threads once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparl import envs, kernels
from sparl.bench import contender, report
from sparl.engine import Engine
from sparl.errors import BadRun
from sparl.replay import Columns

WARM, UPDATES = 100, 400
"""Updates before those that are traced, and those."""
PARTS = {
    "prepared": "weights in kernels' order",
    "forward": "forward",
    "backward": "backward, deltas",
    "deltas": "gradients of weights",
    "forward_by_batch": "forward, by batch",
    "backward_by_batch": "backward, by batch",
}
"""C++ files, and what their tasks do."""


def run(env: str, pattern: str, width: int, path: Path | None, machine: dict[str, Any]) -> None:
    """Measures with one thread and with two, prints tables and writes the JSON file.

    Args:
        path: Of that file.
        machine: As `report.machine` gives it.

    Raises:
        BadRun: The compiled kernels are missing, or a process failed.
    """
    why_not = kernels.why_not_native()
    if why_not is not None:
        raise BadRun(f"--trace looks into the compiled kernels, which are missing: {why_not}")
    print(report.told(machine))
    found: list[dict[str, Any]] = []
    counts = (1, 2)[: len(report.cores())]
    for threads in report.in_turn(counts, lambda n: f"updates with {n} threads"):
        found += in_a_process(env, pattern, width, threads)
    for of_kind in found:
        print(f"{env}, {pattern}, 2x{width}, an update of {of_kind['update']}: ", end="")
        print(f"{of_kind['us']:.0f} us with {of_kind['threads']} thread(s)")
        report.table(
            ["", "calls", "us", "meetings", "waited us", "by others"],
            [
                [
                    PARTS.get(str(part["part"]), str(part["part"])),
                    f"{part['calls']:g}",
                    f"{part['us']:.1f}",
                    f"{part['meetings']:g}",
                    f"{part['waited_us']:.1f}",
                    f"{part['by_helpers'] / part['tasks']:.0%}",
                ]
                for part in of_kind["parts"]
            ],
        )
    setting = {"env": env, "pattern": pattern, "width": width, "machine": machine}
    report.write(path, setting | {"updates": found})


def in_a_process(env: str, pattern: str, width: int, threads: int) -> list[dict[str, Any]]:
    """Gives what `measured` gives in a process with so many threads.

    Raises:
        BadRun: It failed; the message has its last words.
    """
    code = "import sys; from sparl.bench import trace; trace.main(*sys.argv[1:])"
    command = [sys.executable, "-c", code, env, pattern, str(width)]
    variables = os.environ | {"NPROC": str(threads)}
    ended = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", env=variables
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise BadRun(f"tracing {pattern} on {env} failed (status {ended.returncode}): {last}")
    return [{"threads": threads, **one} for one in json.loads(ended.stdout)]


def measured(env: str, pattern: str, width: int) -> list[dict[str, Any]]:
    """Traces updates of TD3 in this process, on random transitions.

    Returns:
        Of each kind of update: what it is of (`update`), its microseconds, and its `parts`. A part
        has the `calls` of an update, its `us`, its `meetings`, which are calls that another thread
        was offered, the microseconds `waited_us` in them, its `tasks`, and those `by_helpers`. All
        are medians over the updates.
    """
    spaces = envs.spaces_of(envs.make(env))
    columns = Columns(spaces.observation_size, spaces.action_size)
    engine = Engine(contender.agent_of("td3", width), contender.method_of(pattern), columns, seed=0)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((contender.BATCH, columns.width), np.float32)
    rows[:, -2:] = 0.0, engine.agent.gamma  # nothing is terminated
    updates: dict[str, list[tuple[float, list[kernels.Call]]]] = defaultdict(list)
    for update in range(WARM + UPDATES):
        kind = "critics and actor" if "actor" in engine.algorithm.due(update) else "critics"
        with kernels.traced() as calls:
            began = time.perf_counter()
            engine.update(rows)
            jax.block_until_ready(engine.arrays)
            us = 1e6 * (time.perf_counter() - began)
        if update >= WARM:
            updates[kind].append((us, calls))
    return [
        {
            "update": kind,
            "us": statistics.median(us for us, _ in of_kind),
            "parts": [_part(name, [calls for _, calls in of_kind]) for name in _parts(of_kind)],
        }
        for kind, of_kind in updates.items()
    ]


def _parts(updates: list[tuple[float, list[kernels.Call]]]) -> list[str]:
    """The parts that updates have, in the order in which they come first."""
    return list(dict.fromkeys(call.where for _, calls in updates for call in calls))


def _part(name: str, updates: list[list[kernels.Call]]) -> dict[str, Any]:
    """The figures of one part, medians over updates."""
    figures: dict[str, list[float]] = defaultdict(list)
    for calls in updates:
        own = [call for call in calls if call.where == name]
        figures["calls"].append(len(own))
        figures["meetings"].append(sum(call.threads > 1 for call in own))
        for figure in ("us", "waited_us", "tasks", "by_helpers"):
            figures[figure].append(sum(getattr(call, figure) for call in own))
    return {"part": name} | {figure: statistics.median(of) for figure, of in figures.items()}


def main(env: str, pattern: str, width: str) -> None:
    """Prints what `measured` gives, as JSON."""
    print(json.dumps(measured(env, pattern, int(width))))
