"""Files that are whole or absent, arrays as safetensors, and folders with one writer at a time.

Every file is written under a temporary name in the same folder, flushed to the disk, and renamed.
A kill at any moment leaves either the old file or the new one, never a part of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from sparl.errors import BadFile, BadRun
from sparl.storage import schema
from sparl.storage.system import lock, no_links, rename, sync_folder

LARGEST_TEXT = 64 * 2**20
"""Bytes of a JSON or CSV file that are read at most."""

LOCK = ".lock"
"""Name of the file by which a process claims a folder."""


PART = ".part"
"""How the names of files end that are being written."""


def is_part(path: Path) -> bool:
    """Whether a file is what a process left that was killed while it wrote."""
    return path.name.startswith(".") and path.name.endswith(PART)


def write_bytes(path: Path, content: bytes) -> str:
    """Writes a whole file, or leaves the old one as it is.

    Returns:
        The sha256 of `content`.

    Raises:
        OSError: The file could not be written, for example because the disk is full.
    """
    temporary = path.with_name(f".{path.name}{PART}")
    try:
        with open(temporary, "wb", opener=no_links) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


def write_json(path: Path, content: Any) -> str:
    """Writes a JSON file as `write_bytes` does; gives its sha256."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False)
    return write_bytes(path, (text + "\n").encode())


def write_sealed(path: Path, content: dict[str, Any]) -> str:
    """Writes a JSON object with its digest, which `schema.opened` checks; gives its sha256."""
    return write_json(path, schema.sealed(content))


def write_arrays(path: Path, arrays: dict[str, NDArray]) -> str:
    """Writes a safetensors file as `write_bytes` does; gives its sha256.

    The same arrays always give the same bytes.
    """
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    return write_bytes(path, safetensors.numpy.save(ordered))


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a file.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Raises:
        BadFile: It is missing, is no regular file (reading a pipe would wait for good), is too
            large, or cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadFile(f"{path} cannot be read: it is no file", file=path)
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if most is not None and status.st_size > most:
                raise BadFile(
                    f"{path} cannot be read: it has {status.st_size} bytes, and such a file has at "
                    f"most {most}",
                    file=path,
                    value=status.st_size,
                )
            return file.read()
    except FileNotFoundError as error:
        raise BadFile(f"{path} is missing", file=path) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
        raise BadFile(f"{path} cannot be read: {error}", file=path) from error


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        BadFile: The file is missing, or no strict JSON: see `schema.parse`.
    """
    return schema.parse(read_bytes(path, LARGEST_TEXT), path)


def read_arrays(path: Path, sha256: str) -> dict[str, NDArray]:
    """The arrays of a safetensors file, by name.

    Args:
        path: The file.
        sha256: What `write_arrays` gave.

    Raises:
        BadFile: The file is missing, its content has changed since it was written, or it is no
            safetensors file of numbers that NumPy has.
    """
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadFile(
            f"{path} is truncated or altered: its sha256 is not the recorded one", file=path
        )
    try:
        return safetensors.numpy.load(content)
    except Exception as error:
        # Types that NumPy lacks, such as float8, end in errors of their own.
        raise BadFile(f"{path} is no safetensors file of sparl: {error!r}", file=path) from error


def quoted(path: Path) -> str:
    """A path as a shell takes it, for commands that a user may paste."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A context that gives an empty folder, which takes the place of `folder` at its end.

    A kill leaves the old folder or the new one, whole; `recover_folder` puts it in its place where
    it came between two renames. After an exception the old folder stays.
    """
    temporary, old = (folder.with_name(f".{folder.name}.{end}") for end in ("part", "old"))
    recover_folder(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            rename(folder, old)
        rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        recover_folder(folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Brings a folder back that `replaced_folder` had put aside when it was killed."""
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists() and old.exists():
        rename(old, folder)
    shutil.rmtree(old, ignore_errors=True)


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
    # "a": Windows may refuse to cut a file of which another process has locked a part.
    with open(folder / LOCK, "a", encoding="utf-8", opener=no_links) as file:
        try:
            lock(file)
        except BlockingIOError as error:
            raise BadRun(
                f"another process is training in {folder}. Wait until it ends, or stop it "
                "(Ctrl-C saves)"
            ) from error
        except OSError:
            pass  # The file system has no locks, so nobody is kept out.
        yield
