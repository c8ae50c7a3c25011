"""The logs of a run: metrics.csv, restructures.csv, TensorBoard, and the terminal."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.networks import Footprint, Shapes
from sparl.storage import Mark, RunFolder, Table
from sparl.training.callbacks import Callbacks
from sparl.training.evaluation import Evaluation
from sparl.training.event_log import EventLog, histograms, scalars
from sparl.training.outbox import Outbox, described
from sparl.training.progress import Progress
from sparl.training.state import LoopState

TABLES = ("metrics.csv", "restructures.csv")
"""The CSV files of a run."""
COMPILING = 30.0
"""Seconds of compilation from which on it is told that they are most of the time."""
TIMES = ("steps_per_second", "wall_seconds", "compile_seconds")
"""Columns of metrics.csv that differ between equal runs, because they measure time."""


class Logger:
    """Writes the figures of a run to all its logs; it is a context that opens and closes them.

    No log stops a run when it cannot be written, because a disk is full, say. That is said once,
    and what is unwritten waits. A checkpoint needs all of it on the disk, so the next one stops the
    run, if that cannot be written either (`flush`); a run that is resumed makes these rows again.
    """

    def __init__(
        self,
        folder: RunFolder,
        run: RunConfig,
        engine: Engine,
        progress: Progress,
        callbacks: Callbacks,
        more: tuple[str, ...] = (),
    ) -> None:
        """
        Args:
            progress: What a person sees of it.
            callbacks: Are told of rows, and of the end.
            more: Columns of metrics.csv that only some runs have.
        """
        self.folder, self.agent = folder, engine.agent
        self._planned_updates = engine.planned_updates
        self._metrics, self._eval_max_steps = engine.algorithm.metrics, run.eval_max_steps
        self.progress, self._callbacks = progress, callbacks
        columns = [
            "step",
            "episodes",
            "updates",
            "episode_return",
            "episode_length",
            "eval_return",
            "eval_length",
            *engine.algorithm.metrics,
            "sparsity",
            *Footprint._fields,
            *more,
            *TIMES,
        ]
        self._outboxes: dict[str, Outbox[Any]] = {}
        """What the files of the logs have not taken yet, by their names in the folder."""
        self._outboxes["metrics.csv"] = Outbox(folder.table("metrics.csv", columns).append)
        self._marked = {name: folder.table(name, []) for name in TABLES}
        self._more = more
        self._warned: set[str] = set()
        """Warnings that were already printed."""
        self._compiled_before: float | None = None
        """Seconds of compilation before the networks became smaller; None when that is reported."""
        self._resumed_at: int | None = None
        self._told_compilation = False
        self._events: EventLog | None = None
        self._last = (0, 0.0)
        """The step and the time of the last row."""

    def __enter__(self) -> Logger:
        self._events = EventLog(self.folder.path / "tb", self._resumed_at)
        self._outboxes["tb"] = Outbox(self._events.write)
        self._last = (self._resumed_at or 0, time.perf_counter())
        self._entered = time.perf_counter()
        self.progress.start(self._resumed_at or 0)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._events is not None:
            self._events.close()
        self.progress.stop()
        self._callbacks.tell("on_end")

    def resume(self, step: int, marks: dict[str, Mark]) -> None:
        """Cuts every log back to a step.

        Args:
            step: Step of the checkpoint.
            marks: How far each table had come then. A table that is not there becomes empty.

        Raises:
            BadFile: A table is shorter than it was, or altered.
        """
        self._resumed_at = step
        for name in TABLES:
            mark, table = marks.get(name, Mark()), Table(self.folder.path / name, [])
            if mark.bytes and not table.path.exists():
                self.note(f"{table.path} is gone: its rows up to step {step} are missing from now")
            table.cut(mark)

    def flush(self) -> None:
        """Writes all that waits, and makes it survive a power cut.

        Raises:
            OSError: Something cannot be written.
        """
        for outbox in self._outboxes.values():
            outbox.send()
            if outbox.error is not None:
                raise outbox.error
        if self._events is not None:
            self._events.sync()

    def marks(self) -> dict[str, Mark]:
        """How far each table has come on the disk, by name, once all rows are there.

        Raises:
            OSError: As `flush`.
        """
        self.flush()
        return {name: self._marked[name].mark() for name in TABLES}

    def note(self, text: str) -> None:
        """Prints a sentence for the user."""
        self.progress.note(text)

    def warn(self, step: int, text: str) -> None:
        """Prints a warning, unless it was printed before."""
        if text not in self._warned:
            self._warned.add(text)
            self.note(f"step {step}: {text}")

    def figures(
        self, state: LoopState, engine: Engine, footprint: Footprint, more: dict[str, Any]
    ) -> dict[str, Any]:
        """A row of metrics.csv as of now, without an evaluation. Metrics begin anew with it.

        Args:
            footprint: The footprint of the networks in the newest updates.
            more: Values of the columns that only some runs have.
        """
        now = time.perf_counter()
        last_step, last_time = self._last
        row: dict[str, Any] = {
            "step": state.step,
            "episodes": state.episode,
            "updates": engine.updates,
            "episode_return": float(np.mean(state.returns)) if state.returns else None,
            "episode_length": float(np.mean(state.lengths)) if state.lengths else None,
            "eval_return": None,
            "eval_length": None,
            **engine.take_metrics(),
            "sparsity": engine.sparsity,
            **footprint._asdict(),
            **more,
            "steps_per_second": (state.step - last_step) / max(now - last_time, 1e-9),
            "wall_seconds": state.wall_seconds,
            "compile_seconds": engine.compile_seconds,
        }
        # The next row's steps per second include the time of this row and its evaluation.
        self._last = (state.step, now)
        if self._compiled_before is not None:
            seconds = engine.compile_seconds - self._compiled_before
            if seconds > 0:  # the next update compiles, which may be after this row
                self.note(f"compiling for the smaller networks took {seconds:.1f} s")
                self._compiled_before = None
        self._tell_compilation(state.step, engine, now - self._entered)
        return row

    def row(
        self,
        row: dict[str, Any],
        evaluation: Evaluation | None,
        evaluations: list[tuple[int, float]],
    ) -> None:
        """Writes a row that `figures` gave to metrics.csv, and the same to the other logs.

        Args:
            evaluation: The evaluation at its step, if there was one.
            evaluations: (step, mean return) of every evaluation so far.
        """
        step = row["step"]
        if evaluation is not None and evaluation.returns:
            row["eval_return"], row["eval_length"] = evaluation.mean_return, evaluation.mean_length
        self._write(step, "metrics.csv", row)
        self._scalars(step, row)
        self.progress.row(row, evaluations)
        self._callbacks.tell("on_log", step, row)
        if evaluation is not None and evaluation.cut:
            longest = f"{self._eval_max_steps} steps (eval_max_steps)"
            what = f"{evaluation.cut} episodes of an evaluation were cut after {longest}"
            self.warn(step, what)
        if evaluation is not None and evaluation.left_out:
            self.warn(step, "episodes of an evaluation were left out: their numbers are not finite")

    def restructured(self, step: int, updates: int, figures: dict[str, Any]) -> None:
        """Writes one row of restructures.csv, and the same figures to TensorBoard.

        Args:
            figures: The method's figures: numbers, or vectors, which become histograms.
        """
        numbers = {name: value for name, value in figures.items() if np.ndim(value) == 0}
        row = {"step": step, "updates": updates, **numbers}
        if "restructures.csv" not in self._outboxes:
            table = self.folder.table("restructures.csv", list(row))
            self._outboxes["restructures.csv"] = Outbox(table.append)
        self._write(step, "restructures.csv", row)
        tags = {f"restructure/{name}": value for name, value in numbers.items()}
        self._write(step, "tb", scalars(step, tags))
        vectors = {f"restructure/{n}": v for n, v in figures.items() if n not in numbers}
        if vectors:
            self._write(step, "tb", histograms(step, vectors))

    def shrunk(self, step: int, before: dict[str, Shapes], engine: Engine) -> None:
        """Reports that networks have fewer neurons; the next row reports the compilation time.

        Args:
            before: The shapes of the layers before, by network.
        """
        changes = [
            f"{name} {_hidden(shapes)} -> {_hidden(engine.shapes[name])}"
            for name, shapes in before.items()
            if shapes != engine.shapes[name]
        ]
        self.note(f"step {step}: neurons cut out: {', '.join(changes)}")
        if self._compiled_before is None:
            self._compiled_before = engine.compile_seconds

    def _tell_compilation(self, step: int, engine: Engine, seconds: float) -> None:
        """Says once that compilation is most of the time, and what makes it less."""
        took, prunings = engine.compile_seconds, getattr(engine.method, "prunings", None)
        if took < COMPILING or took < seconds / 2 or self._told_compilation:
            return
        self._told_compilation = True
        less = f". Each of {prunings} prunings compiles anew: fewer take less" if prunings else ""
        self.note(f"step {step}: {took:.0f} of {seconds:.0f} s went into compiling{less}")

    def _scalars(self, step: int, row: dict[str, Any]) -> None:
        """Writes a row to TensorBoard, under the names that Stable-Baselines3 uses."""
        names = {
            "rollout/ep_rew_mean": "episode_return",
            "rollout/ep_len_mean": "episode_length",
            "eval/mean_reward": "eval_return",
            "eval/mean_ep_length": "eval_length",
            "time/fps": "steps_per_second",
            "time/time_elapsed": "wall_seconds",
            "time/episodes": "episodes",
            "train/n_updates": "updates",
            **{tag: name for name, tag in self._metrics.items()},
            "sparsity/sparsity": "sparsity",
            **{f"sparsity/{name}": name for name in Footprint._fields},
            **{f"distributed/{name}": name for name in self._more},
        }
        values = {tag: row.get(column) for tag, column in names.items()}
        values["train/learning_rate"] = self._learning_rate(row["updates"])
        self._write(step, "tb", scalars(step, values))

    def _learning_rate(self, updates: int) -> float:
        """That of the next update, annealed where the agent says so."""
        agent, planned = self.agent, self._planned_updates
        if agent.anneal is None or not planned:
            return agent.learning_rate
        made = max(0, updates - agent.updates_before)
        return agent.learning_rate * float(agent.anneal(min(1.0, made / planned)))

    def _write(self, step: int, name: str, piece: Any) -> None:
        """Writes a piece to a log that is open, or keeps it; says so when either begins."""
        outbox = self._outboxes.get(name)
        if outbox is None:
            return
        failed_before = outbox.error is not None
        outbox.put(piece)
        if outbox.error is not None and not failed_before:
            why = described(outbox.error, self.folder.path)
            self.note(
                f"step {step}: {name} cannot be written: {why}. What is for it waits. Training "
                "goes on to the next checkpoint, and stops there if it still cannot be written"
            )
        elif outbox.error is None and failed_before:
            self.note(f"step {step}: {name} is written again, with all that had to wait")


def _hidden(shapes: Shapes) -> str:
    """The widths of the hidden layers, as 256-256."""
    return "-".join(str(out) for out, _ in shapes[:-1])
