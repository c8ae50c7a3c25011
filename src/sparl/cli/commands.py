"""What the commands of the command line are told, but for `train`, `prune` and `bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparl.exporters import Dtype, Target


@dataclass(frozen=True)
class Resume:
    """Go on with a run exactly where its newest checkpoint stands."""

    resume: Path
    """Run folder, or one of its checkpoints (DIR/checkpoints/step-…)."""
    steps: int | None = None
    """Environment steps in all, to prolong the run."""
    ray_address: str | None = None
    """Of a run with actors: the Ray cluster. If not given: RAY_ADDRESS, or this machine."""
    quiet: bool = False
    """No progress."""


@dataclass(frozen=True)
class Import:
    """Make a run of an agent of another library, to prune it or train it on: TD3, SAC or DQN, saved
    by Stable-Baselines3's model.save. The file has no replay, so the agent first acts for some
    steps, without learning. If it was trained within VecNormalize, --env must give what that gave:
    its statistics are not in the file."""

    library: tyro.conf.Positional[Literal["sb3"]]
    """The library that saved it: Stable-Baselines3."""
    file: tyro.conf.Positional[Path]
    """The zip that model.save wrote."""
    env: str
    """The environment that it was trained in, which the file does not name: a gymnasium id or
    module:EnvId."""
    out: Path
    """Run folder, new or empty."""
    steps: int = 10_000
    """Environment steps in which the agent acts and fills its replay."""
    learning_rate: float | None = None
    """Adam's step size from here on, if another than the file's; needed where that is a
    schedule."""
    seed: int | None = None
    """Of exploration, sampling and episodes. If not given: the file's, or 0."""
    quiet: bool = False
    """No progress."""


@dataclass(frozen=True)
class Eval:
    """Play episodes with a trained policy, without exploration."""

    dir: tyro.conf.Positional[Path]
    """Run folder."""
    episodes: int = 10
    """How many."""
    seed: int = 0
    """Decides the episodes' seeds; the run's own seed gives those of its evaluations."""
    json: bool = False
    """Print JSON."""
    video: Path | None = None
    """Film the first episode into this file (.gif, or .mp4 with the extra `video`)."""


@dataclass(frozen=True)
class Inspect:
    """Show what a run's networks hold, from its newest checkpoint."""

    dir: tyro.conf.Positional[Path]
    """Run folder, or folder of a saved policy."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Compare:
    """Show finished runs of one environment side by side. Runs that differ only in seed count as
    one variant, and a variant is called by the options in which it differs from the others."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, or folders that have run folders directly inside."""
    reach: float | None = None
    """The return that variants are timed to. If not given: 90 % of the way from the lowest first
    evaluation to the best final return."""
    out: Path | None = None
    """Write table.md, table.csv, curves.csv and both plots into this folder."""
    markdown: Path | None = None
    """Write the table as Markdown into this file."""
    csv: Path | None = None
    """Write a row per variant into this file."""
    curves: Path | None = None
    """Write a row per evaluation of every run into this CSV file."""
    plots: Path | None = None
    """Draw curves.png and return_against_size.png into this folder."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Report:
    """Make a web page of runs, finished or not: curves, sizes, what each layer keeps, a film of the
    policy, and how to repeat it. It is one file that needs no other."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, or folders that have run folders directly inside."""
    out: Path = Path("report.html")
    """The file; one that is there is replaced."""
    video: bool = True
    """Film the first run of each variant (a GIF, or an mp4 with the extra `video`)."""
    quiet: bool = False
    """No progress."""


@dataclass(frozen=True)
class Export:
    """Write a trained policy for a device: as C99 without dependencies, or as ONNX."""

    dir: tyro.conf.Positional[Path]
    """Run folder, or folder of a saved policy."""
    to: Target = "c"
    """c: a folder of C99 with a self-test. onnx: policy.onnx, sparse weights written out."""
    out: Path | None = None
    """Folder; DIR/export/TO-DTYPE if not given."""
    dtype: Dtype = "float32"
    """Of the stored weights, in C. int8 computes with integers, whose ranges come from observations
    in the run's replay."""
    episodes: int = 10
    """Over which float16 and int8 are compared with the original in the environment; 0 for none."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class List:
    """Show the agents, methods and layouts there are."""


@dataclass(frozen=True)
class Features:
    """Find out which inputs of an environment matter, and print the command that trains on those
    alone. An input is kept if it helps to predict the reward, the end of an episode, or how a kept
    input changes."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Gymnasium id, for example CartPole-v1, or module:EnvId."""
    noise_inputs: int = 0
    """Entries of noise put behind those of the observation: to see whether they are left out."""
    steps: int = 30_000
    """Environment steps in all, in four rounds."""
    seed: int = 0
    """Of exploration and of every episode."""
    out: Path | None = None
    """Write the environment with these inputs alone into this file: the JSON of a gymnasium
    EnvSpec, from which gymnasium.make makes it in any library."""
    json: bool = False
    """Print JSON."""
    quiet: bool = False
    """No progress."""
