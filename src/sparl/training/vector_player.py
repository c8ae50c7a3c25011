"""Plays several environments of a run together, in vector environments of gymnasium or envpool.

An environment whose episode has ended must be reset. Vector environments differ in when they do
that (gymnasium's `AutoresetMode`). If the reset takes a step of its own, that step is not a
transition. If it happens within the last step of the episode, the episode's last observation is in
`infos`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from sparl import envs
from sparl.config import RunConfig
from sparl.envs import EnvMaker, envpool
from sparl.errors import BadEnvironment
from sparl.training.async_envs import ProcessVectorEnv
from sparl.training.player import (
    EpisodePlayer,
    Explore,
    LeftOut,
    NotFinite,
    Played,
    Transition,
    finite,
)


class VectorPlayer(EpisodePlayer):
    """Plays the episodes of a run in several environments at once.

    With `AutoresetMode.DISABLED` this class resets the environments, and the seed of every episode
    follows from its number. In other modes only the seeds of the first episodes do, and the
    environments draw the later ones. Each call of `transitions` begins new episodes.
    """

    def __init__(
        self,
        run: RunConfig,
        make: EnvMaker,
        where: Callable[[], str],
        rescue: Callable[[], None],
        way_out: Callable[[], str],
    ) -> None:
        """For the arguments see `EpisodePlayer`.

        Raises:
            BadEnvironment: envpool does not have the environment.
        """
        super().__init__(run, make, where, rescue, way_out)
        if run.vectorization == "envpool":
            # Made once here, so that it fails before the run begins.
            self._envpool(seed=0).close()
        self._vector: Any = None
        self._idle = np.zeros(run.envs, np.int64)
        """Actions of environments that do not act."""
        if not self.spaces.discrete:
            self._idle = np.zeros((run.envs, self.spaces.action_size), np.float32)

    def transitions(self, explore: Explore, another: Callable[[], bool]) -> Iterator[Played]:
        """The transitions of episodes from number `begun` on, of all environments in turn.

        An environment plays on until one of its episodes ends and `another` says no. Environments
        that finished early keep stepping until the last one finishes; their transitions are
        dropped.

        Args:
            explore: Gives the actions for observations.
            another: Whether another episode is to begin; called when one has ended.
        """
        observations = self._begin()
        mode = self._vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        playing = np.ones(self._run.envs, bool)
        resetting = np.zeros(self._run.envs, bool)  # whose next step is a reset
        first = np.ones(self._run.envs, bool)  # whose observation is the first of an episode
        while True:
            observations = yield from self._finite_first(observations, first, playing, another)
            if not playing.any():
                break
            acting = playing & ~resetting
            last = np.flatnonzero(acting).max(initial=-1)
            actions = self._idle.copy()
            if acting.any():
                actions[acting] = explore(observations[acting])
            with self.guarded("step"):
                results = self._stepping(self.spaces.to_env_action(actions))
            if self._run.vectorization != "sync":
                yield None
            with self.guarded("step"):
                after, rewards, terminated, truncated, infos = results()
            after, ended = self._arrived(after), terminated | truncated
            for i in np.flatnonzero(acting).tolist():
                self.whole = i == last
                was_reset = ended[i] and mode == AutoresetMode.SAME_STEP
                reward = float(rewards[i])
                try:
                    with self.guarded("step"):
                        last_one = infos["final_obs"][i] if was_reset else after[i]
                        flat = self.spaces.flat_one(last_one) if was_reset else last_one
                        next_observation = finite(flat, reward)
                except NotFinite as error:
                    yield LeftOut(str(error), 1, stream=i)
                    ended[i] = True
                else:
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
            observations, first = after, ended
            if mode == AutoresetMode.DISABLED:
                if ended.any():
                    observations = self._reset_some(ended, playing)
            else:
                if mode == AutoresetMode.NEXT_STEP:
                    first, resetting = resetting, ended
                self.begun += int((ended & acting & playing).sum())

    def close(self) -> None:
        """Closes all environments."""
        super().close()
        if self._vector is not None:
            self._vector.close()

    def _stepping(self, actions: NDArray[Any]) -> Callable[[], Any]:
        """Lets the environments begin a step; what is returned gives the results of it."""
        if self._run.vectorization == "async":
            self._vector.step_async(actions)
            return self._vector.step_wait
        if self._run.vectorization == "envpool":
            self._vector.send(actions)
            return self._vector.recv
        return partial(self._vector.step, actions)

    def _begin(self) -> NDArray[np.float32]:
        """The first observations [envs, obs] of new episodes in all environments."""
        self._seeds = [self._next_seed() for _ in range(self._run.envs)]
        with self.guarded("reset"):
            if self._run.vectorization == "envpool":
                # envpool takes a seed only when it is made.
                if self._vector is not None:
                    self._vector.close()
                self._vector = self._envpool(self._seeds[0] % 2**31)
                observations, _ = self._vector.reset()
            else:
                if self._vector is None:
                    self._vector = _gymnasium(self._run, self.make)
                observations, _ = self._vector.reset(seed=self._seeds)
            return self._arrived(observations)

    def _finite_first(
        self,
        observations: NDArray[np.float32],
        first: NDArray[np.bool_],
        playing: NDArray[np.bool_],
        another: Callable[[], bool],
    ) -> Generator[LeftOut, None, NDArray[np.float32]]:
        """The observations [envs, obs], where first ones are finite: else such episodes are over.

        Args:
            first: Whose observation is the first of an episode.
            playing: Who plays; it changes where no other episode is to begin.
        """
        while (bad := first & playing & ~np.isfinite(observations).all(axis=1)).any():
            try:
                with self.guarded("reset"):
                    raise NotFinite("a first observation")
            except NotFinite as error:
                for i in np.flatnonzero(bad).tolist():
                    yield LeftOut(str(error), 0, stream=i)
                    playing[i] = another()
            observations, first = self._reset_some(bad, playing), bad
        return observations

    def _reset_some(
        self, ended: NDArray[np.bool_], playing: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Resets ended environments (without a seed if they no longer play): [envs, obs] of all."""
        for i in np.flatnonzero(ended & playing).tolist():
            self._seeds[i] = self._next_seed()
        seeds = [self._seeds[i] if playing[i] else None for i in range(self._run.envs)]
        with self.guarded("reset"):
            observations, _ = self._vector.reset(seed=seeds, options={"reset_mask": ended})
            return self._arrived(observations)

    def _arrived(self, observations: Any) -> NDArray[np.float32]:
        """The flat observations [envs, obs] in an array of their own."""
        if self.spaces.structure is not None and isinstance(observations, dict | tuple):
            space = envs.space_of(self.spaces.structure)
            flat = envs.flatten_batch(space, observations, self._run.envs)
        else:
            # A copy, because the next observations may be written to the same place.
            flat = self.spaces.flat(np.array(observations, np.float32))
        return flat

    def _envpool(self, seed: int) -> Any:
        """The run's environments in envpool.

        Raises:
            BadEnvironment: envpool cannot make them, or has other spaces than gymnasium, where they
                are evaluated.
        """
        run = self._run
        vector = envpool.make(run.env, run.envs, seed, self.longest, run.env_kwargs)
        observation = gym.spaces.flatten_space(vector.single_observation_space)
        if isinstance(vector.single_observation_space, gym.spaces.Box):
            observation = vector.single_observation_space
        action = vector.single_action_space
        spaces = envs.spaces_for(run.env, observation, action, run.round_actions)
        known = replace(self.spaces, entries=(), structure=None)
        if spaces != known:
            raise BadEnvironment(
                f"{run.env} has other spaces in envpool, {spaces}, than in gymnasium, {known}, "
                "where it is evaluated: use vectorization sync or async"
            )
        return vector


class _Bare(gym.Wrapper):
    """Gives what a vector environment can stack: no infos, and numbers that are no integers."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        if isinstance(space, gym.spaces.Box) and space.dtype.kind in "iub":
            self.observation_space = gym.spaces.Box(-np.inf, np.inf, space.shape, np.float32)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(**options)[0], {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        return (*self.env.step(action)[:4], {})


def _for_vectors(make: EnvMaker) -> gym.Env:
    return _Bare(make())


def _gymnasium(run: RunConfig, make: EnvMaker) -> gym.vector.VectorEnv:
    """The run's environments in a vector environment of gymnasium."""
    mode = AutoresetMode[run.autoreset.upper()]
    bare = partial(_for_vectors, make)
    if run.vectorization == "sync":
        return SyncVectorEnv([bare] * run.envs, copy=False, autoreset_mode=mode)
    return ProcessVectorEnv(bare, run.envs, mode)
