"""How a run goes on: from one of its checkpoints, with what may be changed about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import UNSET

from sparl.agents import Agent
from sparl.config import RunConfig, Show
from sparl.engine import Engine
from sparl.errors import BadFile, BadRun
from sparl.launch import starting
from sparl.storage import Change, RunFolder, exclusive_folder, provenance, quoted
from sparl.training import Callback, Trainer

NEVER = "never"
"""In place of a return: the run does not stop at any."""


@contextmanager
def resumed(
    path: Path,
    changes: dict[str, Any],
    env: Any = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
    ray_address: str | None = None,
    trust: bool = False,
    kind: type[Engine] = Engine,
) -> Iterator[Trainer]:
    """A context in which a run has taken up a checkpoint, and its folder is no other process's.

    For what is not told here see `sparl.resume`.

    Args:
        path: A run folder, or one of its checkpoints.
        changes: Options of the run, and its learning rate, by name; None for what stays.
        kind: Of its engine.
    """
    folder, _, step = start = _start_of(path, trust)
    run, agent, method, spaces = folder.read_config()
    run = run if env is None else starting.in_environment(run, env)
    before = run, agent
    run, agent = _changed(run, agent, start, changes)
    told = (quiet, progress, ray_address)
    started = starting.trainer(folder, run, agent, method, callbacks, *told, kind)
    with ExitStack() as held:
        with starting.writing(folder):
            held.enter_context(exclusive_folder(folder.path))
            trainer = held.enter_context(started)
            starting.refuse_other_spaces(trainer, spaces)
            recorded = _taken_up(trainer, start, before, (run, agent))
            if (step or 0) < run.steps and not trainer.state.ended:
                # First: with the new steps in config.json it would look finished.
                _forget_end(folder)
            folder.write_config(run, agent, method, spaces, recorded)
        yield trainer


class Start(NamedTuple):
    """Where a run goes on."""

    folder: RunFolder
    saved: list[int]
    """The steps of its checkpoints."""
    step: int | None
    """The checkpoint to take up; None if there is none yet."""


def _taken_up(
    trainer: Trainer, start: Start, before: tuple[RunConfig, Agent], now: tuple[RunConfig, Agent]
) -> list[Change]:
    """Takes up the start of a run that goes on, and tells what has changed since.

    Args:
        before: The options as they were recorded.
        now: As they are from here on.

    Returns:
        The changes of the run that are to be recorded, those of before among them.
    """
    folder, saved, step = start
    ended = ""
    if step is None:
        _begin_again(trainer)
    else:
        _take_up(trainer, step, [s for s in saved if s < step])
        if step < now[0].steps:
            ended = _past_its_end(trainer)
    changed = _difference(before, now)
    recorded = [_cut(change, step or 0) for change in folder.changes()]
    others = provenance.differing(folder.versions())
    if changed or ended or others:
        recorded.append(Change(step or 0, changed, ended, others or UNSET))
        trainer.notes += [
            f"{name} is {new} now; it was {old}" for name, (old, new) in (changed | others).items()
        ]
    if others:
        trainer.notes.append("with other versions it does not go on bit for bit")
    return recorded


def _start_of(path: Path, trust: bool = False) -> Start:
    """Where the run at a path goes on.

    Args:
        path: A run folder, or one of its checkpoints: `RUN/checkpoints/step-…`.
        trust: As for `RunFolder.open`.

    Raises:
        BadRun: There is no such run or checkpoint.
    """
    chosen = path.name.removeprefix("step-") if path.parent.name == "checkpoints" else None
    folder = RunFolder.open(path if chosen is None else path.parent.parent, trust)
    with starting.writing(folder), exclusive_folder(folder.path):
        folder.checkpoints.recover()
    saved = folder.checkpoints.steps()
    if chosen is not None and (not chosen.isdecimal() or int(chosen) not in saved):
        raise BadRun(f"{path} is no checkpoint; there are those of steps {saved}")
    return Start(folder, saved, int(chosen) if chosen else saved[-1] if saved else None)


def _changed(
    run: RunConfig, agent: Agent, start: Start, changes: dict[str, Any]
) -> tuple[RunConfig, Agent]:
    """The options of a run that goes on.

    Raises:
        BadRun: It has come further than its steps, or has no checkpoint and did not begin by
            itself.
        BadValue: An option is out of range.
    """
    path, step = start.folder.path, start.step
    if step is None and run.begun_from:
        raise BadRun(
            f"{path} has no checkpoint. It began with {run.begun_from}: begin with that anew"
        )
    given = {name: value for name, value in changes.items() if value is not None}
    if step is not None and given.get("steps", step) < step:
        raise BadRun(f"{path} is at step {step} already: steps {given['steps']} is behind it")
    if given.get("stop_at_return") == NEVER:
        given["stop_at_return"] = None
    if "learning_rate" in given:
        agent = replace(agent, learning_rate=given.pop("learning_rate"))
    return replace(run, **given), agent


def _difference(before: tuple[Any, ...], after: tuple[Any, ...]) -> dict[str, tuple[Any, Any]]:
    """The options that were changed: by name what they were and what they are."""
    changed = {}
    for old, new in zip(before, after, strict=True):
        for name in (field.name for field in fields(old)):
            if getattr(old, name) != getattr(new, name):
                changed[name] = getattr(old, name), getattr(new, name)
    return changed


def _cut(change: Change, step: int) -> Change:
    """What an earlier change is to a run that goes on at a checkpoint before it."""
    return change if change.step <= step else Change(step, change.changed)


def _past_its_end(trainer: Trainer) -> str:
    """Lets a run go on that something had ended at this checkpoint; gives why it had ended.

    A run that was killed before it left its final policy and figures has yet to leave them.
    """
    folder, state = trainer.folder, trainer.state
    went_on = any(change.step == state.step and change.ended for change in folder.changes())
    if not state.ended or not (went_on or (folder.path / "summary.json").exists()):
        return ""
    ended, state.ended = state.ended, ""
    return "" if went_on else ended


def _begin_again(trainer: Trainer) -> None:
    """Begins a run that was stopped before its first checkpoint, in the folder that it has."""
    trainer.logger.resume(0, {})
    starting.take_logs(trainer)


def _take_up(trainer: Trainer, step: int, older: list[int]) -> None:
    """Resumes the checkpoint of `step`; the error of a broken one names the newest older one."""
    try:
        trainer.resume(step)
    except BadFile as error:
        path = trainer.folder.checkpoints.path
        way_out = (
            f"An older one may be whole: sparl train --resume {quoted(path(older[-1]))}"
            if older
            else "There is no older one to go back to."
        )
        raise error.followed_by(way_out) from error


def _forget_end(folder: RunFolder) -> None:
    """Takes the policies and the final figures of a run away that goes on.

    If it is interrupted, its policy is that of its newest checkpoint, and it is no finished run.
    """
    (folder.path / "summary.json").unlink(missing_ok=True)
    for policy in (folder.policy, folder.best_policy):
        if policy.exists():
            shutil.rmtree(policy)
