"""The options of a run, besides those of its agent and its method."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro

from sparl import envs, plugins, validation
from sparl.config import words
from sparl.envs import EnvMaker, EnvPoolId, Registered, WrapperSpec
from sparl.errors import BadEnvironment, BadValue

ROLLOUT = 50
"""Steps of a rollout, if not given, where there are several actors."""

RECORDED = (
    *("env_spec", "env_folder", "replay_sha256", "replay_transitions"),
    *("begun_from", "transferred", "vecnormalize"),
)
"""Fields of `RunConfig` that sparl fills in itself."""

Vectorization = Literal["sync", "async", "envpool"]
Autoreset = Literal["disabled", "next_step", "same_step"]
EvalEnv = Literal["own", "shared"]
Nonfinite = Literal["stop", "skip"]
Pipeline = Literal["on", "off"]
Show = Literal["off", "plain", "rich"]
"""How a run's progress is shown. off: notes alone. plain: a line now and then. rich: a line that is
written anew."""


@dataclass(frozen=True)
class RunConfig:
    """What a run is, besides its agent and its method."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Gymnasium id, for example HalfCheetah-v5; or module:EnvId, module:Class, or
    path/to/file.py:Class."""
    steps: int = 1_000_000
    """Environment steps in all; with --offline updates."""
    seed: int = 0
    """Seed of the networks, exploration, sampling and every episode."""
    eval_every: int = 5_000
    """Steps between two evaluations."""
    eval_episodes: int = 10
    """Episodes of one evaluation, always from the same seeds; 0: no evaluations, as on a robot."""
    stop_at_return: float | None = None
    """Mean return of an evaluation at which the run ends, before all its steps are made."""
    checkpoint_every: int = 10_000
    """Least number of steps between two checkpoints; each is cut at an episode's end."""
    log_every: int = 1_000
    """Steps between two rows of metrics.csv."""
    envs: int = 1
    """Environments that are stepped together. A step is that of one of them, and updates per step
    are what they are with one. For a checkpoint they wait until each has ended its episode. A run
    that was killed resumes bit for bit; one of several environments that was stopped by Ctrl-C goes
    on with other episodes than without the stop."""
    vectorization: Vectorization = "sync"
    """How several are stepped: sync, in turn; async, each in a process of its own, for slow ones;
    envpool, by its C++ versions (extra `envs`), with the episodes' seeds left to it."""
    autoreset: Autoreset = "disabled"
    """When several of gymnasium's are reset: disabled, by sparl, every episode with its own seed;
    next_step or same_step, by the vector environment, the first episodes alone seeded."""
    env_kwargs: Annotated[dict[str, Any], words.KWARGS] = field(default_factory=dict, hash=False)
    """Arguments of the environment's constructor. Values are JSON, True, False or None, or text as
    it is."""
    wrappers: Annotated[tuple[WrapperSpec, ...], words.WRAPPERS] = ()
    """Wrappers around the environment, the innermost first, with their arguments behind them:
    module:Wrapper or path/to/file.py:Wrapper, then key=value …"""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the environment's own limit."""
    frame_stack: int = 1
    """Newest observations of the environment that are one of the agent, as a memory."""
    round_actions: bool = False
    """Round continuous actions where the environment takes integers between bounds."""
    pipeline: Pipeline = "off"
    """Whether the environment is stepped while updates run. on: an action is chosen by the weights
    from before the updates of the step before it; only the first of an episode waits for them. off:
    by the newest weights. Neither depends on timing or threads, and both resume bit for bit."""
    eval_env: EvalEnv = "own"
    """Where evaluations play: own, in environments made for them; shared, in the training's,
    between its episodes, for a simulator that exists once."""
    eval_async: bool = False
    """Play evaluations beside training, in a thread: the same returns. Rows of the log wait for the
    next one, or for a checkpoint; stop_at_return acts then, too."""
    eval_max_steps: int = 100_000
    """Steps after which an episode of an evaluation is cut."""
    nonfinite: Nonfinite = "stop"
    """What happens when the environment gives a number that is not finite: stop, save and stop;
    skip, leave that step out and begin another episode."""
    normalize_observations: bool = False
    """Show the networks (x - mean) / sqrt(variance) of each entry of an observation, by running
    statistics of the training's observations (SimBa's RSNorm, 2410.09754). They are saved with the
    policy and part of every export."""
    clip_observations: float | None = None
    """Most that an entry of a normalised observation may be away from 0; no limit if not given."""
    noise_inputs: int = 0
    """Entries of noise put behind those of the observation: to see what finds them out."""
    inputs: tuple[int, ...] = ()
    """Entries of the observation, from 0, that the agent sees; all if not given. `sparl features`
    names those that matter."""
    actor_obs: tuple[str, ...] = ()
    """Entries of a Dict observation, by their names, that the acting networks see; all if not
    given. Exports read these alone."""
    critic_obs: tuple[str, ...] = ()
    """Entries that all other networks see, as of a simulator what no sensor measures (asymmetric
    actor and critic, 1710.06542); all if not given."""
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
    env_spec: str = ""
    """The environment's `EnvSpec` as JSON, for processes in which its name is not registered."""
    env_folder: str = ""
    """The folder in which its module was found, if that is in no installed package."""
    replay: str = ""
    """Logged transitions to begin the replay with: data.npz, or minari:ID (extra `minari`). If they
    are a batch at least, learning starts at once: learning_starts is 0."""
    pretrain_updates: int = 0
    """With --replay: updates from the logs alone before the environment is stepped."""
    offline: bool = False
    """With --replay: learn from the logs alone. Steps count updates then, and the environment gives
    its spaces and is stepped for evaluations only; with --eval-episodes 0 it is never."""
    replay_sha256: str = ""
    """Of the logs that this run began with."""
    replay_transitions: int = 0
    """How many they had."""
    begun_from: str = ""
    """What this run began with: a checkpoint of another one (`sparl prune`, `sparl transfer`), or
    an agent's file of another library (`sparl import`)."""
    transferred: bool = False
    """Whether that is one of `sparl transfer`."""
    vecnormalize: tyro.conf.Suppress[str] = ""
    """The file of the statistics that such an agent saw observations through."""

    def __post_init__(self) -> None:
        validation.kinds(self)
        kinds = get_type_hints(type(self))
        counts = {f.name for f in dataclasses.fields(self) if kinds[f.name] is int}
        counts -= {"seed", "noise_inputs", "actors", "eval_episodes", "pretrain_updates"}
        counts -= {"replay_transitions"}
        validation.at_least(1, **{name: getattr(self, name) for name in sorted(counts)})
        validation.one_of(get_args(Vectorization), vectorization=self.vectorization)
        validation.one_of(get_args(Autoreset), autoreset=self.autoreset)
        validation.one_of(get_args(EvalEnv), eval_env=self.eval_env)
        validation.one_of(get_args(Nonfinite), nonfinite=self.nonfinite)
        validation.one_of(get_args(Pipeline), pipeline=self.pipeline)
        if self.stop_at_return is not None and not self.eval_episodes:
            raise BadValue(
                f"stop_at_return is {self.stop_at_return:g}: it goes by evaluations, and "
                "eval_episodes is 0"
            )
        if self.max_episode_steps is not None:
            validation.at_least(1, max_episode_steps=self.max_episode_steps)
        if self.clip_observations is not None:
            validation.positive(clip_observations=self.clip_observations)
            if not self.normalize_observations:
                raise BadValue(
                    f"clip_observations is {self.clip_observations:g}: only normalised ones are "
                    "clipped. Ask for normalize_observations, too"
                )
        self._check_environments()
        validation.at_least(
            0,
            seed=self.seed,
            noise_inputs=self.noise_inputs,
            buffer_drift=self.buffer_drift,
            eval_episodes=self.eval_episodes,
            pretrain_updates=self.pretrain_updates,
            replay_transitions=self.replay_transitions,
        )
        self._check_logs()
        self._check_distribution()

    def _check_environments(self) -> None:
        object.__setattr__(self, "env_kwargs", words.recordable(self.env_kwargs, self.wrappers))
        of_gymnasium = ("noise_inputs", "inputs", "wrappers", "frame_stack")
        asked = [n for n in of_gymnasium if getattr(self, n) not in (0, 1, ())]
        if self.vectorization == "envpool" and asked:
            raise BadValue(
                f"vectorization is envpool: {' and '.join(asked)} are for gymnasium's "
                "environments. Leave them out, or use vectorization sync or async"
            )
        own_resets = self.autoreset == "disabled" and self.vectorization != "envpool"
        if self.nonfinite == "skip" and (self.actors or not own_resets):
            raise BadValue(
                "nonfinite is skip: only the run itself can leave a step out and begin another "
                "episode. Use it without actors, envpool, and autoreset next_step or same_step"
            )
        if self.eval_env == "shared" and self.eval_async:
            raise BadValue(
                "eval_env is shared: beside training it is not free. Leave eval_async out"
            )
        several = self.envs > 1 or self.actors or self.vectorization != "sync"
        if self.eval_env == "shared" and several:
            raise BadValue(
                "eval_env is shared: a run of several environments has none that is free between "
                "episodes. Use eval_env own, or one environment in this process"
            )

    def _check_logs(self) -> None:
        if not self.replay and (self.offline or self.pretrain_updates):
            asked = "offline is True" if self.offline else "pretrain_updates is above 0"
            raise BadValue(f"{asked}: say which logs to learn from: replay data.npz")
        if self.pretrain_updates and self.actors:
            raise BadValue(
                f"pretrain_updates is {self.pretrain_updates}: with actors learning goes by what "
                "they insert. Leave one of the two out"
            )
        stepped = (self.actors, self.pretrain_updates, self.dynamic_replay, self.envs > 1)
        if self.offline and (any(stepped) or self.vectorization != "sync"):
            raise BadValue(
                "offline is True: there are no steps for actors, envs, vectorization, "
                "pretrain_updates or dynamic_replay. Leave them out"
            )

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

    def maker(self) -> EnvMaker:
        """What makes the run's environment as its agent sees it.

        Raises:
            BadEnvironment: There is no environment of that name.
        """
        source = envs.find(self.env, self.env_spec, self.env_folder)
        if isinstance(source, EnvPoolId) and self.vectorization != "envpool":
            raise BadEnvironment(f"only envpool has {self.env}: use vectorization envpool")
        return EnvMaker(
            self.env,
            source,
            self.env_kwargs,
            self.wrappers,
            self.max_episode_steps,
            self.noise_inputs,
            self.inputs,
            self.frame_stack,
        )

    def recorded(self) -> RunConfig:
        """The same, with all that another process needs to make the environment again."""
        env = plugins.absolute(self.env)
        wrappers = tuple(replace(w, name=plugins.absolute(w.name)) for w in self.wrappers)
        source = envs.find(env, self.env_spec, self.env_folder)
        known = source if isinstance(source, Registered) else None
        return replace(
            self,
            env=env,
            wrappers=wrappers,
            env_spec=self.env_spec or (known.json if known else ""),
            env_folder=known.folder if known else "",
        )
