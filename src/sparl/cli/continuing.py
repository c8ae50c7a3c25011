"""Options of commands that go on with what was learned. Docstrings are the help texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparl.config import Show, words
from sparl.config.run import EvalEnv, Vectorization
from sparl.envs import WrapperSpec


@dataclass(frozen=True, kw_only=True)
class Training:
    """What all of them have."""

    threads: int | None = None
    """Threads that compute. If not given, one for each core."""
    quiet: bool = False
    """Print nothing."""
    progress: Show | None = None
    """off: notes alone. plain: a line now and then. rich: a line that is written anew. If not
    given: rich on a terminal, and else plain."""


@dataclass(frozen=True, kw_only=True)
class Resume(Training):
    """Go on with a run from exactly where its newest checkpoint is."""

    resume: Path
    """Run folder, or one of its checkpoints (DIR/checkpoints/step-…)."""
    steps: int | None = None
    """Environment steps in all; more than before prolong the run."""
    learning_rate: float | None = None
    """Adam's step size from now on; its moments stay."""
    eval_every: int | None = None
    """Steps between two evaluations from now on."""
    eval_episodes: int | None = None
    """Episodes of one evaluation from now on."""
    checkpoint_every: int | None = None
    """Least number of steps between two checkpoints from now on."""
    stop_at_return: float | Literal["never"] | None = None
    """Mean return of an evaluation at which the run ends from now on; never for none."""
    wandb: str | None = None
    """Log to this project of Weights & Biases, too (extra `wandb`)."""
    ray_address: str | None = None
    """The Ray cluster of a run with actors. If not given: RAY_ADDRESS, or this machine."""
    trust: bool = False
    """Import the code that the run names, though it was not written by you on this machine."""


@dataclass(frozen=True, kw_only=True)
class Transfer(Training):
    """Learn on in another environment: on the robot after its simulator, or in a harder task. A new
    run begins with what the run in DIR has learned, and with an empty replay. The other run stays
    as it is."""

    dir: tyro.conf.Positional[Path]
    """Run folder of what has learned."""
    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """The other environment, with observations and actions of the same shapes: a gymnasium id,
    module:EnvId, module:Class or path/to/file.py:Class."""
    env_kwargs: Annotated[dict[str, Any], words.KWARGS] = field(default_factory=dict)
    """Arguments of its constructor. Values are JSON, True, False or None, or text as it is."""
    wrappers: Annotated[tuple[WrapperSpec, ...], words.WRAPPERS] = ()
    """Wrappers around it, as for sparl train."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the environment's own limit."""
    envs: int = 1
    """Environments that are stepped together."""
    vectorization: Vectorization = "sync"
    """How several are stepped, as for sparl train."""
    eval_env: EvalEnv = "own"
    """Where evaluations play: own, in environments made for them; shared, in the training's,
    between its episodes, for a robot, which exists once."""
    steps: int = 100_000
    """Environment steps in it."""
    learning_rate: float | None = None
    """Adam's step size, if another one."""
    learning_starts: int | None = None
    """Steps in which the agent acts and learns nothing, to fill its replay. If not given, as many
    as it took before it first learned, 1,000 at least; none where it learns without a replay."""
    seed: int | None = None
    """Of exploration, sampling and episodes; that of the other run if not given."""
    eval_every: int | None = None
    """Steps between two evaluations; as in the other run if not given."""
    eval_episodes: int | None = None
    """Episodes of one evaluation; as in the other run if not given."""
    stop_at_return: float | None = None
    """Mean return of an evaluation at which the run ends, before all its steps are made."""
    out: Path | None = None
    """Run folder, new or empty. If not given: runs/ENV-METHOD-SEED-TIME-PROCESS."""
    trust: bool = False
    """Import the code that the run names, though it was not written by you on this machine."""


@dataclass(frozen=True, kw_only=True)
class Import(Training):
    """Make a run of an agent that Stable-Baselines3's model.save saved. The file has no replay, so
    the agent first acts for some steps without learning. PPO, TD3, SAC and DQN can be pruned and
    trained on; of A2C, TRPO, DDPG, TQC, QR-DQN and gSDE it is the policy, to evaluate and export.
    """

    library: tyro.conf.Positional[Literal["sb3"]]
    """The library that saved it: Stable-Baselines3."""
    file: tyro.conf.Positional[Path]
    """The zip that model.save wrote."""
    env: str
    """The environment that it was trained in, because the file does not name it: a gymnasium id,
    module:EnvId, module:Class or path/to/file.py:Class."""
    out: Path
    """Run folder, new or empty."""
    env_kwargs: Annotated[dict[str, Any], words.KWARGS] = field(default_factory=dict)
    """Arguments of the environment's constructor. Values are JSON, True, False or None, or text as
    it is."""
    wrappers: Annotated[tuple[WrapperSpec, ...], words.WRAPPERS] = ()
    """Wrappers around it, as for sparl train."""
    steps: int = 10_000
    """Environment steps for which the agent acts, to fill its replay."""
    learning_rate: float | None = None
    """Adam's step size from now on, in place of the file's."""
    vecnormalize: Path | None = None
    """What VecNormalize saved, if it was trained within that: observations are seen through its
    statistics from then on. No code of the file is run."""
    seed: int | None = None
    """Seed of exploration, sampling and episodes. If not given: the file's, or 0."""
