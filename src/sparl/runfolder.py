"""The run folder: everything a run leaves, and everything needed to repeat it.

config.json      all options, versions of the libraries, the machine and its instruction set
metrics.csv      one row per log point
restructures.csv one row per restructuring, for methods that have them
summary.json     final figures
tb/              TensorBoard
checkpoints/     the newest few, each complete or absent
policy/          the final policy
.lock            that of the process which trains (`storage.claimed`)
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import gymnasium as gym
import tyro

from sparl import agents, checks, envs, kernels, storage
from sparl.checkpoint import Checkpoints
from sparl.envs import Spaces
from sparl.errors import BadCheckpoint, BadRun, BadValue
from sparl.methods import METHODS, Method
from sparl.wrappers import wrapped

FORMAT = 1
RECORDED = ("sparl", "jax", "jaxlib", "equinox", "optax", "gymnasium", "mujoco", "numpy")

ROLLOUT = 50
"""Steps of a rollout, if not given, where there are several actors."""


Vectorization = Literal["sync", "async", "envpool"]
Autoreset = Literal["disabled", "next_step", "same_step"]


@dataclass(frozen=True)
class RunConfig:
    """What a run is, besides its agent and its method."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Gymnasium id, for example HalfCheetah-v5, or module:EnvId."""
    steps: int = 1_000_000
    """Environment steps in all."""
    seed: int = 0
    """Of networks, exploration, sampling, and of every episode."""
    eval_every: int = 5_000
    """Steps between two evaluations."""
    eval_episodes: int = 10
    """Episodes of one evaluation, always from the same seeds."""
    checkpoint_every: int = 10_000
    """Least number of steps between two checkpoints; each is cut at an episode's end."""
    log_every: int = 1_000
    """Steps between two rows of metrics.csv."""
    envs: int = 1
    """Environments that are stepped together. A step is that of one of them, and updates per step
    are what they are with one. For a checkpoint they wait until each has ended its episode. A run
    that was killed resumes bit for bit; one of several environments that was stopped by Ctrl-C goes
    on, but not as if it had not been stopped."""
    vectorization: Vectorization = "sync"
    """How several are stepped: sync, in turn; async, each in a process of its own, for slow ones;
    envpool, by its C++ versions (extra `envs`), with the episodes' seeds left to it."""
    autoreset: Autoreset = "disabled"
    """When several of gymnasium's are reset: disabled, by sparl, every episode with its own seed;
    next_step or same_step, by the vector environment, the first episodes alone seeded."""
    normalize_observations: bool = False
    """Show the networks (x - mean) / sqrt(variance) of each entry of an observation, by running
    statistics of the training's observations (SimBa's RSNorm, 2410.09754). They are saved with the
    policy and part of every export."""
    noise_inputs: int = 0
    """Entries of noise put behind those of the observation: to see what finds them out."""
    inputs: tuple[int, ...] = ()
    """Entries of the observation, from 0, that the agent sees; all if not given. `sparl features`
    names those that matter."""
    buffer_size: int = 1_000_000
    """Most transitions in the replay."""
    dynamic_replay: bool = False
    """Let the replay forget what a far other policy did (RLx2, 2205.15043); for continuous
    actions."""
    buffer_min: int = 100_000
    """With --dynamic-replay: least number of transitions that are kept."""
    buffer_drift: float = 0.2
    """With --dynamic-replay: half the mean squared difference between the policy's actions and the
    oldest stored ones, in [-1, 1] units, above which the oldest 10 % are dropped."""
    actors: int = 0
    """Processes that collect, on Ray (extra `ray`): of this machine, or with --ray-address of a
    cluster. 0: the run collects itself. With 1 it does the same, bit for bit."""
    samples_per_insert: float = 1.0
    """With --actors: batches sampled, each for one update, per transition inserted once learning
    has begun. 1 is what a run without actors does. Reverb counts items: this times --batch-size."""
    rollout_length: int | None = None
    """With --actors: steps that an actor takes before it sends its transitions and gets the newest
    weights; fewer where an episode ends. n-step returns of several actors end with it. If not
    given: 50, and 1 with a single actor."""
    prioritised: bool = False
    """With --actors: draw transitions in proportion to their TD errors (1511.05952), with
    importance weights in the critics' loss."""
    priority_exponent: float = 0.6
    """With --prioritised: alpha, the power of a TD error that is its priority; 0 is uniform."""
    importance_exponent: float = 0.4
    """With --prioritised: beta, how far importance weights make up for it; 1 is wholly."""
    begun_from: tyro.conf.Suppress[str] = ""
    """What this run began with: a checkpoint of another one (`sparl prune`), or an agent's file of
    another library (`sparl import`)."""

    def __post_init__(self) -> None:
        may_be_none = {"seed", "noise_inputs", "actors"}
        counts = {f.name for f in dataclasses.fields(self) if f.type == "int"} - may_be_none
        checks.at_least(1, **{name: getattr(self, name) for name in sorted(counts)})
        checks.one_of(get_args(Vectorization), vectorization=self.vectorization)
        checks.one_of(get_args(Autoreset), autoreset=self.autoreset)
        if self.vectorization == "envpool" and (self.noise_inputs or self.inputs):
            raise BadValue(
                "vectorization is envpool: --noise-inputs and --inputs are for gymnasium's "
                "environments. Leave them out, or use --vectorization sync or async"
            )
        checks.at_least(
            0, seed=self.seed, noise_inputs=self.noise_inputs, buffer_drift=self.buffer_drift
        )
        self._check_distribution()

    def _check_distribution(self) -> None:
        checks.at_least(0, actors=self.actors)
        checks.positive(samples_per_insert=self.samples_per_insert)
        checks.fractions(
            priority_exponent=self.priority_exponent, importance_exponent=self.importance_exponent
        )
        checks.at_least(1, rollout_length=self.rollout)
        if self.rollout > self.buffer_size:
            raise BadValue(
                f"rollout-length is {self.rollout}: a rollout must fit into the replay, "
                f"--buffer-size {self.buffer_size}"
            )
        asked = (self.samples_per_insert, self.rollout_length, self.prioritised)
        if not self.actors and asked != (1.0, None, False):
            raise BadValue(
                "--samples-per-insert, --rollout-length and --prioritised are of runs with "
                "--actors: say how many"
            )

    @property
    def rollout(self) -> int:
        """`rollout_length`, or what it is where it was not given."""
        usual = min(1 if self.actors == 1 else ROLLOUT, self.buffer_size)
        return usual if self.rollout_length is None else self.rollout_length

    def make(self, **options: Any) -> gym.Env:
        """The run's environment, as its agent sees it; `options` are those of `gymnasium.make`.

        Raises `BadEnvironment`, or `BadValue` for inputs that there are not.
        """
        return wrapped(envs.make(self.env, **options), self.noise_inputs, self.inputs)


class Table:
    """A CSV file that grows by rows and can be cut back to where a checkpoint found it."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.path, self.columns = path, columns

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row; a column that `row` lacks stays empty.

        A file that is there already, of an older sparl perhaps, keeps the columns that it has.
        """
        if self.path.exists():
            with open(self.path) as file:
                self.columns, header = file.readline().strip().split(","), ""
        else:
            header = ",".join(self.columns) + "\n"
        with open(self.path, "a") as file:
            file.write(header + ",".join(_cell(row.get(c)) for c in self.columns) + "\n")

    def size(self) -> int:
        """Bytes so far, on the disk when this returns."""
        if not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Drops all beyond the first `size` bytes: rows after the checkpoint resumed from."""
        if size == 0:
            self.path.unlink(missing_ok=True)
        elif self.path.exists() and self.path.stat().st_size >= size:
            os.truncate(self.path, size)
        else:
            raise BadCheckpoint(f"{self.path} is shorter than when the checkpoint was saved")


class RunFolder:
    """A folder with the files above."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints")

    def refuse_if_taken(self) -> None:
        """Raises `BadRun` where the path already holds anything."""
        if not self.path.exists():
            return
        if (self.path / "config.json").exists():
            raise BadRun(
                f"{self.path} already holds another run. Choose another --out, or go on with "
                f"that run: sparl train --resume {self.path}"
            )
        if not self.path.is_dir() or any(self.path.iterdir()):
            raise BadRun(f"{self.path} is not empty. Choose another --out")

    def resumable(self) -> str:
        """A sentence on what a run that ended early can be resumed from."""
        steps = self.checkpoints.steps()
        if not steps:
            return "No checkpoint had been saved yet."
        return f"The checkpoint of step {steps[-1]} is safe: sparl train --resume {self.path}"

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run's folder; `BadRun` where there is none."""
        folder = cls(path)
        if not (folder.path / "config.json").is_file():
            raise BadRun(f"{folder.path} is no run folder of sparl: it has no config.json")
        return folder

    def write_config(self, run: RunConfig, agent: Any, method: Method, spaces: Spaces) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        storage.write_json(
            self.path / "config.json",
            {
                "format": FORMAT,
                "run": dataclasses.asdict(run),
                "agent": {"name": agents.name_of(agent)} | dataclasses.asdict(agent),
                "method": {"name": method.name} | dataclasses.asdict(method),
                "spaces": dataclasses.asdict(spaces),
                "versions": {name: importlib.metadata.version(name) for name in RECORDED}
                | {"python": platform.python_version()},
                "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
                "instruction_set": kernels.instruction_set(),
            },
        )

    def read_config(self) -> tuple[RunConfig, Any, Method, Spaces]:
        """Run, agent, method and spaces as written; `BadCheckpoint` if altered beyond use."""
        path = self.path / "config.json"
        content = storage.read_json(path)
        try:
            if content["format"] != FORMAT:
                raise BadCheckpoint(
                    f"{path} has format {content['format']}; this sparl reads format {FORMAT}"
                )
            agent, method = dict(content["agent"]), dict(content["method"])
            return (
                _made(RunConfig, content["run"]),
                _made(agents.AGENTS[agent.pop("name")][0], agent),
                _made(METHODS[method.pop("name")], method),
                _made(Spaces, content["spaces"]),
            )
        except (KeyError, TypeError) as error:
            raise BadCheckpoint(f"{path} is not as sparl wrote it: {error!r}") from error

    def table(self, name: str, columns: list[str]) -> Table:
        return Table(self.path / name, columns)

    @property
    def policy(self) -> Path:
        return self.path / "policy"

    def write_summary(self, summary: dict[str, Any]) -> None:
        storage.write_json(self.path / "summary.json", summary)

    def read_summary(self) -> dict[str, Any] | None:
        path = self.path / "summary.json"
        return json.loads(path.read_text()) if path.exists() else None


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _made(kind: Any, fields: dict[str, Any]) -> Any:
    """A dataclass from JSON, which has lists where ours have tuples."""
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
