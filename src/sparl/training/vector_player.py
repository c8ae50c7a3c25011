"""Plays several environments of a run together, in vector environments of gymnasium or envpool.

An environment whose episode has ended must be reset. Vector environments differ in when they do
that (gymnasium's `AutoresetMode`). If the reset takes a step of its own, that step is not a
transition. If it happens within the last step of the episode, the episode's last observation is in
`infos`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from sparl import envs
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadEnvironment
from sparl.training.async_envs import ProcessVectorEnv
from sparl.training.player import EpisodePlayer, Explore, Transition


class VectorPlayer(EpisodePlayer):
    """Plays the episodes of a run in several environments at once.

    With `AutoresetMode.DISABLED` this class resets the environments, and the seed of every episode
    follows from its number. In other modes only the seeds of the first episodes do, and the
    environments draw the later ones. Each call of `transitions` begins new episodes.
    """

    def __init__(
        self,
        run: RunConfig,
        where: Callable[[], str],
        rescue: Callable[[], None],
        way_out: Callable[[], str],
    ) -> None:
        """For the arguments see `EpisodePlayer`.

        Raises:
            BadEnvironment: envpool does not have the environment.
        """
        super().__init__(run, where, rescue, way_out)
        if run.vectorization == "envpool":
            # Made once here, so that it fails before the run begins.
            _envpool(run, self.spaces, self._limit, seed=0).close()
        self._vector: Any = None
        self._idle = 0 if self.spaces.discrete else np.zeros(self.spaces.action_size, np.float32)

    def transitions(self, explore: Explore, another: Callable[[], bool]) -> Iterator[Transition]:
        """The transitions of episodes from number `begun` on, of all environments in turn.

        An environment plays on until one of its episodes ends and `another` says no. Environments
        that finished early keep stepping until the last one finishes; their transitions are
        dropped.

        Args:
            explore: Gives the action for an observation.
            another: Whether another episode is to begin; called when one has ended.
        """
        observations = self._begin()
        mode = self._vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        playing = np.ones(self._run.envs, bool)
        resetting = np.zeros(self._run.envs, bool)  # whose next step is a reset
        while playing.any():
            acting = playing & ~resetting
            actions = [
                explore(observation) if acts else self._idle
                for observation, acts in zip(observations, acting, strict=True)
            ]
            with self.guarded("step"):
                after, rewards, terminated, truncated, infos = self._vector.step(
                    self.spaces.to_env_action(np.stack(actions))
                )
            # A copy, because the next observations may be written to the same place.
            after, ended = np.array(after, np.float32), terminated | truncated
            for i in np.flatnonzero(acting).tolist():
                was_reset = ended[i] and mode == AutoresetMode.SAME_STEP
                next_observation = infos["final_obs"][i] if was_reset else after[i]
                next_observation, reward = self._finite(next_observation, float(rewards[i]))
                yield Transition(
                    observations[i],
                    actions[i],
                    reward,
                    next_observation,
                    terminated=bool(terminated[i]),
                    ended=bool(ended[i]),
                    stream=i,
                )
                playing[i] = not ended[i] or another()
            observations = self.spaces.flat(after)
            if mode == AutoresetMode.DISABLED:
                if ended.any():
                    observations = self._reset_some(ended, playing)
            else:
                resetting = ended & (mode == AutoresetMode.NEXT_STEP)
                self.begun += int((ended & acting & playing).sum())

    def close(self) -> None:
        """Closes all environments."""
        super().close()
        if self._vector is not None:
            self._vector.close()

    def _begin(self) -> NDArray[np.float32]:
        """The first observations [envs, obs] of new episodes in all environments."""
        self._seeds = [self._next_seed() for _ in range(self._run.envs)]
        with self.guarded("reset"):
            if self._run.vectorization == "envpool":
                # envpool takes a seed only when it is made.
                if self._vector is not None:
                    self._vector.close()
                seed = self._seeds[0] % 2**31
                self._vector = _envpool(self._run, self.spaces, self._limit, seed)
                observations, _ = self._vector.reset()
            else:
                if self._vector is None:
                    self._vector = _gymnasium(self._run)
                observations, _ = self._vector.reset(seed=self._seeds)
        return self._checked(observations)

    def _reset_some(
        self, ended: NDArray[np.bool_], playing: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Resets ended environments (without a seed if they no longer play): [envs, obs] of all."""
        for i in np.flatnonzero(ended & playing).tolist():
            self._seeds[i] = self._next_seed()
        seeds = [self._seeds[i] if playing[i] else None for i in range(self._run.envs)]
        with self.guarded("reset"):
            observations, _ = self._vector.reset(seed=seeds, options={"reset_mask": ended})
        return self._checked(observations)

    def _checked(self, observations: Any) -> NDArray[np.float32]:
        """The flat observations, if all are finite; else raises `Diverged`."""
        return self._finite(np.array(observations, np.float32), 0.0)[0]

    @property
    def _limit(self) -> int | None:
        """The largest number of steps of an episode."""
        return self.env.spec.max_episode_steps if self.env.spec else None


def _gymnasium(run: RunConfig) -> gym.vector.VectorEnv:
    """The run's environments in a vector environment of gymnasium."""
    mode = AutoresetMode[run.autoreset.upper()]
    if run.vectorization == "sync":
        return SyncVectorEnv([run.make] * run.envs, copy=False, autoreset_mode=mode)
    return ProcessVectorEnv(run.make, run.envs, mode)


def _envpool(run: RunConfig, known: Spaces, limit: int | None, seed: int) -> Any:
    """The run's environments in envpool.

    Raises:
        BadEnvironment: envpool is missing, or does not have the environment, or has other spaces
            than `known`, which are gymnasium's.
    """
    try:
        import envpool  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"{run.env} in envpool needs the package {error.name}, which is not installed: pip "
            'install "sparl[envs]", or use vectorization sync or async'
        ) from error
    ids = envpool.list_all_envs()
    if run.env not in ids:
        close = difflib.get_close_matches(run.env, ids, n=3, cutoff=0.5)
        raise BadEnvironment(
            f"envpool has no {run.env} (close matches: {', '.join(close) or 'none'}): use "
            "vectorization sync or async"
        )
    options = {} if limit is None else {"max_episode_steps": limit}
    vector = envpool.make_gymnasium(run.env, num_envs=run.envs, seed=seed, **options)
    spaces = envs.spaces_for(run.env, vector.single_observation_space, vector.single_action_space)
    if spaces != known:
        raise BadEnvironment(
            f"{run.env} has other spaces in envpool, {spaces}, than in gymnasium, {known}, where "
            "it is evaluated: use vectorization sync or async"
        )
    return vector
