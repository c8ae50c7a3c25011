"""sparl where there is no POSIX: by fakes of what Windows and macOS have, and lack."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from interruptions import python
from packaging.requirements import Requirement

import sparl
from sparl import envs
from sparl.errors import BadEnvironment, BadValue
from sparl.storage import system
from sparl.sweeps import study

ROOT = Path(__file__).parents[1]

of_posix = pytest.mark.skipif(sys.platform == "win32", reason="a fake of what is there itself")

WINDOWS = """
import errno, importlib, os, pkgutil, signal, sys, time, types
from pathlib import Path

def all_of_sparl():
    import sparl
    found = pkgutil.walk_packages(sparl.__path__, "sparl.")
    for name in [module.name for module in found if module.name != "sparl.__main__"]:
        if not name.startswith("sparl.kernels._cpu"):
            importlib.import_module(name)

all_of_sparl()  # and with it all that it needs of others, which have their own ways on Windows
for name in list(sys.modules):
    if name.partition(".")[0] == "sparl" and name != "sparl.kernels._cpu":
        del sys.modules[name]
for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
pipe, set_blocking = os.pipe, os.set_blocking

def nonblocking_pipe():  # Python asks for it here, and not on Windows
    ends = pipe()
    set_blocking(ends[1], False)
    return ends

os.pipe = nonblocking_pipe
POSIX = {
    os: "fork getloadavg killpg mkfifo O_NOFOLLOW sched_getaffinity sched_setaffinity set_blocking "
    "setsid sysconf uname",
    signal: "pthread_sigmask SIG_BLOCK SIG_SETMASK SIG_UNBLOCK SIGALRM SIGHUP SIGKILL SIGUSR1",
    time: "tzset",
}
for module, names in POSIX.items():
    for name in names.split():
        vars(module).pop(name, None)
sys.platform = "win32"

taken, msvcrt = set(), types.ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2

def locking(descriptor, mode, count):
    at = os.fstat(descriptor).st_ino
    assert (mode, count) == (msvcrt.LK_NBLCK, 1)
    if at in taken:
        raise PermissionError(errno.EACCES, "taken")
    taken.add(at)

msvcrt.locking = locking
sys.modules["msvcrt"] = msvcrt

all_of_sparl()
import sparl
from sparl.storage import Table, exclusive_folder, files
from sparl.training import async_envs, cores, interrupt, memory

with exclusive_folder(Path("claimed")):
    try:
        with exclusive_folder(Path("claimed")):
            print("claimed twice")
    except sparl.errors.BadRun as error:
        assert "another process" in str(error)

# Somebody reads what is to be replaced.
Path("target").write_text("old")
refusals, replace = [PermissionError(errno.EACCES, "in use")] * 3, os.replace

def refuses(old, new):
    if refusals:
        raise refusals.pop()
    replace(old, new)

os.replace = refuses
files.write_bytes(Path("target"), b"new")
assert Path("target").read_text() == "new" and not refusals

fsync = os.fsync

def of_writable(descriptor):  # as Windows does it
    os.write(descriptor, b"")
    fsync(descriptor)

os.fsync = of_writable
table = Table(Path("table.csv"), ["step"])
table.append({"step": 1})
assert table.mark().bytes == 7

assert memory.machine_memory() is None and cores.busy_note() is None
with async_envs._stops_held_back(), interrupt.Interrupt(print):
    pass
print("fine")
"""


@of_posix
def test_sparl_runs_without_what_windows_lacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = python(WINDOWS)
    told, errors = process.communicate(timeout=120)
    assert told == "fine\n", errors


LOCKED = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("system", sys.argv[1])
system = importlib.util.module_from_spec(spec)
spec.loader.exec_module(system)
file = open("lock", "a")
system.lock(file)
if sys.argv[2] == "fork" and os.fork() == 0:
    print("forked", flush=True)
    time.sleep(60)
"""


@of_posix
def test_a_process_that_was_forked_holds_no_lock(tmp_path):
    words = [sys.executable, "-c", LOCKED, system.__file__]
    forking = [*words, "fork"]
    with subprocess.Popen(forking, cwd=tmp_path, stdout=subprocess.PIPE, process_group=0) as first:
        try:
            assert first.stdout is not None and first.stdout.readline() == b"forked\n"
            assert first.wait(20) == 0  # and what it has forked goes on
            subprocess.run([*words, "alone"], cwd=tmp_path, check=True, timeout=20)
        finally:
            os.killpg(first.pid, 9)


@of_posix
def test_elsewhere_a_refusal_to_rename_is_raised_at_once(monkeypatch, tmp_path):
    def refuses(old, new):
        raise PermissionError("no")

    monkeypatch.setattr(os, "replace", refuses)
    begun = time.monotonic()
    with pytest.raises(PermissionError):
        system.rename(tmp_path / "old", tmp_path / "new")
    assert time.monotonic() - begun < 1


@of_posix
def test_a_drives_colon_is_part_of_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:").mkdir()
    (tmp_path / "C:" / "lift.py").write_text("from environments import Point as Lift\n")
    maker = envs.by_name("C:/lift.py:Lift")
    assert maker.base().unwrapped.observation_space.shape == (2,)
    assert envs.folder_name(r"C:\robots\lift.py:Lift") == "lift.py-Lift"
    for name in (r"C:\robots\lift.py", "robots/lift.py"):
        with pytest.raises(BadEnvironment, match=r"behind the file, .*lift\.py:MyEnv"):
            envs.by_name(name)


def test_variants_whose_folders_windows_could_not_have_are_refused_there(monkeypatch):
    content = {"envs": "Pendulum-v1", "variants": {"rnm 1:8": {}}}
    assert len(sparl.sweeps.Study.of(content).jobs()) == 1
    monkeypatch.setattr(study, "WINDOWS", True)
    with pytest.raises(BadValue, match="no colons"):
        sparl.sweeps.Study.of(content)


def test_what_pyproject_says_of_versions_holds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [Requirement(text) for text in project["project"]["dependencies"]]
    (jax,) = [str(one.specifier) for one in needed if one.name == "jax"]
    # Kernels that were compiled against a newer jaxlib are refused by an older one.
    built = [Requirement(text) for text in project["build-system"]["requires"]]
    (pinned,) = [o for o in built if o.name == "jaxlib" and "==" in str(o.specifier)]
    assert jax.replace(">=", "==") == str(pinned.specifier)
    assert not [one for one in needed if "box2d" in one.extras]
