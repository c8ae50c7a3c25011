"""How a run starts: the trainer with the collector that it needs, its folder, its lock."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sparl import agents, envs, methods, plugins
from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadFile, BadRun, BadValue
from sparl.interop import logs
from sparl.methods import Method
from sparl.storage import RunFolder, exclusive_folder, quoted
from sparl.training import (
    Callback,
    LocalCollector,
    OfflineCollector,
    PretrainingCollector,
    Trainer,
    refuse_beyond,
)


def default_folder(run: RunConfig, method: Method) -> Path:
    """`runs/ENV-METHOD-SEED-TIME-PROCESS`, another one for each run that is begun.

    Runs of other options may begin in the same second; the number of the process tells them apart.
    """
    env = re.sub(r"[^\w.-]+", "-", run.env.removeprefix(envs.OBJECT).rpartition("/")[2])
    now = time.strftime("%Y%m%d-%H%M%S")
    name = f"{env}-{method.name}-{str(run.seed)[:20]}-{now}-{os.getpid()}"
    numbers = itertools.count(2)
    path = Path("runs") / name
    while path.exists():
        path = Path("runs") / f"{name}-{next(numbers)}"
    return path


def configured(env: Any, options: dict[str, Any]) -> RunConfig:
    """The options of a new run, with all that other processes need to make its environment.

    Args:
        env: As for `sparl.train`.
        options: Fields of `RunConfig`; `wrappers` may hold classes.
    """
    described = envs.describe(env)
    if described.single:  # evaluations have none of their own
        options = {"eval_env": "shared"} | options
    if "wrappers" in options:
        options = options | {"wrappers": envs.wrapper_specs(options["wrappers"])}
    if isinstance(options.get("replay"), Path):
        options = options | {"replay": str(options["replay"])}
    options = {"env_spec": described.recorded} | options
    run = RunConfig(described.name, **options).recorded()
    return logs.recorded(run) if run.replay else run


def learning_at_once(run: RunConfig, agent: Agent) -> Agent:
    """The same agent, without steps before it learns where logs are a batch at least."""
    enough = run.replay and run.replay_transitions >= agent.batch_size
    return replace(agent, learning_starts=0) if enough or run.offline else agent


def in_environment(run: RunConfig, env: Any) -> RunConfig:
    """The same run in an environment that Python code hands over again."""
    described = envs.describe(env)
    run = replace(run, env=described.name, env_spec=described.recorded, env_folder="")
    return (replace(run, eval_env="shared") if described.single else run).recorded()


def new_folder(path: str | Path | None, run: RunConfig, method: Method) -> RunFolder:
    """The folder of a run to begin, not yet made; `BadRun` where it holds anything."""
    folder = RunFolder(default_folder(run, method) if path is None else path)
    folder.refuse_if_taken()
    return folder


@contextmanager
def trainer(
    folder: RunFolder,
    run: RunConfig,
    agent: Agent,
    method: Method,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    ray_address: str | None = None,
) -> Iterator[Trainer]:
    """The trainer of a run, and while it trains the cluster that its actors need.

    Nothing is written before it is there: a run that cannot start leaves no folder behind.
    """
    plugins.refuse_while_loading()
    # What config.json will call them: a class that nobody could find again is refused here.
    agents.name_of(agent)
    methods.name_of(method)
    saved = folder.checkpoints.steps()
    if saved:
        refuse_beyond(folder, saved[-1], agent, folder.record().spaces)
    with _collector(run, agent, ray_address) as collector:
        yield Trainer(folder, run, agent, method, callbacks, quiet, collector)


class Start(NamedTuple):
    """Where a run goes on."""

    folder: RunFolder
    saved: list[int]
    """The steps of its checkpoints."""
    step: int | None
    """The checkpoint to take up; None if there is none yet."""


def start_of(path: Path, trust: bool = False) -> Start:
    """Where the run at a path goes on.

    Args:
        path: A run folder, or one of its checkpoints: `RUN/checkpoints/step-…`.
        trust: As for `RunFolder.open`.

    Raises:
        BadRun: There is no such run or checkpoint.
    """
    chosen = path.name.removeprefix("step-") if path.parent.name == "checkpoints" else None
    folder = RunFolder.open(path if chosen is None else path.parent.parent, trust)
    saved = folder.checkpoints.steps()
    if chosen is not None and (not chosen.isdecimal() or int(chosen) not in saved):
        raise BadRun(f"{path} is no checkpoint; there are those of steps {saved}")
    return Start(folder, saved, int(chosen) if chosen else saved[-1] if saved else None)


def prolonged(run: RunConfig, start: Start, steps: int | None) -> RunConfig:
    """The options of a run that goes on.

    Args:
        steps: Environment steps in all, if others than the run had.

    Raises:
        BadRun: It has come further than that, or has no checkpoint and did not begin by itself.
    """
    path, step = start.folder.path, start.step
    if step is None and run.begun_from:
        raise BadRun(
            f"{path} has no checkpoint. It began with {run.begun_from}: begin with that anew"
        )
    if steps is None:
        return run
    if step is not None and steps < step:
        raise BadRun(f"{path} is at step {step} already: steps {steps} is behind it")
    return replace(run, steps=steps)


def begin(trainer: Trainer) -> None:
    """Writes down what a new run is, and trains."""
    folder, run = trainer.folder, trainer.config
    take_logs(trainer)
    with writing(folder), exclusive_folder(folder.path):
        folder.refuse_if_taken()  # by a run that has begun, and perhaps ended, since the last look
        folder.write_config(run, trainer.agent, trainer.engine.method, trainer.spaces)
        trainer.run()


@contextmanager
def writing(folder: RunFolder) -> Iterator[None]:
    """A context in which a folder that cannot be written is a `BadRun`."""
    try:
        yield
    except OSError as error:
        raise BadRun(
            f"{error.filename or folder.path} cannot be read or written: {error.strerror or error}"
        ) from error


def begin_again(trainer: Trainer) -> None:
    """Begins a run that was stopped before its first checkpoint, in the folder that it has."""
    trainer.logger.resume(0, {})
    take_logs(trainer)


def take_logs(trainer: Trainer) -> None:
    """Fills the replay with a run's logs, if it has any, and another run has not filled it."""
    run = trainer.config
    if not run.replay or trainer.replay.size:
        return
    logged = logs.read(run, trainer.spaces)
    trainer.begin_with_transitions(logged.rows)
    without = f"; {logged.left_out} were not finite and are left out" if logged.left_out else ""
    held = f"the logs hold {len(logged.rows)} transitions of {logged.episodes} episodes"
    trainer.notes.append(held + without)


def take_up(trainer: Trainer, step: int, older: list[int]) -> None:
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


def forget_end(folder: RunFolder) -> None:
    """Takes the final policy and figures of a run away that goes on.

    If it is interrupted, its policy is that of its newest checkpoint, and it is no finished run.
    """
    (folder.path / "summary.json").unlink(missing_ok=True)
    if folder.policy.exists():
        shutil.rmtree(folder.policy)


def refuse_other_spaces(trainer: Trainer, spaces: Spaces) -> None:
    """Raises `BadRun` where the environment has other spaces than the run was made with."""
    if trainer.spaces != spaces:
        env = trainer.config.env
        raise BadRun(f"{env} has {trainer.spaces} now; the run was made with {spaces}")


@contextmanager
def _collector(run: RunConfig, agent: Agent, ray_address: str | None) -> Iterator[Any]:
    if not run.actors:
        if ray_address is not None:
            raise BadValue(
                f"ray_address is {ray_address!r}, and there is nothing to run there: ask for actors"
            )
        if run.offline:
            yield OfflineCollector
        elif run.pretrain_updates:
            yield partial(PretrainingCollector, LocalCollector)
        else:
            yield LocalCollector
        return
    try:
        # Ray is an extra, and takes half a second to import.
        from sparl import distributed
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise BadValue(
            f"actors is {run.actors}: that needs Ray, which is not installed: "
            'pip install "sparl[ray]"'
        ) from error
    with distributed.connected(ray_address, run.actors):
        yield distributed.RayCollector
