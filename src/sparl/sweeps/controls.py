"""A run with its controls beside it: the dense agent, and a *tiny* dense one of as many weights.

*tiny* is what sparsity has to beat: a dense agent of the same depth whose policy has as many
weights as the sparse one keeps at the end, and whose other networks do, too. How many a method
keeps may be known at its end alone. So runs of the method come first, and *tiny* is sized by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np

from sparl import validation
from sparl.agents import Agent
from sparl.agents.common import learner_parts
from sparl.config import RunConfig, run_file
from sparl.envs import folder_name
from sparl.errors import BadValue
from sparl.learner import holds_networks
from sparl.methods import Dense, Method
from sparl.storage import RunFolder
from sparl.sweeps.folder import SweepFolder
from sparl.sweeps.runner import SweepResult
from sparl.sweeps.sweep import sweep
from sparl.training import Console
from sparl.training.compatibility import columns_of

Control = Literal["dense", "tiny"]


def beside(
    run: RunConfig,
    agent: Agent,
    method: Method,
    vs: Sequence[Control],
    *,
    seeds: str | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    lockstep: bool = False,
    quiet: bool = False,
) -> SweepResult:
    """Trains with several seeds, and controls beside, as `sweep` does; goes on by the same call.

    Args:
        vs: The controls.
        seeds: As in a study, `0-9` for example; the run's own if not given.
        out: Folder of the sweep; `runs/ENV-METHOD-vs-…` if not given.
        jobs: Runs side by side; one for each core if not given.
        lockstep: All seeds of a variant learn together in this process instead.
        quiet: Print no progress.

    Raises:
        BadValue: The method is a control itself.
        SparlError: As `sweep`.
    """
    if isinstance(vs, str):
        raise BadValue(f"vs is {vs!r}: give a list, such as ['dense', 'tiny']")
    for control in vs:
        validation.one_of(get_args(Control), vs=control)
    if vs and isinstance(method, Dense):
        raise BadValue(f"vs is {' '.join(vs)}, and method is dense itself: name another method")
    if out is None:
        against = ["vs", *vs] if vs else ["seeds"]
        out = Path("runs") / "-".join([folder_name(run.env), method.name, *against])
    name = method.name
    variants = {name: _options(run, agent, method)}
    if "dense" in vs:
        variants["dense"] = _options(run, agent, Dense())
    study = {"envs": [run.env], "seeds": run.seed if seeds is None else seeds, "steps": run.steps}
    study |= {"lockstep": lockstep}
    how: dict[str, Any] = {"out": out, "jobs": jobs, "quiet": quiet}
    result = sweep(study | {"variants": variants}, **how)
    done = [RunFolder(path) for path in result.done if path.name.rpartition("-")[0] == name]
    if "tiny" not in vs or not done:
        return result
    # More runs than before may keep other weights in the mean; a control stays what it is.
    before = SweepFolder(Path(out)).agent_of("tiny")
    smaller = tiny(agent, done) if before is None else _as_wide(agent, before)
    if _spelled_out(smaller) == _spelled_out(agent) and "dense" in vs:
        told = f"{name} kept every weight: the tiny agent is the dense one"
        Console(stderr=True, quiet=quiet, soft_wrap=True).print(told)
        return result
    variants["tiny"] = _options(run, smaller, Dense())
    return sweep(study | {"variants": variants}, retry=False, **how)


def tiny(agent: Agent, done: Sequence[RunFolder]) -> Agent:
    """The dense agent of the least widths with at least as many weights as finished runs keep.

    Args:
        agent: Of the runs. Its widths are scaled; the critics' apart from the actor's, if they
            are an option of it.
        done: The runs, over which weights are averaged.
    """
    run, _, _, spaces = done[0].record()
    columns = columns_of(run, agent, spaces)
    summaries = [folder.read_summary() or {} for folder in done]
    kept = {
        name: float(np.mean([summary[name] for summary in summaries]))
        for name in ("policy_weights_kept", "weights_kept")
    }

    def policy(agent: Agent) -> int:
        dense = learner_parts.dense_policy(agent, columns.observation_size, columns.action_size)
        return sum(math.prod(layer.shape) for layer in dense.layers)

    def whole(agent: Agent) -> int:
        parts = jax.eval_shape(
            lambda key: learner_parts.dense_parts(agent, key, columns), jax.random.key(0)
        )
        networks = (n for part in parts.values() if holds_networks(part) for n in part.values())
        return sum(math.prod(layer.shape) for network in networks for layer in network.layers)

    critics = getattr(_spelled_out(agent), "critic_hidden", agent.hidden)
    made = _least(agent, "hidden", agent.hidden, policy, kept["policy_weights_kept"])
    if "critic_hidden" not in {field.name for field in fields(agent)}:
        return made
    return _least(made, "critic_hidden", critics, whole, kept["weights_kept"])


def _spelled_out(agent: Agent) -> Agent:
    """The same agent, with the critics' widths also where they are the actor's."""
    critics = getattr(agent, "critic_hidden", None)
    return replace(agent, **{"critic_hidden": agent.hidden}) if critics == () else agent


def _as_wide(agent: Agent, other: Agent) -> Agent:
    names = {"hidden", "critic_hidden"} & {field.name for field in fields(agent)}
    return replace(agent, **{name: getattr(other, name) for name in names})


def _least(
    agent: Agent, name: str, widths: tuple[int, ...], weights: Callable[[Agent], int], kept: float
) -> Agent:
    """The agent with the least widths, all of one share of those given, with enough weights."""

    def scaled(width: int) -> Agent:
        share = width / max(widths)
        return replace(agent, **{name: tuple(max(1, round(share * w)) for w in widths)})

    low, high = 1, max(widths)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if weights(scaled(middle)) >= kept else (middle + 1, high)
    return scaled(low)


def _options(run: RunConfig, agent: Agent, method: Method) -> dict[str, Any]:
    options = run_file.options_of_run(run, agent, method)
    return {k: v for k, v in options.items() if k not in ("env", "seed", "steps")}
