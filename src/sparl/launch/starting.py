"""How a run starts: the trainer with the collector that it needs, its folder, its lock."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from sparl import agents, envs, methods, plugins
from sparl.agents import AGENTS, Agent
from sparl.config import RunConfig, Show, hints
from sparl.engine import Engine
from sparl.envs import Spaces
from sparl.errors import BadRun, BadValue
from sparl.interop import logs
from sparl.methods import METHODS, Method
from sparl.plugins import Registry
from sparl.storage import RunFolder, exclusive_folder
from sparl.training import (
    Callback,
    LocalCollector,
    OfflineCollector,
    PretrainingCollector,
    Trainer,
    refuse_beyond,
)
from sparl.validation import shown


def default_folder(run: RunConfig, method: Method) -> Path:
    """`runs/ENV-METHOD-SEED-TIME-PROCESS`, another one for each run that is begun.

    Runs of other options may begin in the same second; the number of the process tells them apart.
    """
    env = envs.folder_name(run.env)
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
    hints.refuse_unknown(options, {field.name for field in fields(RunConfig)}, "the call")
    run = RunConfig(described.name, **options).recorded()
    return logs.recorded(run) if run.replay else run


def agent_of(given: Agent | str) -> Agent:
    """An agent, or that of a name with its defaults; `BadValue` for anything else."""
    return _made(given, AGENTS)


def method_of(given: Method | str) -> Method:
    """A method, or that of a name with its defaults; `BadValue` for anything else."""
    return _made(given, METHODS)


def _made(given: Any, registry: Registry[Any]) -> Any:
    kind = registry.kind
    if isinstance(given, str):
        return registry.find(given)()
    if isinstance(given, registry.base):
        return given
    called = f": write {given.__name__}()" if isinstance(given, type) else ""
    raise BadValue(
        f"{kind} is {shown(given)}, which is no {kind}{called}. Give one, or a name: "
        f"{', '.join(registry.names)}"
    )


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
    plugins.refuse_while_loading()  # before a folder that the run itself has taken
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
    progress: Show | None = None,
    ray_address: str | None = None,
    kind: type[Engine] = Engine,
) -> Iterator[Trainer]:
    """The trainer of a run, and while it trains the cluster that its actors need.

    Nothing is written before it is there: a run that cannot start leaves no folder behind.
    """
    plugins.refuse_while_loading()
    # What config.json will call them: a class that nobody could find again is refused here.
    agents.name_of(agent)
    methods.name_of(method)
    # Some simulators change the working folder.
    folder, here = RunFolder(folder.path.absolute(), folder.told), Path.cwd()
    saved = folder.checkpoints.steps()
    if saved:
        refuse_beyond(folder, saved[-1], agent, folder.record().spaces)
    try:
        with _collector(run, agent, ray_address) as collector:
            yield Trainer(folder, run, agent, method, callbacks, quiet, progress, collector, kind)
    finally:
        os.chdir(here)


def begin(trainer: Trainer) -> None:
    """Writes down what a new run is, and trains."""
    with begun(trainer):
        trainer.run()


@contextmanager
def begun(trainer: Trainer) -> Iterator[None]:
    """A context in which a new run is written down, and its folder is no other process's."""
    folder, run = trainer.folder, trainer.config
    take_logs(trainer)
    with ExitStack() as held:
        with writing(folder):
            held.enter_context(exclusive_folder(folder.path))
            folder.refuse_if_taken()  # by a run that has begun, and perhaps ended, since then
            folder.write_config(run, trainer.agent, trainer.engine.method, trainer.spaces)
        yield


@contextmanager
def writing(folder: RunFolder) -> Iterator[None]:
    """A context in which a folder that cannot be written is a `BadRun`."""
    try:
        yield
    except OSError as error:
        raise BadRun(
            f"{error.filename or folder.path} cannot be read or written: {error.strerror or error}"
        ) from error


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


def refuse_other_spaces(trainer: Trainer, spaces: Spaces) -> None:
    """Raises `BadRun` where the environment has other spaces than the run was made with."""
    if other := trainer.spaces.differences(spaces):
        raise BadRun(
            f"{trainer.config.env} has other spaces than the run was made with: {other}. Bring "
            "back what the environment was, or train a new run"
        )


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
