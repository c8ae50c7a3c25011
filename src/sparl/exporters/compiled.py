"""Exported C on this machine: compiled into a library and called from Python."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadRun
from sparl.exporters.c import CProgram

FLAGS = ("-std=c99", "-O3", "-march=native", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
SOURCES = ("policy.c", "policy_test.c")


def compiler() -> str | None:
    """The C compiler of this machine: $CC, or the first of cc, gcc and clang that is there."""
    asked = os.environ.get("CC")
    return shutil.which(asked) if asked else next(filter(None, map(shutil.which, _COMPILERS)), None)


_COMPILERS = ("cc", "gcc", "clang")


class CompiledPolicy:
    """A policy that was exported into `folder`, run by this machine's processor.

    Raises `BadRun` with the compiler's words where it does not compile.
    """

    def __init__(self, program: CProgram, folder: Path, library: Path, compiled_by: str) -> None:
        sources = [str(folder / name) for name in SOURCES]
        command = [compiled_by, *FLAGS, "-shared", "-fPIC", "-o", str(library), *sources, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BadRun(f"{compiled_by} does not compile {folder}: {done.stderr.strip()}")
        self.library = ctypes.CDLL(str(library))
        self._scratch = np.zeros(program.scratch_bytes // 4, np.float32)
        self._outputs = self._scratch[-program.outputs :]
        discrete = program.policy.spaces.discrete
        size = 1 if discrete else program.policy.spaces.action_size
        self._action = np.zeros(size, np.int32 if discrete else np.float32)

    def failed_test(self) -> int:
        """0, or the number of the first observation of the self-test that fails."""
        return self.library.policy_self_test(_pointer(self._scratch))

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network gives: [batch, obs] to [batch, out]; NaN for observations that the
        policy refuses."""
        rows = np.ascontiguousarray(observation, np.float32)
        found = np.full((len(rows), self._outputs.size), np.nan, np.float32)
        scratch, first = _pointer(self._scratch), rows.ctypes.data
        for i, row in enumerate(found):
            at = ctypes.c_void_p(first + i * rows.strides[0])
            if self.library.policy_outputs(at, scratch) == 0:
                row[:] = self._outputs
        return found

    def action(self, observation: NDArray[np.float32]) -> NDArray[Any] | None:
        """The action for one observation [obs], as the environment takes it; None if it is not
        finite."""
        given = _pointer(observation), _pointer(self._action), _pointer(self._scratch)
        return None if self.library.policy_act(*given) else self._action.copy()


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
