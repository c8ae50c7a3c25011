"""Disks that fill, processes and streams that die, requests to stop that come at a bad moment: a
run goes on, or it is saved and says how to go on, and nothing waits without a limit."""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import environments
import pytest
from environments import TINY
from interruptions import events, outcome, process_environment, python

import sparl
from sparl.errors import BadRun, EnvironmentFailed
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder
from sparl.training import Interrupted, async_envs, interrupt

METHOD = sparl.RNM("2:4", interval=15)
POINT = "environments:Point-v0"
OFTEN = environments.OFTEN | {"log_every": 20}
"""With rows at the steps of checkpoints, too: neither a cut nor TensorBoard may lose those."""
TOLD = OFTEN | {"quiet": False}
FREELY = OFTEN | {"eval_every": 1000, "checkpoint_every": 1000}


@pytest.fixture(autouse=True)
def no_longer_than_a_minute() -> Iterator[None]:
    def expired(*_: Any) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    sparl.train(POINT, TINY, METHOD, out=out, **OFTEN)
    return out


@contextmanager
def disk() -> Iterator[Callable[[bool], None]]:
    """Gives what fills the disk, or makes room: no file can grow beyond a few bytes then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(full: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]) if full else before)

    try:
        yield fill
    finally:
        fill(False)


class Filling(sparl.Callback):
    """The disk is full from one step to another."""

    def __init__(self, fill: Callable[[bool], None], first: int, last: int = 10**6) -> None:
        self.fill, self.first, self.last = fill, first, last

    def on_checkpoint(self, step: int, path: Path) -> None:
        if step >= self.first:
            self.fill(step < self.last)

    def on_episode(self, step: int, episode_return: float, length: int) -> None:
        if self.first < step:
            self.fill(step < self.last)


def test_a_disk_that_fills_stops_the_run_at_the_next_save_and_costs_nothing(
    whole, tmp_path, capsys
):
    out = tmp_path / "run"
    with disk() as fill, pytest.raises(BadRun) as caught:
        sparl.train(POINT, TINY, METHOD, out=out, callbacks=[Filling(fill, 80)], **TOLD)
    assert "step 120 cannot be saved: File too large" in str(caught.value)
    assert f"The checkpoint of step 80 is safe: sparl train --resume {out}" in str(caught.value)
    told = capsys.readouterr().err
    for name in ("metrics.csv", "restructures.csv", "tb"):
        assert told.count(f"{name} cannot be written: File too large") == 1
    sparl.resume(out, quiet=True)
    assert outcome(out) == outcome(whole)
    assert scalars_of(out) == scalars_of(whole)


def test_rows_that_had_to_wait_for_room_are_written_before_the_next_save(whole, tmp_path, capsys):
    out = tmp_path / "run"
    with disk() as fill:
        callbacks = [Filling(fill, 80, last=100)]
        sparl.train(POINT, TINY, METHOD, out=out, callbacks=callbacks, **TOLD)
    assert "restructures.csv is written again, with all that had to wait" in capsys.readouterr().err
    assert outcome(out) == outcome(whole)
    assert scalars_of(out) == scalars_of(whole)


def scalars_of(run: Path) -> dict[str, dict[int, float]]:
    return {tag: v for tag, v in events(run).items() if not tag.startswith("time/")}


def test_notes_to_a_terminal_that_is_gone_are_lost_and_the_run_goes_on(
    whole, tmp_path, monkeypatch
):
    class Gone:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Gone())
    sparl.train(POINT, TINY, METHOD, out=tmp_path / "run", **TOLD)
    assert outcome(tmp_path / "run") == outcome(whole)


def test_without_semaphores_environments_are_stepped_in_turn(tmp_path, monkeypatch, capsys):
    def none(*_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", none)
    options = TOLD | {"envs": 2, "steps": 60}
    sparl.train(POINT, TINY, out=tmp_path / "async", vectorization="async", **options)
    assert "Read-only file system; usually /dev/shm" in capsys.readouterr().err
    sparl.train(POINT, TINY, out=tmp_path / "sync", **options)
    assert outcome(tmp_path / "async") == outcome(tmp_path / "sync")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("Killed", r"process [12] of 2 was killed by SIGKILL, as Linux does when memory runs out"),
        ("Cryptic", r"raised RuntimeError in step: Unsendable: the gear \[/red\] came off"),
    ],
)
def test_a_process_of_an_environment_that_dies_is_named_and_the_run_is_saved(
    env, message, tmp_path
):
    out = tmp_path / "run"
    options = FREELY | {"envs": 2, "vectorization": "async"}
    with pytest.raises(EnvironmentFailed, match=message) as caught:
        sparl.train(f"environments:{env}-v0", TINY, out=out, **options)
    (*_, step) = RunFolder(out).checkpoints.steps()
    assert step == 58
    assert f"The checkpoint of step 58 is safe: sparl train --resume {out}" in str(caught.value)
    replay = Replay(200, Columns(2, 1))
    RunFolder(out).checkpoints.load_replay(58, replay)
    assert replay.added == 58


def test_a_process_of_an_environment_that_does_not_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(async_envs, "CLOSE", 0.2)
    options = OFTEN | {"envs": 2, "vectorization": "async", "steps": 40}
    sparl.train("environments:Clinging-v0", TINY, out=tmp_path / "run", **options)


def test_processes_of_environments_end_in_silence_where_their_run_was_killed():
    script = """
        import os, signal
        from functools import partial
        import gymnasium as gym
        import environments
        from sparl.training import async_envs

        if __name__ == "__main__":
            mode = gym.vector.AutoresetMode.DISABLED
            make = partial(gym.make, "environments:Point-v0")
            envs = async_envs.ProcessVectorEnv(make, 2, mode)
            envs.reset(seed=[1, 2])
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with python(script) as process:
        _, told = process.communicate(timeout=60)  # to the end of the last of them
    assert process.returncode == -signal.SIGKILL
    assert "Traceback" not in told


def test_a_script_that_trains_when_it_is_imported_is_told_how_to_be_written(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sparl\n"
        'sparl.train("Pendulum-v1", envs=2, vectorization="async", steps=50, out="run")\n'
    )
    words, where = [sys.executable, script.name], {"cwd": tmp_path, "env": process_environment()}
    process = subprocess.run(words, **where, capture_output=True, text=True, timeout=60)
    told = process.stderr
    assert process.returncode == 1
    assert 'put what the file does below `if __name__ == "__main__":`' in told
    assert "what it printed may say why" in told.splitlines()[-1]


def test_a_request_to_stop_during_an_evaluation_leaves_it_to_whoever_resumes(tmp_path, monkeypatch):
    env = "environments:Stopping-v0"
    options = OFTEN | {"eval_every": 40, "checkpoint_every": 1000}
    environments.Stopping.at = 0
    sparl.train(env, TINY, METHOD, out=tmp_path / "whole", **options)
    monkeypatch.setattr(interrupt, "GRACE", 0.0)
    # 80 steps of training and 40 of the first evaluation come before the second one.
    environments.Stopping.steps, environments.Stopping.at = 0, 125
    with pytest.raises(Interrupted, match="The checkpoint of step 80 is safe"):
        sparl.train(env, TINY, METHOD, out=tmp_path / "run", **options)
    assert environments.Stopping.steps < 130
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_second_request_ends_a_process_that_is_busy_outside_python(tmp_path):
    script = f"""
        import ctypes, sys
        import sparl
        from environments import OFTEN, TINY

        class Busy(sparl.Callback):
            def on_episode(self, step, episode_return, length):
                print("busy", flush=True)
                # A lock that its holder waits for: C code that no signal wakes.
                lock = ctypes.create_string_buffer(128)
                for _ in range(2):
                    ctypes.CDLL(None).pthread_mutex_lock(lock)

        sparl.train("{POINT}", TINY, out=sys.argv[1], callbacks=[Busy()], **OFTEN)
    """
    with python(script, str(tmp_path / "run")) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "busy\n"
            for _ in range(2):
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            assert process.wait(timeout=interrupt.LAST + 10) == 128 + signal.SIGINT
        finally:
            process.kill()


def test_what_fails_to_close_does_not_hide_how_a_run_ended(whole, tmp_path, monkeypatch, capsys):
    def close(self: Any) -> None:
        raise RuntimeError("no [display]")

    monkeypatch.setattr(environments.Point, "close", close)
    sparl.train(POINT, TINY, METHOD, out=tmp_path / "run", **TOLD)
    assert "could not be closed: RuntimeError: no [display]" in capsys.readouterr().err
    assert outcome(tmp_path / "run") == outcome(whole)
