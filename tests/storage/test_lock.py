"""The lock of a run folder where there is no fcntl, as on Windows: by a fake of its module."""

from __future__ import annotations

from interruptions import python

SCRIPT = """
import errno, sys, types
sys.modules["fcntl"] = None
import sparl

taken, fake = set(), types.ModuleType("msvcrt")
fake.LK_NBLCK = 2

def locking(descriptor, mode, count):
    import os
    at = os.fstat(descriptor).st_ino
    assert (mode, count) == (fake.LK_NBLCK, 1)
    if at in taken:
        raise PermissionError(errno.EACCES, "taken")
    taken.add(at)

fake.locking = locking
sys.modules["msvcrt"] = fake
from pathlib import Path
from sparl.storage import exclusive_folder
folder = Path("claimed")
with exclusive_folder(folder):
    try:
        with exclusive_folder(folder):
            print("claimed twice")
    except sparl.errors.BadRun as error:
        print("another process" in str(error))
"""


def test_sparl_is_imported_and_folders_are_claimed_without_fcntl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert python(SCRIPT).communicate(timeout=120)[0] == "True\n"
