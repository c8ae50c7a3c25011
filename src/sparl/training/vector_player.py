"""Several environments of a run, stepped together: gymnasium's vector environments, or envpool's.

An episode that has ended must be reset before it goes on, and vector environments differ in when
that happens (gymnasium's `AutoresetMode`). Where it happens in a step of its own, that step is no
transition; where it happens within the last step, the last observation is told apart.
"""

from __future__ import annotations

import difflib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from sparl import envs
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadEnvironment
from sparl.training.player import EpisodePlayer, Explore, Transition


class VectorPlayer(EpisodePlayer):
    """Plays the episodes of a run in several environments at once.

    Where the environments are reset by themselves (`AutoresetMode.DISABLED`), the seed of every
    episode follows from its number. Otherwise the first episodes' do, and the environments draw
    what comes after. Both begin anew with each call of `transitions`.
    """

    def __init__(
        self,
        run: RunConfig,
        where: Callable[[], str],
        rescue: Callable[[], None],
        way_out: Callable[[], str],
    ) -> None:
        super().__init__(run, where, rescue, way_out)
        if run.vectorization == "envpool":
            _envpool(run, self.spaces, self._limit, seed=0).close()  # refused before the run begins
        self._vector: Any = None
        self._idle = 0 if self.spaces.discrete else np.zeros(self.spaces.action_size, np.float32)

    def transitions(self, explore: Explore, another: Callable[[], bool]) -> Iterator[Transition]:
        """The transitions of episodes from number `begun` on, of all environments in turn.

        They end when every environment has ended an episode and `another` was not wanted.
        Environments that finished early keep stepping until the last one finishes; their
        transitions are dropped.
        """
        observations = self._begin()
        mode = self._vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        playing = np.ones(self._run.envs, bool)
        resetting = np.zeros(self._run.envs, bool)  # in the step that comes
        while playing.any():
            acting = playing & ~resetting
            actions = [
                explore(observation) if acts else self._idle
                for observation, acts in zip(observations, acting, strict=True)
            ]
            with self.guarded("step"):
                found, rewards, terminated, truncated, infos = self._vector.step(
                    self.spaces.scaled(np.stack(actions))
                )
            # A copy: the next ones may be written to the same place.
            found, ended = np.array(found, np.float32), terminated | truncated
            for i in np.flatnonzero(acting).tolist():
                final = ended[i] and mode == AutoresetMode.SAME_STEP
                last = infos["final_obs"][i] if final else found[i]
                last, reward = self._finite(last, float(rewards[i]))
                done, over = bool(terminated[i]), bool(ended[i])
                yield Transition(observations[i], actions[i], reward, last, done, over, i)
                playing[i] = not over or another()
            observations = self.spaces.flat(found)
            if mode == AutoresetMode.DISABLED:
                if ended.any():
                    observations = self._reset_some(ended, playing)
            else:
                resetting = ended & (mode == AutoresetMode.NEXT_STEP)
                self.begun += int((ended & acting & playing).sum())

    def close(self) -> None:
        super().close()
        if self._vector is not None:
            self._vector.close()

    def _begin(self) -> NDArray[np.float32]:
        """First observations [envs, obs] of new episodes in all environments."""
        self._seeds = [self._next_seed() for _ in range(self._run.envs)]
        with self.guarded("reset"):
            if self._run.vectorization == "envpool":
                # It takes a seed when it is made, and at no other time.
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
        """Observations [envs, obs] after those that have ended are reset; those that play no more
        without a seed."""
        for i in np.flatnonzero(ended & playing).tolist():
            self._seeds[i] = self._next_seed()
        seeds = [self._seeds[i] if playing[i] else None for i in range(self._run.envs)]
        with self.guarded("reset"):
            observations, _ = self._vector.reset(seed=seeds, options={"reset_mask": ended})
        return self._checked(observations)

    def _checked(self, observations: Any) -> NDArray[np.float32]:
        return self._finite(np.array(observations, np.float32), 0.0)[0]

    @property
    def _limit(self) -> int | None:
        """Most steps of an episode."""
        return self.env.spec.max_episode_steps if self.env.spec else None


def _gymnasium(run: RunConfig) -> gym.vector.VectorEnv:
    mode = AutoresetMode[run.autoreset.upper()]
    if run.vectorization == "sync":
        return SyncVectorEnv([run.make] * run.envs, copy=False, autoreset_mode=mode)
    # Not forked: JAX has threads, and a fork has copies of their locks.
    return AsyncVectorEnv(
        [partial(_in_worker, run)] * run.envs, copy=False, context="spawn", autoreset_mode=mode
    )


def _in_worker(run: RunConfig) -> gym.Env:
    """An environment in a process of its own, which Ctrl-C does not end: the run saves first."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return run.make()


def _envpool(run: RunConfig, known: Spaces, limit: int | None, seed: int) -> Any:
    """The run's environment in envpool, whose spaces must be those `known` from gymnasium's.

    Raises `BadEnvironment` where envpool is missing or does not have that environment.
    """
    try:
        import envpool  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"{run.env} in envpool needs the package {error.name}, which is not installed: pip "
            'install "sparl[envs]", or use --vectorization sync or async'
        ) from error
    ids = envpool.list_all_envs()
    if run.env not in ids:
        close = difflib.get_close_matches(run.env, ids, n=3, cutoff=0.5)
        raise BadEnvironment(
            f"envpool has no {run.env} (close matches: {', '.join(close) or 'none'}): use "
            "--vectorization sync or async"
        )
    options = {} if limit is None else {"max_episode_steps": limit}
    made = envpool.make_gymnasium(run.env, num_envs=run.envs, seed=seed, **options)
    found = envs.spaces_for(run.env, made.single_observation_space, made.single_action_space)
    if found != known:
        raise BadEnvironment(
            f"{run.env} is another environment in envpool, {found}, than in gymnasium, where it is "
            f"evaluated, {known}: use --vectorization sync or async"
        )
    return made
