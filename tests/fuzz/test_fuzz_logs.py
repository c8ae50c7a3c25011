"""Whatever is in a file of logs: it is read, or refused by a SparlError."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import allowed, cases
from hypothesis import given
from hypothesis import strategies as st
from logged import log
from mutations import damaged
from sb3_files import rezipped

from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.interop import logs

SPACES = Spaces((2,), (1,), (-1.0,), (3.0,))


@pytest.fixture
def content(tmp_path) -> bytes:
    return log(tmp_path / "data.npz", "environments:Point-v0", 8).read_bytes()


def read(path: Path, kind: str) -> None:
    with allowed(kind) as ended:
        run = logs.recorded(RunConfig("environments:Point-v0", replay=str(path)))
        logged = logs.read(run, SPACES)
        assert logged.rows.shape[1] == 8 and 0 < len(logged.rows) <= run.buffer_size
        ended("read")


def test_damaged_logs_are_read_or_refused(content, tmp_path):
    @cases(40)
    @given(damaged(content))
    def case(altered: bytes) -> None:
        (tmp_path / "data.npz").write_bytes(altered)
        read(tmp_path / "data.npz", "logs, damaged")

    case()


def test_damaged_arrays_are_read_or_refused(content, tmp_path):
    """The zip around them is whole."""

    @cases(40)
    @given(st.data())
    def case(data: st.DataObject) -> None:
        names = st.sampled_from(["observations", "actions", "rewards", "terminals"])
        name = data.draw(names) + ".npy"
        (tmp_path / "data.npz").write_bytes(
            rezipped(
                content,
                lambda n, was: data.draw(damaged(was[:90])) + was[90:] if n == name else was,
            )
        )
        read(tmp_path / "data.npz", "logs, an array")

    case()
