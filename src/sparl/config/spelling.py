"""A run told as the command line that makes it, and its options as words."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sparl.agents import AGENTS, Agent
from sparl.config import words
from sparl.config.recorded import NotImported, options_of
from sparl.config.run import RunConfig
from sparl.methods import METHODS, Method
from sparl.plugins import Registry

ALWAYS = ("steps", "seed", "eval_every", "eval_episodes")
TRANSFERRED = (*ALWAYS, "eval_env", "stop_at_return", "env_kwargs", "wrappers")
TRANSFERRED += ("max_episode_steps", "envs", "vectorization")
"""Options of a run that `sparl transfer` has; its command always gives the first four, which may be
those of the other run."""


def command(run: RunConfig, agent: Agent | NotImported, method: Method | NotImported) -> list[str]:
    """The words of the command line that makes this run; `parse` makes the same of them again.

    Options that have their default are left out, but for the steps and a pattern. A run that began
    with another's checkpoint is told as `sparl prune` or `sparl transfer`, without what it took
    over of that run; one that began with another library's file as `sparl import`, into a folder
    `imported`.
    """
    begun_from = Path(run.begun_from)
    found = ("env_spec", "env_folder", "replay_sha256", "replay_transitions")
    usual_run = RunConfig(run.env, **{name: getattr(run, name) for name in found})
    if run.begun_from and begun_from.parent.name != "checkpoints":
        line = ["sparl", "import", "sb3", run.begun_from, "--env", run.env, "--out", "imported"]
        line += ["--vecnormalize", run.vecnormalize] if run.vecnormalize else []
        line += _spelled("learning-rate", options_of(agent).get("learning_rate"))
        line += [*_spelled("seed", run.seed), *_spelled("steps", run.steps)]
        changed = _changed(run, usual_run)
        for name in ("env_kwargs", "wrappers"):
            line += _spelled(name.replace("_", "-"), changed[name]) if name in changed else []
        return line
    if run.transferred:
        return _transfer(run, options_of(agent), _changed(run, usual_run))
    if run.begun_from:
        line, given = ["sparl", "prune", str(_source(run))], {}
    else:
        line = ["sparl", "train", run.env, "--agent", _name(agent, AGENTS)]
        given = _changed(run, usual_run) | _given(agent)
    of_method = _given(method, pruning=bool(run.begun_from))
    given = {name: of_method[name] for name in ("pattern",) if name in of_method} | given
    given |= of_method
    line += ["--method", _name(method, METHODS)]
    for name, value in ({"steps": run.steps} | given).items():
        line += _spelled(name.replace("_", "-"), value)
    return line


def _transfer(run: RunConfig, agent: dict[str, Any], changed: dict[str, Any]) -> list[str]:
    """The words of `sparl transfer`, with all options that it took over or was given."""
    line = ["sparl", "transfer", str(_source(run)), run.env]
    for name in TRANSFERRED:
        if name in changed or name in ALWAYS:
            line += _spelled(name.replace("_", "-"), getattr(run, name))
    for name in ("learning_rate", "learning_starts"):
        line += _spelled(name.replace("_", "-"), agent[name])
    return line


def _source(run: RunConfig) -> Path:
    """The run whose checkpoint a run began with: of RUN/checkpoints/step-…"""
    return Path(run.begun_from).parents[1]


def _name(config: Agent | Method | NotImported, registry: Registry[Any]) -> str:
    return config.spec if isinstance(config, NotImported) else registry.spec_of(type(config))


def _given(config: Agent | Method | NotImported, pruning: bool = False) -> dict[str, Any]:
    """The options that a command line must give; of a class that is not imported, all."""
    if isinstance(config, NotImported):
        return options_of(config)
    kind = type(config)
    usual: Any = kind()
    if pruning and isinstance(config, Method):
        config, usual = as_trained(config), as_trained(usual)
    changed = _changed(config, usual)
    given = {k: v for k, v in changed.items() if k not in getattr(kind, "internal", ())}
    return {"pattern": pattern} | given if (pattern := getattr(config, "pattern", None)) else given


def _changed(config: Any, usual: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from those of another one."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def _spelled(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, dict):
        return [f"--{option}", *words.words_of(value)]
    if option == "wrappers":
        return [f"--{option}", *words.wrapper_words(value)]
    return [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]


def as_trained(method: Method) -> Method:
    """The method as it prunes what has learned.

    Norms are not kept there: a trained network's weights have the size that they should have.
    """
    kept = "keep_norm" in {field.name for field in fields(method)}
    return replace(method, **{"keep_norm": False}) if kept else method
