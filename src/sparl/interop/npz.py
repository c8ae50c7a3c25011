"""Arrays of numbers out of a .npz of NumPy, of which no more is unpacked than was asked for.

What an array claims to be, its shape and type, stands in a header of at most 10,000 characters. It
is read and checked before anything of that size is made. Python objects, which NumPy would
unpickle, are refused.
"""

from __future__ import annotations

import hashlib
import math
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sparl.errors import BadFile

Result = TypeVar("Result")
NUMBERS = "biuf"
"""Kinds of NumPy types that are numbers."""
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""How the header is read, by the version of the format; 3.0 is for names that no number has."""


class Header(NamedTuple):
    """What an array claims to be."""

    shape: tuple[int, ...]
    dtype: np.dtype


class NpzFile:
    """A .npz file, as `numpy.savez` and `numpy.savez_compressed` write it."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            BadFile: It is missing, truncated, or no such file.
        """
        self.path = path
        # Reading a pipe would wait for good.
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise BadFile(f"{path} cannot be read: it is no file", file=path)
        members = self._using(lambda archive: archive.namelist())
        self.names = {name.removesuffix(".npy") for name in members if name.endswith(".npy")}
        """Of the arrays in it."""

    @property
    def sha256(self) -> str:
        """Of the whole file."""
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def header(self, name: str) -> Header:
        """What an array claims to be.

        Raises:
            BadFile: It is damaged, holds anything but numbers, or is not as large as it claims.
        """
        header, held = self._using(lambda archive: self._header(archive, name), name)
        if header.dtype.kind not in NUMBERS:
            raise BadFile(
                f"{self.path}: {name} holds {header.dtype}, and sparl reads numbers alone",
                file=self.path,
                field=name,
                value=str(header.dtype),
                way_out="Save it as an array of floats, integers or booleans",
            )
        if math.prod(header.shape) * header.dtype.itemsize != held:
            raise BadFile(
                f"{self.path} is truncated or altered: {name} is to have shape {header.shape} of "
                f"{header.dtype}, and {held} bytes are there",
                file=self.path,
                field=name,
                value=header.shape,
            )
        return header

    def read(self, name: str) -> NDArray[Any]:
        """An array whose `header` was found to be right: it decides how much is read."""
        self.header(name)

        def unpack(archive: zipfile.ZipFile) -> NDArray[Any]:
            with archive.open(f"{name}.npy") as member:
                return npy.read_array(member)

        return self._using(unpack, name)

    def _header(self, archive: zipfile.ZipFile, name: str) -> tuple[Header, int]:
        """The header of an array, and the bytes behind it."""
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as member:
            version = npy.read_magic(member)
            if version not in HEADERS:
                raise ValueError(f"it has version {version} of NumPy's format")
            shape, _, dtype = HEADERS[version](member)
            return Header(shape, dtype), info.file_size - member.tell()

    def _using(self, use: Callable[[zipfile.ZipFile], Result], name: str = "") -> Result:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return use(archive)
        except FileNotFoundError as error:
            raise BadFile(f"{self.path} is missing", file=self.path) from error
        except Exception as error:
            # zipfile also raises what its decompressors raise, and NumPy what Python's parser does.
            what = f"{name} in {self.path}" if name else self.path
            raise BadFile(
                f"{what} cannot be read as numpy.savez writes it: {error}",
                file=self.path,
                field=name,
                way_out="Save the arrays with numpy.savez(FILE, observations=…, actions=…)",
            ) from error
