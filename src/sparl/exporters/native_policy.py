"""An exported C policy on this machine: compiled into a shared library and called from Python."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadRun, BadValue
from sparl.exporters.c import CProgram, renamed

COMPILE_FLAGS = ("-std=c99", "-O3", "-march=native", "-Wall", "-Wextra", "-Wpedantic")
"""Warnings are no errors here: what one compiler finds odd is no reason to export nothing."""
SOURCES = ("policy.c", "test/policy_test.c")
COMPILERS = ("cc", "gcc", "clang")
"""Compilers that are looked for, in this order, where $CC is not set."""


def compiler() -> str | None:
    """Gives the command of this machine's C compiler, its path first, or None.

    It is $CC, options included, or the first of cc, gcc and clang that is installed.

    Raises:
        BadValue: There is no such compiler as $CC.
    """
    try:
        from_environment = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        told = f"CC is {os.environ['CC']}, which a shell would not read: {error}"
        raise BadValue(told) from error
    if not from_environment:
        return next(filter(None, map(shutil.which, COMPILERS)), None)
    found = shutil.which(from_environment[0])
    if found is None:
        raise BadValue(f"CC is {os.environ['CC']}: no such compiler is installed")
    return shlex.join([found, *from_environment[1:]])


class CannotRunHere(BadRun):
    """A compiler makes nothing of a program that this machine runs."""


TIMED = 300
"""Runs of the self-test that are timed."""


class CompiledPolicy:
    """A policy that was exported as C, compiled and run by this machine's processor.

    Args:
        program: The exported program, for its sizes.
        folder: Where its files are.
        library: The shared library to write.
        compiled_by: The compiler, as `compiler` gives it.

    Raises:
        CannotRunHere: It does not compile, or cannot be loaded; the message has the words of the
            compiler, or of the system.
    """

    def __init__(self, program: CProgram, folder: Path, library: Path, compiled_by: str) -> None:
        sources = [str(folder / renamed(source, program.name)) for source in SOURCES]
        command = [
            *shlex.split(compiled_by),
            *COMPILE_FLAGS,
            f"-I{folder}",
            "-shared",
            "-fPIC",
            "-o",
            str(library),
        ]
        finished = subprocess.run(
            [*command, *sources, "-lm"], capture_output=True, encoding="utf-8", errors="replace"
        )
        if finished.returncode != 0:
            told = finished.stderr.strip()
            raise CannotRunHere(
                f"{compiled_by} does not compile it for this machine. Unset CC, or set it to the "
                f"compiler of this machine. It says: {told}"
            )
        try:
            self.library = ctypes.CDLL(str(library))
        except OSError as error:
            raise CannotRunHere(
                f"what {compiled_by} makes cannot be loaded: {error}. Set TMPDIR to a folder that "
                "programs may be run from"
            ) from error
        self._name = program.name
        self._scratch = np.zeros(program.scratch_bytes // 4, np.float32)
        self._outputs = self._scratch[-program.outputs :]

    def failed_test(self) -> int:
        """Runs the self-test: 0, or the number (from 1) of the first observation that fails."""
        return self._function("policy_self_test")(_pointer(self._scratch))

    def microseconds(self, observations: int) -> float:
        """Gives the time of one action: the median over runs of the self-test, one call of which
        computes all its observations.

        Args:
            observations: Of the self-test.
        """
        times = []
        for _ in range(TIMED):
            started = time.perf_counter_ns()
            self.failed_test()
            times.append(time.perf_counter_ns() - started)
        return float(np.median(times)) / 1e3 / observations

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gives the network's outputs [batch, out] for observations [batch, obs].

        Rows are NaN where the policy refuses the observation as not finite.
        """
        rows = np.ascontiguousarray(observation, np.float32)
        outputs = np.full((len(rows), self._outputs.size), np.nan, np.float32)
        scratch, first = _pointer(self._scratch), rows.ctypes.data
        function = self._function("policy_outputs")
        for i, row in enumerate(outputs):
            row_pointer = ctypes.c_void_p(first + i * rows.strides[0])
            if function(row_pointer, scratch) == 0:
                row[:] = self._outputs
        return outputs

    def _function(self, name: str) -> Any:
        return getattr(self.library, renamed(name, self._name))


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
