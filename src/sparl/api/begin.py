"""What begins afresh in Python: `train` and `import_sb3`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparl import launch
from sparl.agents import Agent
from sparl.api.run import Run
from sparl.config import Show
from sparl.methods import Method
from sparl.training import Callback


def train(
    env: Any,
    agent: Agent | str = "td3",
    method: Method | str = "dense",
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
    ray_address: str | None = None,
    **options: Any,
) -> Run:
    """Trains an agent; the run folder keeps everything.

    Args:
        env: A gymnasium id (`"HalfCheetah-v5"`), `"module:EnvId"`, `"path/to/file.py:Class"`; a
            class, a function that makes environments, an `EnvSpec`, or an environment. What no
            other process could make again goes, too; give it again to `resume` and `prune`.
        agent: `sparl.SAC(hidden=(400, 300))`, say, or "sac" for one with its defaults.
        method: `sparl.RNM("2:4")`, say, or "rnm" for one with its defaults.
        out: The run folder, new or empty; `runs/ENV-METHOD-SEED-TIME-PROCESS` if not given.
        quiet: Print nothing.
        progress: "off" prints notes alone, "plain" a line now and then, "rich" a line that is
            written anew; the last on a terminal and in a notebook if not given.
        ray_address: Of the Ray cluster that `actors` run on; if not given, RAY_ADDRESS or this
            machine. A cluster that `ray.init` has connected to already is used.
        options: Of `sparl.RunConfig`, such as `steps`, `seed`, `env_kwargs`; `wrappers` may be
            classes, or (class, arguments).

    Raises:
        SparlError: Anything a user can put right.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, with the run saved.
    """
    agent, method = launch.agent_of(agent), launch.method_of(method)
    run = launch.configured(env, options)
    agent = launch.learning_at_once(run, agent)
    folder = launch.new_folder(out, run, method)
    told = (quiet, progress, ray_address)
    with launch.trainer(folder, run, agent, method, callbacks, *told) as trainer:
        launch.begin(trainer)
    return Run(folder.path)


def import_sb3(
    path: str | Path,
    env: Any,
    *,
    steps: int = 10_000,
    learning_rate: float | None = None,
    vecnormalize: str | Path | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
    **options: Any,
) -> Run:
    """Makes a run of an agent that Stable-Baselines3 saved: `model.save(path)`.

    The file has no replay, so the run consists of `steps` environment steps in which the agent
    acts and learns nothing. From one of PPO, TD3, SAC or DQN `prune` and `resume` go on; of all
    others it is the policy, to evaluate and export. PyTorch is not needed, and no code is run.

    Args:
        env: As for `train`: that it was trained in, which the file does not name.
        learning_rate: In place of the file's.
        vecnormalize: What VecNormalize saved, if it was trained within that.
        seed: Of exploration, sampling and episodes; the file's, or 0, if not given.
        options: Of `sparl.RunConfig`; `buffer_size` is the file's if not given.

    Raises:
        BadFile: A file that is truncated or altered.
        BadValue: An agent that sparl has no equal of, or observations that it was not trained on
            (normalised ones).
        BadEnvironment: An environment that it was not trained in.
    """
    folder = launch.import_sb3(
        Path(path),
        env,
        steps=steps,
        learning_rate=learning_rate,
        statistics=None if vecnormalize is None else Path(vecnormalize),
        seed=seed,
        out=out,
        callbacks=callbacks,
        quiet=quiet,
        progress=progress,
        options=options,
    )
    return Run(folder.path)
