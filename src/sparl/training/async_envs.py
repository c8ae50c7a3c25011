"""Environments in processes of their own, which may die, hang, or raise what cannot be sent.

gymnasium's `AsyncVectorEnv` waits without a limit: for an exception that a process could not send,
and, when it is closed, for processes that are dead or stuck.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import _async_worker

from sparl.errors import SparlError

SEND = 10.0
"""Seconds that the exception of an environment may take to arrive, once its process has told of
one."""
CLOSE = 5.0
"""Seconds that all processes have to end before they are killed."""
STOPPING = {signal.SIGINT, signal.SIGTERM}


class ProcessDied(Exception):
    """The process of an environment has ended without being asked to."""


class ProcessVectorEnv(AsyncVectorEnv):
    """Environments in processes of their own; nothing waits for one that is dead."""

    def __init__(self, make: Callable[[], gym.Env], count: int, mode: AutoresetMode) -> None:
        """
        Args:
            make: Makes one of them; it is sent to the processes.
            count: Number of environments.
            mode: When environments whose episode has ended are reset.

        Raises:
            ProcessDied: A process ended before its environment was made.
            OSError: This machine starts no more processes, for example.
        """
        self.processes = []
        with self._watched(), _stops_held_back():
            # Spawned, not forked: a fork would copy the locks of JAX's threads.
            super().__init__(
                [partial(_in_process, make)] * count,
                copy=False,
                context="spawn",
                worker=_worker,
                autoreset_mode=mode,
            )

    def reset(self, **options: Any) -> Any:
        """See `AsyncVectorEnv.reset`; raises `ProcessDied`."""
        with self._watched():
            return super().reset(**options)

    def step_async(self, actions: Any) -> None:
        """See `AsyncVectorEnv.step_async`; raises `ProcessDied`."""
        with self._watched():
            super().step_async(actions)

    def step_wait(self, timeout: float | None = None) -> Any:
        """See `AsyncVectorEnv.step_wait`; raises `ProcessDied`."""
        with self._watched():
            return super().step_wait(timeout)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Asks the processes to end, and kills those that do not.

        Args:
            timeout: Seconds that they have; `CLOSE` if not given.
            terminate: Kill them at once.
        """
        deadline = time.monotonic() + (0 if terminate else CLOSE if timeout is None else timeout)
        pipes = [pipe for pipe in self.parent_pipes if pipe is not None and not pipe.closed]
        for pipe in pipes:
            with suppress(OSError):
                pipe.send(("close", None))
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join(CLOSE)
        for pipe in pipes:
            pipe.close()

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        # An exception comes through a queue, by a thread of the process. If the process is killed
        # before that has sent it, it never comes.
        if all(successes):
            return
        try:
            _, _, error, _ = self.error_queue.get(timeout=SEND)
        except queue.Empty:
            raise ProcessDied("a process failed, and ended before it could say why") from None
        raise error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise ProcessDied(self._who_died()) from error

    def _who_died(self) -> str:
        deadline = time.monotonic() + 1.0
        for i, process in enumerate(self.processes):
            process.join(max(0.0, deadline - time.monotonic()))
            code = process.exitcode
            if code is not None:
                how = f"ended with status {code}; what it printed may say why"
                if code < 0:
                    how = f"was killed by {signal.Signals(-code).name}"
                if sys.platform != "win32" and code == -signal.SIGKILL:
                    how += ", as Linux does when memory runs out"
                return f"process {i + 1} of {len(self.processes)} {how}"
        return "a process closed its connection"


def _worker(*arguments: Any) -> None:
    """gymnasium's worker, which ends in silence where the run that it works for is gone."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _async_worker(*arguments)


def _in_process(make: Callable[[], gym.Env]) -> gym.Env:
    """An environment in a process that Ctrl-C does not end, because the run saves first."""
    if multiprocessing.parent_process() is None:
        return make()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    return _Sendable(make())


class _Sendable(gym.Wrapper):
    """An environment whose exceptions can all be sent to another process."""

    def reset(self, **options: Any) -> Any:
        with _sendable_errors():
            return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        with _sendable_errors():
            return self.env.step(action)


@contextmanager
def _sendable_errors() -> Iterator[None]:
    try:
        yield
    except SparlError:
        raise
    except Exception as error:
        # Others may not survive the way: their class may be known to this process alone, or be
        # made of more than its message.
        kind, arguments = type(error), error.args
        simple = kind.__module__ == "builtins" and all(isinstance(a, str | int) for a in arguments)
        told = kind(*arguments) if simple else RuntimeError(f"{kind.__name__}: {error}")
        raise told from None


@contextmanager
def _stops_held_back() -> Iterator[None]:
    """A context whose new processes hear of no request to stop before they can ignore it."""
    if sys.platform == "win32":  # it holds none back
        yield
        return
    resource_tracker.ensure_running()  # or it is started in here, and lets them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
