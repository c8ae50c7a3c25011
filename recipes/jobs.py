"""Many runs side by side, one core each, resumable; and how fast they are, one at a time.

Two single-core runs on two cores make more steps in an hour than two runs one after the other
that share both. Run folders stay where `--runs` says.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from sparl.storage import RunFolder
from sparl.training import snapshot


@dataclass(frozen=True)
class Variant:
    """A name, and the options of `sparl train` that make it."""

    name: str
    options: tuple[str, ...]
    steps: int | None = None
    """Its own, if they are not the study's."""
    shape_of: str | None = None
    """The variant whose networks, with the same seed, ended with the hidden widths that this one's
    have from the start: it waits for that. Of two critics the wider one counts, layer by layer."""


@dataclass(frozen=True)
class Study:
    """Variants side by side on one environment."""

    env: str
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    steps: int = 300_000
    common: tuple[str, ...] = ()
    """Options of `sparl train` that all variants have."""


def sparse(method: str, percent: int, *options: str, called: str = "") -> Variant:
    """A method of unstructured sparsity, with that share of the weights left out."""
    start = ("--method", method, "--sparsity", str(percent / 100))
    return Variant(f"{method}-{percent}{called}", (*start, *options))


def width_for(stored: int, ends: int, networks: int) -> int:
    """The width of the control that a sparse agent has to beat: a dense one of as many weights.

    The smallest width of two hidden layers at which `networks` networks, which have `ends` inputs
    and outputs between them, hold at least `stored` weights.
    """
    return next(w for w in range(1, 10_000) if networks * w**2 + ends * w >= stored)


@dataclass(frozen=True)
class Job:
    """One variant with one seed."""

    variant: Variant
    seed: int
    env: str
    steps: int
    common: tuple[str, ...] = ()

    def folder(self, runs: Path) -> Path:
        return self._folder_of(self.variant.name, runs)

    def _folder_of(self, variant: str, runs: Path) -> Path:
        return runs / f"{self.env.rpartition(':')[2]}-{variant}-{self.seed}"

    def elder(self, runs: Path) -> Path | None:
        """The folder of the run that this one takes its shape from."""
        other = self.variant.shape_of
        return self._folder_of(other, runs) if other else None

    def ready(self, runs: Path) -> bool:
        elder = self.elder(runs)
        return elder is None or (elder / "summary.json").exists()

    def command(self, runs: Path) -> list[str]:
        folder, elder = self.folder(runs), self.elder(runs)
        start = [sys.executable, "-m", "sparl", "train"]
        if (folder / "config.json").exists():
            return [*start, "--resume", str(folder), "--steps", str(self.steps)]
        return [
            *start,
            *(self.env, "--steps", str(self.steps), "--seed", str(self.seed)),
            *("--out", str(folder)),
            *self.common,
            *self.variant.options,  # of an option that is there twice the last one counts
            *(_shape_of(elder) if elder else ()),
        ]

    def done(self, runs: Path) -> bool:
        path = self.folder(runs) / "summary.json"
        return path.exists() and json.loads(path.read_text())["steps"] >= self.steps


def _shape_of(folder: Path) -> list[str]:
    """The options that give dense networks of the hidden widths that a run came to."""
    shapes = snapshot(RunFolder.open(folder))[0].shapes
    hidden = {name: [out for out, _ in layers[:-1]] for name, layers in shapes.items()}
    acting = hidden.pop("actor") if "actor" in hidden else hidden.pop("q")
    critics = [max(layer) for layer in zip(*hidden.values(), strict=True)]
    beside = ["--critic-hidden", *map(str, critics)] if critics else []
    return ["--hidden", *map(str, acting), *beside]


def run_all(jobs: Sequence[Job], runs: Path, cores: Sequence[int]) -> None:
    """Runs what is not done yet, in order, one job on each of `cores` at a time.

    A job that fails is told of and left; the others go on. Run again to go on with it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if not job.done(runs)]
    print(f"{len(jobs) - len(waiting)} of {len(jobs)} runs are done already", flush=True)
    free, running = list(cores), {}
    while waiting or running:
        while free and (ready := [job for job in waiting if job.ready(runs)]):
            job, core = ready[0], free.pop()
            waiting.remove(job)
            running[_start(job, runs, core)] = (job, core)
            print(f"core {core}: {job.variant.name}, seed {job.seed}", flush=True)
        if not running:
            print(f"{len(waiting)} runs wait for others that are not done", flush=True)
            return
        pid, status = os.wait()
        job, core = running.pop(pid)
        free.append(core)
        ended = "done" if status == 0 else f"FAILED, see {job.folder(runs)}.log"
        print(f"core {core}: {job.variant.name}, seed {job.seed}: {ended}", flush=True)


def _start(job: Job, runs: Path, core: int) -> int:
    with open(f"{job.folder(runs)}.log", "a", encoding="utf-8") as log:
        process = subprocess.Popen(
            job.command(runs),
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    return process.pid


WARM, TIMED = 2_000, 2_500
"""Steps before the clock starts, which have the first restructuring in them, and timed steps."""


def measure(variants: Sequence[Variant], study: Study, path: Path, repetitions: int = 3) -> None:
    """Steps per second of each variant's training, alone on all cores, to a JSON file.

    The variants take turns. Evaluation is not timed. For a machine that does nothing else: what the
    runs of `run_all` tell of their own speed is that of one core with neighbours.
    """
    found: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for repetition, variant in product(range(repetitions), variants):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            options = {
                **{"--steps": WARM + TIMED, "--eval-every": WARM + TIMED, "--log-every": WARM // 4},
                **{"--learning-starts": 500, "--eval-episodes": 1, "--out": out},
            }
            subprocess.run(
                [sys.executable, "-m", "sparl", "train", study.env, "--quiet", *variant.options]
                + [*study.common]
                + [str(part) for option in options.items() for part in option],
                check=True,
            )
            with open(out / "metrics.csv", encoding="utf-8") as file:
                clock = {int(r["step"]): float(r["wall_seconds"]) for r in csv.DictReader(file)}
        found[variant.name].append(TIMED / (clock[WARM + TIMED] - clock[WARM]))
        print(f"{repetition + 1}: {variant.name} {found[variant.name][-1]:.0f} steps/s", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
