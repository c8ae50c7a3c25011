"""The options of a run, besides those of its agent and its method."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_type_hints

import gymnasium as gym
import tyro

from sparl import envs, validation
from sparl.envs import wrapped
from sparl.errors import BadValue

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
        validation.kinds(self)
        may_be_none = {"seed", "noise_inputs", "actors"}
        kinds = get_type_hints(type(self))
        counts = {f.name for f in dataclasses.fields(self) if kinds[f.name] is int} - may_be_none
        validation.at_least(1, **{name: getattr(self, name) for name in sorted(counts)})
        validation.one_of(get_args(Vectorization), vectorization=self.vectorization)
        validation.one_of(get_args(Autoreset), autoreset=self.autoreset)
        if self.vectorization == "envpool" and (self.noise_inputs or self.inputs):
            raise BadValue(
                "vectorization is envpool: noise_inputs and inputs are for gymnasium's "
                "environments. Leave them out, or use vectorization sync or async"
            )
        validation.at_least(
            0, seed=self.seed, noise_inputs=self.noise_inputs, buffer_drift=self.buffer_drift
        )
        self._check_distribution()

    def _check_distribution(self) -> None:
        validation.at_least(0, actors=self.actors)
        validation.positive(samples_per_insert=self.samples_per_insert)
        validation.fractions(
            priority_exponent=self.priority_exponent, importance_exponent=self.importance_exponent
        )
        validation.at_least(1, rollout_length=self.rollout)
        if self.rollout > self.buffer_size:
            raise BadValue(
                f"rollout_length is {self.rollout}: a rollout must fit into the replay, "
                f"buffer_size {self.buffer_size}"
            )
        of_actors = (self.samples_per_insert, self.rollout_length, self.prioritised)
        if not self.actors and of_actors != (1.0, None, False):
            raise BadValue(
                "samples_per_insert, rollout_length and prioritised are options of runs with "
                "actors: say how many"
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
