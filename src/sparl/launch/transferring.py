"""A new run in another environment that begins with what another one has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparl.agents import Agent, OnPolicyAgent
from sparl.config import Show
from sparl.envs import Spaces
from sparl.errors import BadValue
from sparl.launch import starting
from sparl.methods import Dense
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
