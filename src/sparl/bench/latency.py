"""`sparl bench latency`: how long a trained policy takes for one action, beside what others take.

Every measurement is a process of its own (`caller`, or the exported C with a loop around it) on one
thread; they take turns, because a machine's speed drifts.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro

from sparl.bench import caller, report, timing
from sparl.errors import BadRun, BadValue
from sparl.exporters import (
    COMPILE_FLAGS,
    LATENCY_FILE,
    CProgram,
    Dtype,
    compiler,
    dense_bytes,
    dense_network,
    device_network,
    onnx,
    recorded_observations,
    template_text,
)
from sparl.networks import build
from sparl.policy import Policy
from sparl.storage import RunFolder
from sparl.training import load_policy

PROGRAMS: dict[str, Dtype] = {"c": "float32", "c-int8": "int8"}
"""Those that are the exported C."""
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
NEEDED = {"onnx": ("onnx", "onnxruntime"), "onnx-dense": ("onnx", "onnxruntime")} | {
    "torch": ("torch",),
    "sb3": ("torch", "stable_baselines3"),
}
"""The packages that a contender needs."""
TOLD = {
    "c": "exported C",
    "c-int8": "exported C, int8",
    "sparl": "sparl's predict",
    "onnx": "ONNX Runtime",
    "onnx-dense": "ONNX Runtime, dense",
    "torch": "PyTorch eager, dense",
    "sb3": "Stable-Baselines3's predict, dense",
}


@dataclass(frozen=True)
class Latency:
    """Time a trained policy's action for one observation, one thread each: as exported C, by
    sparl's and Stable-Baselines3's predict, by ONNX Runtime and PyTorch. What a package is missing
    for is left out, and said."""

    dir: tyro.conf.Positional[Path]
    """Run folder."""
    names: tuple[str, ...] = tuple(TOLD)
    """Contenders, of these. The dense ones are of the widths that the run began with."""
    calls: int = 5_000
    """Timed calls of one repetition."""
    repetitions: int = 5
    """How often the contenders take turns; figures are medians over them."""
    json: Path | None = None
    """File for the figures; DIR/export/latency.json if not given."""

    def check(self) -> None:
        """Raises what a user can put right, before anything is measured."""
        report.check(self.json, calls=self.calls, repetitions=self.repetitions)
        for name in self.names:
            if name not in TOLD:
                raise BadValue(f"no contender {name!r}: choose of {', '.join(TOLD)}")


class Contender(NamedTuple):
    """How one is measured, the number of calls to be added; and the bytes of what it acts with."""

    command: list[str]
    bytes: int


def run(asked: Latency) -> None:
    """Measures, prints a table, writes the JSON file."""
    asked.check()
    machine = report.machine()
    with tempfile.TemporaryDirectory() as folder:
        there = prepare(asked, Path(folder))
        taken: dict[str, list[list[int]]] = {name: [] for name in there}
        turns = itertools.product(range(asked.repetitions), there)
        for _, name in report.in_turn(turns, lambda turn: f"{turn[1]}, repetition {turn[0] + 1}"):
            taken[name].append(measured(there[name], asked.calls))
    rows = rows_of(taken, there)
    report.table(
        ["", "median us", "99 % us", "times slower", "bytes"],
        [
            [
                TOLD[row["name"]],
                f"{row['median_us']:.2f}",
                f"{row['p99_us']:.2f}",
                f"{row['ratio']:.1f}",
                f"{row['bytes']:,}",
            ]
            for row in rows
        ],
    )
    path = asked.json or asked.dir / "export" / LATENCY_FILE
    path.parent.mkdir(exist_ok=True)
    report.write(
        path, {"machine": machine, "rows": [row | {"told": TOLD[row["name"]]} for row in rows]}
    )


def rows_of(taken: dict[str, list[list[int]]], there: dict[str, Contender]) -> list[dict[str, Any]]:
    """Medians over repetitions of each one's median and 99 % quantile, of nanoseconds; ratios to
    the first, turn by turn."""
    first = next(iter(taken))
    medians = {name: [float(np.median(turn)) for turn in turns] for name, turns in taken.items()}
    return [
        {
            "name": name,
            "median_us": statistics.median(medians[name]) / 1e3,
            "p99_us": statistics.median(float(np.quantile(turn, 0.99)) for turn in turns) / 1e3,
            "ratio": timing.median_of(operator.truediv, medians[name], medians[first]),
            "bytes": there[name].bytes,
        }
        for name, turns in taken.items()
    ]


def prepare(asked: Latency, folder: Path) -> dict[str, Contender]:
    """What the contenders act with, written into `folder`; those that can be measured here."""
    run = RunFolder.open(asked.dir)
    policy = load_policy(asked.dir)
    spaces, dense = policy.spaces, dense_network(policy, run)
    sizes = dense.widths
    seen = recorded_observations(run)
    observations = policy.golden if seen is None else seen[-1024:]
    task = {"sizes": sizes, "choices": spaces.choices, "low": spaces.low, "high": spaces.high}
    (folder / "task.json").write_text(json.dumps(task))
    np.save(folder / "observations.npy", observations)
    (folder / "observations.bin").write_bytes(np.ascontiguousarray(observations).tobytes())
    policy.save(folder / "policy")
    there = {}
    for name in asked.names:
        missing = [package for package in NEEDED.get(name, ()) if not _found(package)]
        compiled_by = compiler()
        if missing or (name in PROGRAMS and compiled_by is None):
            _left_out(name, ", ".join(missing) or "a C compiler")
            continue
        if name in PROGRAMS:
            if PROGRAMS[name] == "int8" and seen is None:
                _left_out(name, "observations: the run has no checkpoint")
                continue
            program = CProgram(policy, device_network(policy, PROGRAMS[name], seen))
            assert compiled_by is not None
            there[name] = _compiled(program, folder, name, compiled_by)
            continue
        size = dense_bytes(dense)
        if name == "sparl":
            size = sum(layer.stored_bytes for layer in policy.network.layers)
        elif name.startswith("onnx"):
            network = build(jax.random.key(0), sizes, squash=not spaces.discrete)
            acts = policy if name == "onnx" else Policy(network, spaces, policy.golden)
            content = onnx.model(acts).SerializeToString()
            (folder / ("policy.onnx" if name == "onnx" else "dense.onnx")).write_bytes(content)
            size = len(content)
        there[name] = Contender([sys.executable, "-P", caller.__file__, name, str(folder)], size)
    if not there:
        raise BadRun("none of the contenders can be measured here")
    return there


def _compiled(program: CProgram, folder: Path, name: str, compiled_by: str) -> Contender:
    """The exported C with a loop around it, by this machine's compiler."""
    where = folder / name
    where.mkdir()
    for file, text in {**program.files(), "latency.c": template_text("latency.c.in")}.items():
        (where / file).write_text(text)
    command = [compiled_by, *COMPILE_FLAGS, "latency.c", "policy.c", "-o", "latency", "-lm"]
    subprocess.run(command, cwd=where, check=True)
    return Contender([str(where / "latency"), str(folder / "observations.bin")], program.nbytes)


def measured(contender: Contender, calls: int) -> list[int]:
    """Nanoseconds of each call."""
    command = [*contender.command, str(calls)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "XLA_FLAGS": ONE_THREAD}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    if done.returncode != 0:
        raise BadRun(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    return [int(line) for line in done.stdout.split()]


def _found(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _left_out(name: str, missing: str) -> None:
    print(f"{TOLD[name]} is left out: it needs {missing}", file=sys.stderr)
