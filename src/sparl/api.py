"""The Python interface: `train`, `resume`, `prune`, `import_sb3` and `load`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparl.agents import TD3Config
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadCheckpoint, BadRun, BadValue
from sparl.interop import sb3
from sparl.methods import METHODS, Dense, Method
from sparl.policy import Policy
from sparl.storage import RunFolder, claimed
from sparl.training import Callback, Trainer
from sparl.training.load import snapshot


def train(
    env: str,
    agent: Any = None,
    method: Method | None = None,
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    ray_address: str | None = None,
    **options: Any,
) -> Policy:
    """Trains an agent and returns its policy; the run folder keeps everything else.

    - `env`: a gymnasium id (`"HalfCheetah-v5"`) or `"module:EnvId"`.
    - `agent`: its hyperparameters, `TD3Config()` if not given.
    - `method`: `sparl.RNM(2, 4)`, or `sparl.methods.Dense()` if not given.
    - `out`: the run folder, new or empty; `runs/ENV-METHOD-SEED-TIME` if not given.
    - `ray_address`: of the Ray cluster that `actors` run on; if not given, RAY_ADDRESS or this
      machine. A cluster that `ray.init` has connected to already is used.
    - `options`: of `sparl.RunConfig`, such as `steps`, `seed`, `eval_every`, `actors`.

    Raises `sparl.SparlError` for anything a user can put right, and `KeyboardInterrupt`, with the
    run saved, after Ctrl-C or SIGTERM.
    """
    agent = TD3Config() if agent is None else agent
    method = Dense() if method is None else method
    run = RunConfig(env, **options)
    folder = RunFolder(default_folder(run, method) if out is None else out)
    folder.refuse_if_taken()
    # Only then is anything written: a run that cannot start leaves no folder behind.
    with _trainer_for(run, ray_address) as kind:
        trainer = kind(folder, run, agent, method, callbacks, quiet)
        return _begun(trainer)


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    ray_address: str | None = None,
) -> Policy:
    """Goes on with a run from its newest checkpoint, or from one: `RUN/checkpoints/step-…`.

    With the same `steps` the result is, byte for byte, that of a run never interrupted. More
    `steps` prolong a run; its last episode was cut where the run had ended. That holds for a run
    with one actor, too; several go on with what was learned and seen, and begin new episodes.
    `ray_address` is as for `train`, and may be another one.
    """
    path = Path(path)
    chosen = path.name.removeprefix("step-") if path.parent.name == "checkpoints" else None
    folder = RunFolder.open(path if chosen is None else path.parent.parent)
    run, agent, method, spaces = folder.read_config()
    saved = folder.checkpoints.steps()
    if chosen is not None and (not chosen.isdecimal() or int(chosen) not in saved):
        raise BadRun(f"{path} is no checkpoint; there are those of steps {saved}")
    step = None if not saved else saved[-1] if chosen is None else int(chosen)
    if steps is not None:
        if step is not None and steps < step:
            raise BadRun(f"{folder.path} is at step {step} already: --steps {steps} is behind it")
        run = replace(run, steps=steps)
    if step is None and run.begun_from:
        raise BadRun(
            f"{folder.path} has no checkpoint. It began with {run.begun_from}: begin with that anew"
        )
    with claimed(folder.path), _trainer_for(run, ray_address) as kind:
        trainer = kind(folder, run, agent, method, callbacks, quiet)
        _refuse_other_spaces(trainer, spaces)
        if step is None:
            trainer.logs.resume(0, {})
        else:
            _take_up(trainer, step, [s for s in saved if s < step])
        folder.write_config(run, agent, method, spaces)
        return trainer.run()


def prune(
    path: str | Path,
    method: Method,
    *,
    steps: int = 100_000,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Policy:
    """Prunes what a run has learned: a new run that begins with its newest checkpoint.

    Networks (with every weight stored), Adam's moments, targets, the replay and what observations
    are normalised by are taken over; then `method` starts on them, and training goes on for `steps`
    environment steps, over which its schedule stretches. Everything else is as in the run at
    `path`, which stays as it is.

    Raises `BadValue` for a method that starts at random places (`Method.prunes` is False), and
    otherwise as `train`.
    """
    if not method.prunes:
        fitting = ", ".join(name for name, kind in METHODS.items() if kind.prunes)
        raise BadValue(
            f"{method.name} does not choose by what a network has learned. What prunes: {fitting}"
        )
    source = RunFolder.open(path)
    run, agent, _, spaces = source.read_config()
    engine, state = snapshot(source)
    begun_from = str(source.checkpoints.path(state.step).absolute())
    run = replace(run, steps=steps, begun_from=begun_from)
    folder = RunFolder(default_folder(run, method) if out is None else out)
    folder.refuse_if_taken()
    with _trainer_for(run) as kind:
        trainer = kind(folder, run, agent.continued(state.step), method, callbacks, quiet)
        _refuse_other_spaces(trainer, spaces)
        trainer.begin_with_run(source, engine, state)
        return _begun(trainer)


def import_sb3(
    path: str | Path,
    env: str,
    *,
    steps: int = 10_000,
    learning_rate: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    **options: Any,
) -> Policy:
    """Makes a run of an agent that Stable-Baselines3 saved: TD3, SAC or DQN, `model.save(path)`.

    The file has no replay, so the run consists of `steps` environment steps in which the agent
    acts, exploring, and learns nothing. Then it is like any other: `prune` and `resume` go on from
    it. PyTorch is not needed, and no code of the file is run.

    - `env`: the environment that it was trained in, which the file does not name. If that was
      within VecNormalize, one that gives what that gave: its statistics are not in the file.
    - `learning_rate`: in place of the file's; needed where that is a schedule.
    - `seed`: of exploration, sampling and episodes; the file's, or 0, if not given.
    - `options`: of `sparl.RunConfig`; `buffer_size` is the file's if not given.

    Raises `BadCheckpoint` for a file that is truncated or altered, `BadValue` for an agent that
    sparl has no equal of and for observations that it was not trained on (normalised ones),
    `BadEnvironment` for an environment that it was not trained in, and otherwise as `train`.
    """
    path = Path(path)
    trained = sb3.read(path, learning_rate)
    begun_from = str(path.absolute())
    run = RunConfig(env, **(trained.run | {"steps": steps, "begun_from": begun_from} | options))
    run = run if seed is None else replace(run, seed=seed)
    if run.normalize_observations:
        raise BadValue(
            "normalize_observations is True: the agent was trained on observations as its "
            "environment gave them, and would act otherwise. Leave it out"
        )
    folder = RunFolder(default_folder(run, Dense()) if out is None else out)
    folder.refuse_if_taken()
    agent = replace(trained.agent, learning_starts=steps)
    with _trainer_for(run) as kind:
        trainer = kind(folder, run, agent, Dense(), callbacks, quiet)
        trained.refuse_other_spaces(env, trainer.spaces)
        trainer.begin_with(trained.learner())
        acts = f"the agent acts for {steps} steps to fill its replay, and learns nothing yet"
        trainer.notes = [*trained.notes, acts]
        return _begun(trainer)


def default_folder(run: RunConfig, method: Method) -> Path:
    """`runs/ENV-METHOD-SEED-TIME`."""
    env = run.env.replace("/", "-").replace(":", "-")
    return Path("runs") / f"{env}-{method.name}-{run.seed}-{time.strftime('%Y%m%d-%H%M%S')}"


@contextmanager
def _trainer_for(run: RunConfig, ray_address: str | None = None) -> Iterator[type[Trainer]]:
    """The kind of trainer that a run needs, and while it trains the cluster that this needs."""
    if not run.actors:
        if ray_address is not None:
            raise BadValue(
                f"ray-address is {ray_address!r}, and there is nothing to run there: say --actors"
            )
        yield Trainer
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
        yield distributed.DistributedTrainer


def _begun(trainer: Trainer) -> Policy:
    """Writes down what a new run is, and trains."""
    folder, run = trainer.folder, trainer.config
    with claimed(folder.path):
        folder.write_config(run, trainer.agent, trainer.engine.method, trainer.spaces)
        return trainer.run()


def _refuse_other_spaces(trainer: Trainer, spaces: Spaces) -> None:
    if trainer.spaces != spaces:
        env = trainer.config.env
        raise BadRun(f"{env} has {trainer.spaces} now; the run was made with {spaces}")


def _take_up(trainer: Trainer, step: int, older: list[int]) -> None:
    try:
        trainer.resume(step)
    except BadCheckpoint as error:
        path = trainer.folder.checkpoints.path
        way_out = (
            f"An older one may be whole: sparl train --resume {path(older[-1])}"
            if older
            else "There is no older one to go back to."
        )
        raise BadCheckpoint(f"{error}. {way_out}") from error
