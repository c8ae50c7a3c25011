"""Files that are complete or absent, arrays as safetensors, folders with one writer at a time.

Everything is written beside its final name, flushed to the disk, and renamed: a kill at any
moment leaves the old file or the new one, never a part of one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sparl.errors import BadCheckpoint, BadRun


def write_bytes(path: Path, content: bytes) -> str:
    """Writes a file as a whole; answers with its sha256. An `OSError` leaves the old file."""
    beside = path.with_name(f".{path.name}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


def write_json(path: Path, content: Any) -> str:
    return write_bytes(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def write_arrays(path: Path, arrays: dict[str, NDArray]) -> str:
    """A safetensors file; the same arrays always give the same bytes."""
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    return write_bytes(path, safetensors.numpy.save(ordered))


def read_json(path: Path) -> Any:
    """Raises `BadCheckpoint` for a file that is missing or is no JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} cannot be read: {error}") from error


def read_arrays(path: Path, sha256: str) -> dict[str, NDArray]:
    """The arrays of a file whose sha256 is known; `BadCheckpoint` where it does not match."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is missing") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadCheckpoint(f"{path} is truncated or altered: its sha256 is not the recorded one")
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise BadCheckpoint(f"{path} is no safetensors file: {error}") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """While it lasts no other process may claim `folder`, which is made if need be.

    Raises `BadRun` where another one has. A claim ends with its process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            # A record lock: processes forked from this one, which may outlive it, do not have it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadRun(
                f"another process is training in {folder}. Wait until it ends, or stop it "
                "(Ctrl-C saves)"
            ) from error
        except OSError:
            pass  # A file system without locks: there nobody is kept out.
        yield


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
