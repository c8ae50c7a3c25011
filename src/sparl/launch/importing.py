"""A new run that begins with what another library has trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparl.agents import PPO, Imported
from sparl.config import Show
from sparl.errors import BadValue
from sparl.interop import sb3, vecnormalize
from sparl.launch import starting
from sparl.methods import Dense
from sparl.storage import RunFolder
from sparl.training import Callback


def import_sb3(
    path: Path,
    env: Any,
    *,
    steps: int,
    learning_rate: float | None,
    statistics: Path | None,
    seed: int | None,
    out: str | Path | None,
    callbacks: Sequence[Callback],
    quiet: bool,
    progress: Show | None,
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
