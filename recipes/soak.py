"""Train, and let go wrong what can, at random: after each fault a run is resumed, to the same end.

    python recipes/soak.py --minutes 60
    python recipes/soak.py --minutes 10 --seed 3 --log results/soak/10_minutes.txt

A round is one small run, disturbed up to six times and then left to end. Disturbances are SIGKILL,
SIGINT and SIGTERM at random moments; a disk that fills, for good or for a while (RLIMIT_FSIZE); a
clock that jumps; an environment that raises or gives what is no number; a process of an
environment, an actor or the replay that is killed; a second process in the same folder. Every run
must end; every row of its logs must be there, once; and where that is promised, it ends with the
same bytes as a run that nothing happened to. A process that is not gone two minutes after it should
be has hung.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_and_resume import outcome
from tensorboardX.proto.event_pb2 import Event

from sparl.replay import Columns, Replay
from sparl.storage import RunFolder

HERE = Path(__file__).parent
STEPS, LOG_EVERY, EVAL_EVERY = 3000, 100, 500
LIMIT = 120.0
"""Seconds after which a process that should be gone, or the whole of one, has hung."""
OPTIONS = (
    f"soak_environment:Soaked-v0 --steps {STEPS} --log-every {LOG_EVERY} --eval-every {EVAL_EVERY} "
    "--eval-episodes 3 --checkpoint-every 200 --learning-starts 100 --batch-size 16 --hidden 16 16 "
    "--method rnm --pattern 2:4 --interval 200"
)
CUSTOM = """
import faulthandler, os, random, signal, time
faulthandler.register(signal.SIGUSR1)
if "SOAK_CLOCK" in os.environ:
    draw, real, offset = random.Random(os.environ["SOAK_CLOCK"]), time.time, [0.0]
    def jumping():
        if draw.random() < 0.1:
            offset[0] = draw.uniform(-1e7, 1e7)
        return real() + offset[0]
    time.time = jumping
"""
"""What each process runs first: how to show where it hangs, and a clock that jumps."""


@dataclass(frozen=True)
class Kind:
    """A kind of run, and what can be done to it."""

    name: str
    options: str
    disturbances: tuple[str, ...]
    weight: float
    exact: tuple[str, ...] = ()
    """Disturbances after which it ends with the same bytes as if they had not been."""


SIGNALS = ("SIGKILL", "SIGINT", "SIGTERM", "twice SIGINT")
DISK = ("full disk", "full disk for a while")
KINDS = (
    Kind(
        "one environment",
        "",
        (*SIGNALS, *DISK, "environment raises", "environment gives NaN", "second process"),
        0.6,
        (*SIGNALS, *DISK, "second process"),
    ),
    Kind(
        "environments in processes",
        "--envs 3 --vectorization async",
        (*SIGNALS, *DISK, "SIGKILL of an environment", "second process"),
        0.25,
        # The first of two signals may have saved in time, between two of the checkpoints.
        ("SIGKILL", *DISK, "second process"),
    ),
    Kind(
        "actors",
        "--actors 2 --rollout-length 10",
        ("SIGKILL", "SIGINT", *DISK, "SIGKILL of an actor", "SIGKILL of the replay"),
        0.15,
    ),
)
VICTIMS = {
    "SIGKILL of an environment": "spawn_main",
    "SIGKILL of an actor": "ray::Actor",
    "SIGKILL of the replay": "ray::Replay",
}
"""What the command line of a process has that is to be killed in the place of the whole."""


@dataclass
class Soak:
    """All rounds: what was done, and what came of it."""

    folder: Path
    draw: random.Random
    log: Any
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    quiet: dict[str, tuple[Any, float]] = field(default_factory=dict)
    """By kind: how a quiet run ended, and the seconds that it took."""
    exact_ends: int = 0

    def tell(self, text: str) -> None:
        """Writes a line to the log and to the terminal."""
        for path, name in ((self.folder, "SOAK"), (HERE.parent, "SPARL"), (sys.prefix, "PYTHON")):
            text = text.replace(str(path), name)
        line = f"{time.monotonic() - self.began:7.1f} s  {text}"
        print(line, flush=True)
        print(line, file=self.log, flush=True)

    def fault(self, text: str) -> None:
        """Notes what must not be."""
        self.faults.append(text)
        self.tell(f"FAULT: {text}")

    def round(self, number: int, kind: Kind) -> None:
        """One run, disturbed and resumed until it ends."""
        run = self.folder / f"{number} [a] b"
        exact, seconds = bool(kind.exact), self.quiet[kind.name][1]
        chosen = [self.draw.choice(kind.disturbances) for _ in range(self.draw.randint(1, 6))]
        self.tell(f"round {number}, {kind.name}: {', '.join(chosen)}")
        for disturbance in [*chosen, "nothing"]:
            ended, told = self.disturb(run, kind, disturbance, seconds)
            exact &= disturbance in (*kind.exact, "nothing") or ended == 0
            # An episode that was cut is another one when the run is resumed.
            exact &= "were cut to save in time" not in told
            if ended == 0:
                break
        if ended != 0:
            self.fault(f"round {number} did not end: {told.strip().splitlines()[-1:]}")
            return
        self.judge(number, kind, run, exact)

    def judge(self, number: int, kind: Kind, run: Path, exact: bool) -> None:
        """Whether a run that has ended has all that it should have."""
        found, faults_before = ending(run), len(self.faults)
        steps = list(range(LOG_EVERY, STEPS + 1, LOG_EVERY))
        if kind.name != "actors" and [int(row["step"]) for row in found["metrics.csv"]] != steps:
            self.fault(f"round {number}: rows of metrics.csv are missing or there twice")
        if found["replay"] != STEPS:
            self.fault(f"round {number}: {found['replay']} transitions of {STEPS}")
        rows = {int(row["step"]): row for row in found["metrics.csv"]}
        if sorted(found["tb"]["train/n_updates"]) != sorted(rows):
            self.fault(f"round {number}: TensorBoard has other rows than metrics.csv")
        if exact:
            expected = self.quiet[kind.name][0]
            other = [name for name in expected if found[name] != expected[name]]
            self.exact_ends += not other
            if other:
                self.fault(f"round {number} differs from a quiet run in {', '.join(other)}")
        verdict = "the same bytes as a quiet run" if exact else "all rows and transitions"
        if len(self.faults) == faults_before:
            self.tell(f"round {number} ended with {verdict}")
            shutil.rmtree(run)

    def disturb(self, run: Path, kind: Kind, what: str, seconds: float) -> tuple[int, str]:
        """Starts or resumes a run and disturbs it; gives its exit status and what it told."""
        if what != "nothing":
            self.done[what] += 1
        variables: dict[str, str] = {}
        if self.draw.random() < 0.4:
            variables["SOAK_CLOCK"] = str(self.draw.random())
            self.done["jumping clock"] += 1
        if what.startswith("environment "):
            fault = "raise" if what == "environment raises" else "nan"
            variables["SOAK_FAULT"] = f"{fault}:{self.draw.randint(1, STEPS)}"
        process = Process(self.folder, run, kind.options, variables)
        acts = what != "nothing" and "SOAK_FAULT" not in variables
        if acts and self.comes(process, run, seconds):
            self.act(process, run, what)
        ended = process.wait(LIMIT)
        if ended is None:
            self.fault(f"{what}: it hangs\n{process.stacks()}")
        told = process.finish()
        for step in sorted((run / "checkpoints").glob("step-*"))[-1:]:
            self.tell(f"  {what}: ended with {process.process.returncode}, {step.name} is safe")
        if "Traceback" in told and "KeyboardInterrupt" not in told:
            self.fault(f"{what}: a traceback\n{told}")
        if what == "nothing" and ended != 0:
            self.fault(f"{what}: ended with {ended}\n{told}")
        return process.process.returncode, told

    def comes(self, process: Process, run: Path, seconds: float) -> bool:
        """Waits for a random moment; whether it comes before the process has ended."""
        if self.draw.random() < 0.3:  # any, while it starts for the most part
            return process.wait(self.draw.uniform(0.0, 0.7) * seconds) is None
        steps = [int(path.name.removeprefix("step-")) for path in run.glob("checkpoints/step-*")]
        done = max(steps, default=0)
        row = self.draw.uniform(done, done + 0.6 * (STEPS - done)) / LOG_EVERY
        table, began = run / "metrics.csv", time.time()
        while process.wait(0.02) is None:
            # One that is resumed cuts the table back first.
            if table.exists() and table.stat().st_mtime > began:
                if table.read_bytes().count(b"\n") > row:
                    return True
            elif time.time() - began > LIMIT:
                break
        return False

    def act(self, process: Process, run: Path, what: str) -> None:
        """Does to a running process what was drawn."""
        if what in SIGNALS:
            number = signal.Signals[what.split()[-1]]
            process.process.send_signal(number)
            if what.startswith("twice"):
                time.sleep(self.draw.uniform(0.0, 0.5))
                process.process.send_signal(number)
        elif what in DISK:
            process.limit(self.draw.choice((0, 100, 3000)))
            if what == "full disk for a while":
                time.sleep(self.draw.uniform(0.0, 1.0))
                process.limit(None)
        elif what in VICTIMS:
            victims = process.descendants(VICTIMS[what])
            if victims:
                os.kill(self.draw.choice(victims), signal.SIGKILL)
        elif what == "second process" and (run / "config.json").exists():
            other = Process(self.folder, run, "", {})
            ended = other.wait(LIMIT)
            told = other.finish()
            alone = process.process.poll() is not None  # the first had ended by then
            if not alone and (ended != 1 or "another process is training in" not in told):
                self.fault(f"a second process was let in: {ended}\n{told}")


class Process:
    """A process that trains in a folder, with those that it starts."""

    def __init__(self, folder: Path, run: Path, options: str, variables: dict[str, str]) -> None:
        resumes = (run / "config.json").exists()
        words = ["--resume", str(run)] if resumes else [*OPTIONS.split(), *options.split()]
        words += [] if resumes else ["--out", str(run)]
        # JAX does not write its cache wholly or not at all, so each process has a copy.
        self.cache = Path(tempfile.mkdtemp(dir=folder))
        if (folder / "cache").exists():
            shutil.copytree(folder / "cache", self.cache, dirs_exist_ok=True)
        self.told = open(self.cache / "told", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        paths = [str(folder / "custom"), str(HERE), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sparl", "train", *words],
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                "JAX_COMPILATION_CACHE_DIR": str(self.cache),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
                "RAY_TMPDIR": str(folder / "r"),
            }
            | variables,
            stdout=self.told,
            stderr=self.told,
            start_new_session=True,
        )

    def wait(self, seconds: float) -> int | None:
        """The exit status; None if it is not gone after so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def limit(self, size: int | None) -> None:
        """Lets its files grow to a size; None for any size."""
        size = resource.RLIM_INFINITY if size is None else size
        if self.process.poll() is None:
            resource.prlimit(
                self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)
            )

    def descendants(self, having: str) -> list[int]:
        """The processes below it whose command line has some text."""
        listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True)
        rows = [line.split(None, 2) for line in listed.stdout.decode(errors="replace").splitlines()]
        family, before = {self.process.pid}, 0
        while len(family) > before:
            before = len(family)
            family |= {int(row[0]) for row in rows if int(row[1]) in family}
        return [int(row[0]) for row in rows if int(row[0]) in family and having in "".join(row[2:])]

    def stacks(self) -> str:
        """Where its threads are."""
        self.process.send_signal(signal.SIGUSR1)
        time.sleep(1)
        self.told.seek(0)
        return self.told.read()[-6000:]

    def finish(self) -> str:
        """Ends what is left of it, and gives what it told."""
        left = self.descendants("") if self.process.poll() is None else []
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.told.seek(0)
        told = self.told.read()
        self.told.close()
        shutil.rmtree(self.cache, ignore_errors=True)
        return told


def ending(run: Path) -> dict[str, Any]:
    """What a run that has ended leaves, but for times."""
    replay = Replay(STEPS + 100, Columns(3, 1))
    checkpoints = RunFolder(run).checkpoints
    checkpoints.load_replay(checkpoints.steps()[-1], replay)
    tb = {tag: values for tag, values in scalars(run / "tb").items() if not tag.startswith("time/")}
    return outcome(run) | {"tb": tb, "replay": replay.added}


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """The scalars of event files, as TensorBoard would show them."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            if event.HasField("session_log"):  # resumed here: later steps of earlier files are void
                for values in found.values():
                    for step in [step for step in values if step >= event.step]:
                        del values[step]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
            at += 16 + length
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--log", type=Path, help="also write what happens into this file")
    parser.add_argument("--kinds", nargs="+", choices=[k.name for k in KINDS])
    parser.add_argument("--keep", type=Path, help="move the folders of rounds with faults to here")
    asked = parser.parse_args()
    kinds = [kind for kind in KINDS if asked.kinds is None or kind.name in asked.kinds]
    if asked.log is not None:
        asked.log.parent.mkdir(parents=True, exist_ok=True)
    # Short, because Ray puts sockets below it.
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        open(asked.log or os.devnull, "w", encoding="utf-8") as log,
    ):
        folder = Path(name)
        (folder / "custom").mkdir()
        (folder / "custom" / "sitecustomize.py").write_text(CUSTOM, encoding="utf-8")
        soak = Soak(folder, random.Random(asked.seed), log)
        soak.tell(f"seed {asked.seed}, {asked.minutes:g} minutes")
        for kind in kinds:
            process, began = Process(folder, folder / kind.name, kind.options, {}), time.monotonic()
            ended = process.wait(LIMIT)
            shutil.copytree(process.cache, folder / "cache", dirs_exist_ok=True)
            told, seconds = process.finish(), time.monotonic() - began
            if ended != 0:
                soak.fault(f"a quiet run of {kind.name} ended with {ended}\n{told}")
                return 1
            soak.quiet[kind.name] = ending(folder / kind.name), seconds
            soak.tell(f"a quiet run with {kind.name} took {seconds:.1f} s")
        number = 0
        while time.monotonic() - soak.began < 60 * asked.minutes:
            number += 1
            (kind,) = soak.draw.choices(kinds, [kind.weight for kind in kinds])
            soak.round(number, kind)
        soak.tell(f"{number} rounds, {soak.exact_ends} of them with the same bytes as a quiet run")
        soak.tell(", ".join(f"{what}: {count}" for what, count in sorted(soak.done.items())))
        soak.tell(f"{len(soak.faults)} faults")
        if asked.keep is not None and soak.faults:
            shutil.copytree(folder, asked.keep, dirs_exist_ok=True)
        return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
