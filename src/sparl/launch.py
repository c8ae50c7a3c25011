"""How a run starts: the trainer with the collector that it needs, its folder, its lock."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparl import agents, methods, plugins
from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadCheckpoint, BadRun, BadValue
from sparl.methods import Method
from sparl.storage import RunFolder, exclusive_folder, quoted
from sparl.training import Callback, LocalCollector, Trainer


def default_folder(run: RunConfig, method: Method) -> Path:
    """`runs/ENV-METHOD-SEED-TIME-PROCESS`, another one for each run that is begun.

    Runs of other options may begin in the same second; the number of the process tells them apart.
    """
    env = run.env.replace("/", "-").replace(":", "-")
    now = time.strftime("%Y%m%d-%H%M%S")
    name = f"{env}-{method.name}-{str(run.seed)[:20]}-{now}-{os.getpid()}"
    numbers = itertools.count(2)
    path = Path("runs") / name
    while path.exists():
        path = Path("runs") / f"{name}-{next(numbers)}"
    return path


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
    with _collector(run, agent, ray_address) as collector:
        yield Trainer(folder, run, agent, method, callbacks, quiet, collector)


def begin(trainer: Trainer) -> None:
    """Writes down what a new run is, and trains."""
    folder, run = trainer.folder, trainer.config
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


def take_up(trainer: Trainer, step: int, older: list[int]) -> None:
    """Resumes the checkpoint of `step`; the error of a broken one names the newest older one."""
    try:
        trainer.resume(step)
    except BadCheckpoint as error:
        path = trainer.folder.checkpoints.path
        way_out = (
            f"An older one may be whole: sparl train --resume {quoted(path(older[-1]))}"
            if older
            else "There is no older one to go back to."
        )
        raise BadCheckpoint(f"{error}. {way_out}") from error


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
        yield LocalCollector
        return
    try:
        # Ray is an extra, and takes half a second to import.
        from ray import cloudpickle

        from sparl import distributed
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise BadValue(
            f"actors is {run.actors}: that needs Ray, which is not installed: "
            'pip install "sparl[ray]"'
        ) from error
    module = plugins.file_module(type(agent))
    if module is not None:
        cloudpickle.register_pickle_by_value(module)
    with distributed.connected(ray_address, run.actors):
        yield distributed.RayCollector
