"""`sparl bench latency`: the time of one action of a trained policy, beside other libraries.

Every measurement is a process of its own with one thread: `caller`, or the exported C with a loop
around it. Contenders take turns, because the speed of a machine drifts.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import operator
import os
import shlex
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
"""Contenders that are exported C, with their types of weights."""
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
PACKAGES = {"onnx": ("onnx", "onnxruntime"), "onnx-dense": ("onnx", "onnxruntime")} | {
    "torch": ("torch",),
    "sb3": ("torch", "stable_baselines3"),
}
"""Packages that a contender needs."""
LABELS = {
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
    """Time a trained policy's action for one observation on one thread: as exported C, by predict
    of sparl and of Stable-Baselines3, by ONNX Runtime and PyTorch. A contender whose package is
    missing is left out with a message."""

    dir: tyro.conf.Positional[Path]
    """Run folder."""
    names: tuple[str, ...] = tuple(LABELS)
    """Contenders to measure. The dense ones have the widths that the run began with."""
    calls: int = 5_000
    """Timed calls in one repetition."""
    repetitions: int = 5
    """How often the contenders take turns; figures are medians over these."""
    trust: bool = False
    """Import the code that a run of others names, where it has no final policy."""
    json: Path | None = None
    """File for the figures; DIR/export/latency.json if not given."""

    def check(self) -> None:
        """Checks the options before anything is measured.

        Raises:
            BadValue: An option has a value that is not possible; the message says which are.
        """
        report.check(self.json, calls=self.calls, repetitions=self.repetitions)
        for name in self.names:
            if name not in LABELS:
                raise BadValue(f"no contender {name!r}: choose of {', '.join(LABELS)}")


class Contender(NamedTuple):
    """What is measured of one contender."""

    command: list[str]
    """Prints nanoseconds per call; the number of calls is its last argument, still to be added."""
    bytes: int
    """Size of the policy that it acts with."""


def run(options: Latency) -> None:
    """Measures, prints a table and writes the JSON file."""
    options.check()
    machine = report.machine()
    with tempfile.TemporaryDirectory() as folder:
        contenders = prepare(options, Path(folder))
        nanoseconds: dict[str, list[list[int]]] = {name: [] for name in contenders}
        turns = itertools.product(range(options.repetitions), contenders)
        for _, name in report.in_turn(turns, lambda turn: f"{turn[1]}, repetition {turn[0] + 1}"):
            nanoseconds[name].append(measure(contenders[name], options.calls))
    rows = summarize(nanoseconds, contenders)
    report.table(
        ["", "median us", "99 % us", "times slower", "bytes"],
        [
            [
                LABELS[row["name"]],
                f"{row['median_us']:.2f}",
                f"{row['p99_us']:.2f}",
                f"{row['ratio']:.1f}",
                f"{row['bytes']:,}",
            ]
            for row in rows
        ],
    )
    path = options.json or options.dir / "export" / LATENCY_FILE
    path.parent.mkdir(exist_ok=True)
    report.write(
        path, {"machine": machine, "rows": [row | {"told": LABELS[row["name"]]} for row in rows]}
    )


def summarize(
    nanoseconds: dict[str, list[list[int]]], contenders: dict[str, Contender]
) -> list[dict[str, Any]]:
    """Gives the figures of each contender for the table and the JSON file.

    Args:
        nanoseconds: Of each call, by contender and repetition.
        contenders: By name.

    Returns:
        A row per contender: medians over the repetitions of its median and of its 99 % quantile,
        in microseconds, and of the ratio to the first contender in the same repetition.
    """
    first = next(iter(nanoseconds))
    medians = {
        name: [float(np.median(turn)) for turn in turns] for name, turns in nanoseconds.items()
    }
    return [
        {
            "name": name,
            "median_us": statistics.median(medians[name]) / 1e3,
            "p99_us": statistics.median(float(np.quantile(turn, 0.99)) for turn in turns) / 1e3,
            "ratio": timing.median_of(operator.truediv, medians[name], medians[first]),
            "bytes": contenders[name].bytes,
        }
        for name, turns in nanoseconds.items()
    ]


def prepare(options: Latency, folder: Path) -> dict[str, Contender]:
    """Writes what the contenders act with, and gives those that can be measured here.

    Args:
        options: Of the benchmark.
        folder: Where the policies and observations are written.

    Raises:
        BadRun: No contender can be measured here.
    """
    run = RunFolder.open(options.dir, options.trust)
    whole = load_policy(options.dir)
    policy = whole.narrowed()
    spaces, dense = policy.spaces, dense_network(policy, run)
    sizes = dense.widths
    recorded = recorded_observations(run, whole)
    observations = policy.golden if recorded is None else recorded[-1024:]
    task = {"sizes": sizes, "shape": spaces.observation_shape, "choices": spaces.choices}
    task |= {"low": spaces.low, "high": spaces.high}
    (folder / "task.json").write_text(json.dumps(task))
    np.save(folder / "observations.npy", observations)
    (folder / "observations.bin").write_bytes(np.ascontiguousarray(observations).tobytes())
    policy.save(folder / "policy")
    contenders = {}
    for name in options.names:
        missing = [package for package in PACKAGES.get(name, ()) if not _installed(package)]
        compiled_by = compiler()
        if missing or (name in PROGRAMS and compiled_by is None):
            _left_out(name, ", ".join(missing) or "a C compiler")
            continue
        if name in PROGRAMS:
            if PROGRAMS[name] == "int8" and recorded is None:
                _left_out(name, "observations: the run has no checkpoint")
                continue
            program = CProgram(policy, device_network(policy, PROGRAMS[name], recorded))
            assert compiled_by is not None
            contenders[name] = _compile(program, folder, name, compiled_by)
            continue
        size = dense_bytes(dense)
        if name == "sparl":
            size = sum(layer.stored_bytes for layer in policy.network.layers)
        elif name.startswith("onnx"):
            network = build(jax.random.key(0), sizes, squash=not spaces.discrete)
            exported = policy if name == "onnx" else Policy(network, spaces, policy.golden)
            content = onnx.model(exported).SerializeToString()
            (folder / ("policy.onnx" if name == "onnx" else "dense.onnx")).write_bytes(content)
            size = len(content)
        contenders[name] = Contender(
            [sys.executable, "-P", caller.__file__, name, str(folder)], size
        )
    if not contenders:
        raise BadRun("none of the contenders can be measured here")
    return contenders


def _compile(program: CProgram, folder: Path, name: str, compiled_by: str) -> Contender:
    """Compiles the exported C with a loop around it."""
    program_folder = folder / name
    program_folder.mkdir()
    program.write(program_folder)
    (program_folder / "latency.c").write_text(template_text("latency.c.in"))
    command = [*shlex.split(compiled_by), *COMPILE_FLAGS]
    command += ["latency.c", "policy.c", "-o", "latency", "-lm"]
    subprocess.run(command, cwd=program_folder, check=True)
    return Contender(
        [str(program_folder / "latency"), str(folder / "observations.bin")], program.nbytes
    )


def measure(contender: Contender, calls: int) -> list[int]:
    """Runs a contender as a process with one thread and gives the nanoseconds of each call.

    Raises:
        BadRun: The process failed; the message has its error.
    """
    command = [*contender.command, str(calls)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "XLA_FLAGS": ONE_THREAD}
    finished = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", env=one_thread
    )
    if finished.returncode != 0:
        raise BadRun(f"{' '.join(command)} failed: {finished.stderr.strip()[-2000:]}")
    return [int(line) for line in finished.stdout.split()]


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _left_out(name: str, missing: str) -> None:
    print(f"{LABELS[name]} is left out: it needs {missing}", file=sys.stderr)
