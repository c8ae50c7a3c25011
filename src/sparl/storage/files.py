"""Files that are whole or absent, arrays as safetensors, and folders with one writer at a time.

Every file is written under a temporary name in the same folder, flushed to the disk, and renamed.
A kill at any moment leaves either the old file or the new one, never a part of one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sparl.errors import BadCheckpoint, BadRun

LOCK = ".lock"
"""Name of the file by which a process claims a folder."""


def write_bytes(path: Path, content: bytes) -> str:
    """Writes a whole file, or leaves the old one as it is.

    Returns:
        The sha256 of `content`.

    Raises:
        OSError: The file could not be written, for example because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


def write_json(path: Path, content: Any) -> str:
    """Writes a JSON file as `write_bytes` does; gives its sha256."""
    return write_bytes(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def write_arrays(path: Path, arrays: dict[str, NDArray]) -> str:
    """Writes a safetensors file as `write_bytes` does; gives its sha256.

    The same arrays always give the same bytes.
    """
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    return write_bytes(path, safetensors.numpy.save(ordered))


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        BadCheckpoint: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} cannot be read: {error}") from error


def read_arrays(path: Path, sha256: str) -> dict[str, NDArray]:
    """The arrays of a safetensors file, by name.

    Args:
        path: The file.
        sha256: What `write_arrays` gave.

    Raises:
        BadCheckpoint: The file is missing, or its content has changed since it was written.
    """
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


def quoted(path: Path) -> str:
    """A path as a shell takes it, for commands that a user may paste."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """A context in which no other process can claim the same folder.

    The claim also ends with the process, however that ends.

    Args:
        folder: Is created if it does not exist.

    Raises:
        BadRun: Another process has claimed the folder. Wait for it, or stop it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w", encoding="utf-8") as file:
        try:
            # A record lock, because forked processes do not inherit it: they may outlive this one.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadRun(
                f"another process is training in {folder}. Wait until it ends, or stop it "
                "(Ctrl-C saves)"
            ) from error
        except OSError:
            pass  # The file system has no locks, so nobody is kept out.
        yield


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
