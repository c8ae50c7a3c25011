"""Runs that begin with what was learned elsewhere: in another run, or by another library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparl.agents import PPO, Agent, Imported, OnPolicyAgent
from sparl.config import Show, spelling
from sparl.envs import Spaces
from sparl.errors import BadValue
from sparl.interop import sb3, vecnormalize
from sparl.launch import starting
from sparl.methods import METHODS, Dense, Method
from sparl.storage import RunFolder
from sparl.training import Callback, snapshot

SEEN = (
    *("frame_stack", "noise_inputs", "inputs", "actor_obs", "critic_obs", "round_actions"),
    *("normalize_observations", "clip_observations"),
)
"""Options of a run that decide what networks see and how their actions are taken."""
KEPT = (
    *("seed", "eval_every", "eval_episodes", "eval_max_steps", "checkpoint_every", "log_every"),
    *("nonfinite", "pipeline", "buffer_size", "dynamic_replay", "buffer_min", "buffer_drift"),
)
"""Other options that a run in another environment has, too."""
FILLED = 1_000
"""Steps that a replay is filled with, at least, before an agent goes on learning elsewhere."""


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
    # A return to stop at was meant for a network with all its weights.
    other = {"pretrain_updates": 0, "stop_at_return": None, "transferred": False}
    run = replace(run, steps=steps, begun_from=begun_from, **other)
    folder = starting.new_folder(out, run, method)
    agent, method = agent.continued(state.step), spelling.as_trained(method)
    with starting.trainer(folder, run, agent, method, callbacks, quiet, progress) as trainer:
        starting.refuse_other_spaces(trainer, spaces)
        trainer.begin_with(engine.learner)
        trainer.engine.normalize_as(engine)
        source.checkpoints.load_replay(state.step, trainer.replay)
        trainer.replay.cut()
        trainer.state.go_on_from(state)
        starting.begin(trainer)
    return folder


def transfer(
    path: str | Path,
    env: Any,
    options: dict[str, Any],
    changes: dict[str, Any],
    out: str | Path | None,
    callbacks: Sequence[Callback],
    quiet: bool,
    progress: Show | None,
    trust: bool,
) -> RunFolder:
    """Goes on learning in another environment; see `sparl.transfer`.

    Args:
        options: Of the run.
        changes: Of the agent: `learning_rate`, `learning_starts`; None where it stays.
    """
    for name in SEEN:
        if name in options:
            raise BadValue(
                f"{name} decides what networks see, and those of {path} have learned with what it "
                "is there. Leave it out"
            )
    source = RunFolder.open(path, trust)
    was, agent, method, spaces = source.read_config(env=False)
    engine, state = snapshot(source)
    kept = {name: getattr(was, name) for name in (*SEEN, *KEPT)}
    begun_from = str(source.checkpoints.path(state.step).absolute())
    run = starting.configured(env, kept | options)
    run = replace(run, begun_from=begun_from, transferred=True)
    agent = _learning_elsewhere(agent, state.step, changes)
    method = Dense() if method.finishes else method
    folder = starting.new_folder(out, run, method)
    with starting.trainer(folder, run, agent, method, callbacks, quiet, progress) as trainer:
        _refuse_other_sizes(trainer.spaces, spaces, run.env, path)
        trainer.engine.go_on_from(engine)
        trainer.begun_elsewhere()
        starting.begin(trainer)
    return folder


def _learning_elsewhere(agent: Agent, step: int, changes: dict[str, Any]) -> Agent:
    """The agent of a run at a step, as it begins to learn with an empty replay."""
    starts = 0 if isinstance(agent, OnPolicyAgent) else max(agent.learning_starts, FILLED)
    changed = {name: value for name, value in changes.items() if value is not None}
    return replace(agent.continued(step), **{"learning_starts": starts} | changed)


def _refuse_other_sizes(new: Spaces, old: Spaces, env: str, path: str | Path) -> None:
    """Raises `BadValue` where networks made for other spaces cannot see or act."""
    what = {
        "observations": lambda s: s.observation_shape,
        "entries of observations": lambda s: [*s.entries],
        "actions": lambda s: f"one of {s.choices}" if s.discrete else len(s.low),
    }
    for name, of in what.items():
        if of(new) != of(old):
            raise BadValue(
                f"{env} has other {name} than what {path} learned with: {of(new)}, and {of(old)} "
                "there. Wrap it to give the same"
            )


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
