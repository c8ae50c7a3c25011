"""Freed memory is kept: counted in page faults, in processes of their own."""

import os
import platform
import subprocess
import sys

import pytest

from sparl.engine import malloc

FAULTS = """
import ctypes, resource, runpy, sys
if len(sys.argv) > 1:
    print(runpy.run_path(sys.argv[1])["keep_freed"]())  # alone: the package would take seconds
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def turn():  # as an update: several arrays, freed together
    arrays = [libc.malloc(6 << 20) for _ in range(6)]
    for array in arrays:
        libc.memset(array, 1, 6 << 20)
    for array in arrays:
        libc.free(array)

for _ in range(3):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")


def faults(*arguments: str, **variables: str) -> list[str]:
    plain = {name: value for name, value in os.environ.items() if name not in malloc.CHOSEN}
    run = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env=plain | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.split()


def test_what_is_freed_is_not_handed_back_to_the_system() -> None:
    (without,) = faults()
    done, kept = faults(malloc.__file__)
    assert done == "True"
    assert int(without) >= 50  # five times 36 MiB, in pages of 2 MiB at the most
    assert int(kept) < 10


def test_a_user_who_has_set_it_is_left_alone() -> None:
    done, _ = faults(malloc.__file__, MALLOC_TRIM_THRESHOLD_="131072")
    assert done == "False"
