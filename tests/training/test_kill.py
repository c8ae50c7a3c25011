"""Signals: a kill in the middle of a save, and requests to stop that are honoured with a save."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from environments import LIMIT, OFTEN, TINY
from interruptions import outcome, process_environment, python

import sparl
from sparl.errors import BadRun
from sparl.storage import Checkpoints, exclusive_folder
from sparl.training import Interrupted, interrupt

METHOD = sparl.RNM("2:4", interval=15)
ENV = "environments:Point-v0"

SCRIPT = """
    import os, signal, sys
    import sparl
    from environments import OFTEN, TINY

    calls = 0

    def dies(function):
        def wrapped(*arguments, **options):
            global calls
            calls += 1
            if calls == {fatal}:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return wrapped

    os.replace, os.rename, os.fsync = dies(os.replace), dies(os.rename), dies(os.fsync)
    sparl.train("{env}", TINY, sparl.RNM("2:4", interval=15), out=sys.argv[1], **OFTEN)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    sparl.train(ENV, TINY, METHOD, out=out, **OFTEN)
    return outcome(out)


# A save makes about a dozen of these calls: the moments fall before the first checkpoint is
# complete, between the files of a later one, and just before a checkpoint appears by its rename.
@pytest.mark.parametrize("fatal", [5, 10, 17, 24, 31])
def test_a_run_killed_during_a_save_resumes_to_the_same_bytes(fatal, whole, tmp_path):
    process = python(SCRIPT.format(fatal=fatal, env=ENV), str(tmp_path / "run"))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == whole
    left = [path for path in (tmp_path / "run").rglob("*") if path.name.endswith(".part")]
    assert not left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_saves_and_tells_how_to_go_on(number, whole, tmp_path):
    out = tmp_path / "run"

    class Ask(sparl.Callback):
        def on_restructure(self, step, figures):
            if step == 100:
                os.kill(os.getpid(), number)

    # Step 100 ends an episode: the request comes before, in its last step.
    with pytest.raises(Interrupted, match=f"sparl train --resume {out}") as caught:
        sparl.train(ENV, TINY, METHOD, out=out, callbacks=[Ask()], **OFTEN)
    assert caught.value.signal == number
    assert Checkpoints(out / "checkpoints").steps()[-1] == 100
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)
    sparl.resume(out, quiet=True)
    assert outcome(out) == whole


def test_the_command_line_leaves_with_the_signals_exit_code(tmp_path):
    options = "--hidden 16 16 --learning-starts 100 --batch-size 8 --steps 100000000"
    process = subprocess.Popen(
        [sys.executable, "-m", "sparl", "train", ENV, *options.split(), "--out", "run"],
        cwd=tmp_path,
        env=process_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "metrics.csv").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(BadRun, match="another process is training in"):
        sparl.resume(tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "finishing the episode before saving" in told
    assert "sparl train --resume run" in told
    assert "Traceback" not in told
    (step,) = Checkpoints(tmp_path / "run" / "checkpoints").steps()
    assert step % LIMIT == 0


def test_a_folders_claim_ends_with_its_process_whatever_that_had_forked(tmp_path):
    script = """
        import os, signal, sys, time
        from pathlib import Path
        from sparl.storage import exclusive_folder

        with exclusive_folder(Path(sys.argv[1])):
            child = os.fork()
            if child:
                print(child, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
    """
    with python(script, str(tmp_path)) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.wait(timeout=60) == -signal.SIGKILL
    try:
        with exclusive_folder(tmp_path):
            pass
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_can_be_trained_in(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", none)
    with exclusive_folder(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_a_second_request_leaves_at_once(tmp_path):
    class AskTwice(sparl.Callback):
        def on_restructure(self, step, figures):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    with pytest.raises(KeyboardInterrupt) as caught:
        sparl.train(ENV, TINY, METHOD, out=tmp_path / "run", callbacks=[AskTwice()], **OFTEN)
    assert not isinstance(caught.value, Interrupted)


def test_an_episode_without_end_is_cut_when_the_grace_is_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(interrupt, "GRACE", 0.0)

    class Ask(sparl.Callback):
        def on_restructure(self, step, figures):
            if step == 85:
                os.kill(os.getpid(), signal.SIGINT)

    options = OFTEN | {"quiet": False, "eval_every": 1000}
    with pytest.raises(Interrupted):
        sparl.train(
            "environments:Endless-v0", TINY, METHOD, out=tmp_path / "run", callbacks=[Ask()],
            **options,
        )  # fmt: skip
    assert "were cut to save in time" in capsys.readouterr().err
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [85]
