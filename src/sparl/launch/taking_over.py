"""Runs that begin with what was learned elsewhere: in another run, or by another library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparl.agents import PPO, Imported
from sparl.config import Show, spelling
from sparl.errors import BadValue
from sparl.interop import sb3, vecnormalize
from sparl.launch import starting
from sparl.methods import METHODS, Dense, Method
from sparl.storage import RunFolder
from sparl.training import Callback, snapshot


def prune(
    path: str | Path,
    method: Method,
    steps: int,
    env: Any,
    out: str | Path | None,
    callbacks: Sequence[Callback],
    quiet: bool,
    progress: Show | None,
    trust: bool,
) -> RunFolder:
    """Prunes what a run has learned; see `sparl.prune`."""
    if not method.prunes:
        fitting = ", ".join(name for name, kind in METHODS.usable().items() if kind.prunes)
        raise BadValue(
            f"{method.name} does not choose by what a network has learned. What prunes: {fitting}"
        )
    source = RunFolder.open(path, trust)
    run, agent, _, spaces = source.read_config()
    run = run if env is None else starting.in_environment(run, env)
    engine, state = snapshot(source)
    begun_from = str(source.checkpoints.path(state.step).absolute())
    # The return that the run was to stop at is one of a network with all its weights.
    other = {"pretrain_updates": 0, "stop_at_return": None}
    run = replace(run, steps=steps, begun_from=begun_from, **other)
    folder = starting.new_folder(out, run, method)
    agent, method = agent.continued(state.step), spelling.as_trained(method)
    with starting.trainer(folder, run, agent, method, callbacks, quiet, progress) as trainer:
        starting.refuse_other_spaces(trainer, spaces)
        trainer.begin_with_run(source, engine, state)
        starting.begin(trainer)
    return folder


def import_sb3(
    path: Path,
    env: Any,
    steps: int,
    learning_rate: float | None,
    seed: int | None,
    out: str | Path | None,
    callbacks: Sequence[Callback],
    quiet: bool,
    progress: Show | None,
    statistics: Path | None,
    options: dict[str, Any],
) -> RunFolder:
    """Makes a run of an agent that Stable-Baselines3 saved; see `sparl.import_sb3`."""
    if options.get("normalize_observations"):
        raise BadValue(
            "normalize_observations is True: the agent was trained on observations as its "
            "environment gave them, or as VecNormalize did, and would act otherwise. Leave it out, "
            "or name the file of VecNormalize: vecnormalize"
        )
    trained = sb3.read(path, learning_rate)
    seen = None if statistics is None else vecnormalize.read(statistics)
    taken = trained.run | {"steps": steps, "begun_from": str(path.absolute())}
    if seen is not None:
        taken |= {"normalize_observations": True, "clip_observations": seen.clip}
        taken |= {"vecnormalize": str(Path(str(statistics)).absolute())}
    run = starting.configured(env, taken | options)
    run = run if seed is None else replace(run, seed=seed)
    method = Dense()
    folder = starting.new_folder(out, run, method)
    agent, acts = trained.agent, f"the policy acts for {steps} steps"
    if not isinstance(agent, Imported):
        agent = replace(agent, learning_starts=steps)
        acts = f"the agent acts for {steps} steps to fill its replay, and learns nothing yet"
    if isinstance(agent, PPO) and seen is not None and seen.returns is not None:
        agent = replace(agent, normalize_rewards=True)
    with starting.trainer(folder, run, agent, method, callbacks, quiet, progress) as trainer:
        trained.refuse_other_spaces(run.env, trainer.spaces)
        trainer.begin_with(trained.learner())
        if seen is not None:
            seen.refuse_other_size(trainer.spaces.observation_size)
            trainer.engine.statistics = seen.observations
            if trainer.engine.discounted_returns is not None and seen.returns is not None:
                trainer.engine.discounted_returns.statistics = seen.returns
        trainer.notes = [*trained.notes, acts]
        starting.begin(trainer)
    return folder
