"""Options of commands that train nothing, or many. Docstrings are the help texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from sparl.config import words
from sparl.envs import WrapperSpec
from sparl.exporters import Dtype, Target
from sparl.training import Which


@dataclass(frozen=True)
class Sweep:
    """Train every variant of a study with every seed in every environment, runs side by side with a
    core each, and compare them. The same command goes on after a kill, Ctrl-C or a failure."""

    study: tyro.conf.Positional[Path]
    """YAML file with envs, variants (names, and the options of sparl train that make each), seeds,
    steps and options that all variants have. A search in place of variants chooses options."""
    out: Path | None = None
    """Folder of the runs and the tables. If not given: runs/STUDY, by the file's name."""
    jobs: int | None = None
    """Runs side by side. If not given, one for each core."""
    quiet: bool = False
    """Print no progress."""


@dataclass(frozen=True)
class Distill:
    """Train a small student that does what a trained policy does, by DAgger. All options of sparl
    train with --agent dagger go with it, such as --hidden 16 16 (the student's layers), --steps,
    --method, --seed and --out: sparl train --agent dagger --help lists them; --steps is 50000
    here if not given. Its environment is that of the teacher's run."""

    teacher: tyro.conf.Positional[Path]
    """Run folder, or folder of a saved policy."""
    env: str | None = None
    """The environment, where the teacher is a saved policy: as for sparl train."""
    until: float | None = None
    """Look for the smallest student that keeps this share of the teacher's return above that of
    random actions, 0.95 say: widths are halved while it does, or doubled until it does."""
    episodes: int = 20
    """Episodes over which teacher, student and random actions are compared."""
    trust: bool = False
    """Import the code that the run names, though it was not written by you on this machine."""


@dataclass(frozen=True)
class Eval:
    """Play episodes with a trained policy, without exploration, and show its returns."""

    dir: tyro.conf.Positional[Path]
    """Run folder."""
    episodes: int = 10
    """Number of episodes."""
    seed: int = 0
    """Decides the seeds of the episodes. The run's own seed gives the episodes of its
    evaluations."""
    json: bool = False
    """Print JSON."""
    which: Which = "final"
    """The policy: final, the last one; best, that of the best evaluation."""
    video: Path | None = None
    """Film the first 10 s of the first episode into this file (.gif, at most 3 MB; or .mp4 with the
    extra `video`)."""
    trust: bool = False
    """Import the code that the run names, though it was not written by you on this machine."""


@dataclass(frozen=True)
class Inspect:
    """Show what a run's networks store, layer by layer, from its newest checkpoint."""

    dir: tyro.conf.Positional[Path]
    """Run folder, or folder of a saved policy."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Compare:
    """Compare finished runs of one environment. Runs that differ only in seed are one variant, and
    a variant is named by the options in which it differs from the others."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, folders that contain run folders directly, or folders of sweeps."""
    reach: float | None = None
    """The return to which variants are timed. If not given: 90 % of the way from the lowest first
    evaluation to the best variant's return."""
    against: str | None = None
    """The variant that the others are set beside, seed by seed. If not given: the one called dense,
    or else the first."""
    out: Path | None = None
    """Write table.md, table.csv, curves.csv and the plots into this folder."""
    markdown: Path | None = None
    """Write the table as Markdown into this file."""
    csv: Path | None = None
    """Write a row per variant into this file."""
    curves: Path | None = None
    """Write a row per evaluation of every run into this CSV file."""
    plots: Path | None = None
    """Draw curves.png, return_against_size.png and profiles.png into this folder."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Report:
    """Write an HTML report of runs, finished or not: curves, sizes, the stored weights of each
    layer, a film of the policy, and how to repeat it. It is one file that needs no other."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, folders that contain run folders directly, or folders of sweeps."""
    out: Path = Path("report.html")
    """The file; an existing one is replaced."""
    which: Which = "final"
    """The policies whose layers and films are shown: final or best, as for sparl eval."""
    video: bool = True
    """Film the first run of each variant (a GIF, or an mp4 with the extra `video`)."""
    trust: bool = False
    """Import the code that the run names, though it was not written by you on this machine."""
    quiet: bool = False
    """Print no progress."""


@dataclass(frozen=True)
class Export:
    """Write a trained policy for a device: as C99 without dependencies, as ONNX, or as a Python
    file that needs NumPy alone."""

    dir: tyro.conf.Positional[Path]
    """Run folder, or folder of a saved policy."""
    to: Target = "c"
    """c: a folder of C99 with a self-test. onnx: policy.onnx, with sparse weights written out as
    dense. numpy: policy.py and policy.npz."""
    which: Which = "final"
    """The policy of a run: final or best, as for sparl eval."""
    out: Path | None = None
    """Folder to write. If not given: DIR/export/TO-DTYPE, with best- before it for the best."""
    dtype: Dtype = "float32"
    """Type of the stored weights in C. int8 computes with integers; their ranges come from
    observations in the run's replay."""
    name: str = "policy"
    """What files, and symbols of the C, begin with: hover gives hover.h and hover_act. A program
    with several policies needs several names."""
    episodes: int = 10
    """Episodes over which a float16 or int8 policy is compared with the original in the
    environment; 0 for none."""
    trust: bool = False
    """Import the code that the run names, though it was not written by you on this machine."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class List:
    """List all agents, methods, layouts and presets, and how the kernels run."""


@dataclass(frozen=True)
class Completion:
    """Print a script by which bash and zsh complete the words of sparl. Once for bash:
    sparl completion > ~/.local/share/bash-completion/completions/sparl
    For zsh, put this line into ~/.zshrc: source <(sparl completion)"""


@dataclass(frozen=True)
class Check:
    """Look at an environment before training in it: its spaces, which agents fit, what gymnasium's
    checker finds and what sparl does about it, how fast it is, and what random actions earn, and
    the same action in the middle of its range."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Gymnasium id, for example CartPole-v1; or module:EnvId, module:Class, or
    path/to/file.py:Class."""
    env_kwargs: Annotated[dict[str, Any], words.KWARGS] = field(default_factory=dict)
    """Arguments of the environment's constructor. Values are JSON, True, False or None, or text as
    it is."""
    wrappers: Annotated[tuple[WrapperSpec, ...], words.WRAPPERS] = ()
    """Wrappers around it, as for sparl train."""
    round_actions: bool = False
    """Round continuous actions where the environment takes integers between bounds."""
    steps: int = 1_000
    """Steps of random actions, and as many of the middle one."""
    seed: int = 0
    """Of the episodes and the actions."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Features:
    """Find out which inputs of an environment matter, and print the command that trains on these
    only. An input is kept if it helps to predict the reward, the end of an episode, or the change
    of a kept input."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Gymnasium id, for example CartPole-v1; or module:EnvId, module:Class, or
    path/to/file.py:Class."""
    noise_inputs: int = 0
    """Entries of noise appended to the observation, to see whether they are left out."""
    steps: int = 30_000
    """Environment steps in all, in four rounds."""
    seed: int = 0
    """Seed of exploration and of every episode."""
    out: Path | None = None
    """Write the environment with these inputs only into this file: the JSON of a gymnasium EnvSpec,
    from which gymnasium.make makes the environment in any library."""
    json: bool = False
    """Print JSON."""
    quiet: bool = False
    """Print no progress."""
