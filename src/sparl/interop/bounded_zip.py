"""A zip of others, of which no more is unpacked than its own size allows."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sparl.errors import BadFile, BadValue

Result = TypeVar("Result")
SLACK = 64 * 2**20
"""Bytes by which what is in a zip may be larger than the zip. Networks hardly compress, and PyTorch
does not try to."""


class BoundedZip:
    """The files in a zip that Stable-Baselines3's `model.save` wrote."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            BadFile: It is missing, truncated, or no zip.
            BadValue: It is a pickle.
        """
        self.path = path
        if path.exists() and not path.is_file():
            raise BadFile(f"{path} cannot be read: it is no file", file=path)
        self.names = self._using(lambda archive: set(archive.namelist()))

    def read(self, name: str, most: int | None = None) -> bytes:
        """A file in the zip.

        Args:
            name: Of the file.
            most: Bytes that it may have; what `SLACK` says if not given.

        Raises:
            BadFile: It is larger, or damaged.
        """
        bound = self.path.stat().st_size + SLACK if most is None else most

        def unpack(archive: zipfile.ZipFile) -> bytes:
            info = archive.getinfo(name)
            if info.file_size > bound:
                raise BadFile(
                    f"{self.path} has {name} of {info.file_size} bytes, which may have {bound}",
                    file=self.path,
                    field=name,
                    value=info.file_size,
                )
            return archive.read(info)

        return self._using(unpack)

    def _using(self, use: Callable[[zipfile.ZipFile], Result]) -> Result:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return use(archive)
        except BadFile:
            raise
        except FileNotFoundError as error:
            raise BadFile(f"{self.path} is missing", file=self.path) from error
        except OSError as error:
            raise BadFile(f"{self.path} cannot be read: {error}", file=self.path) from error
        except Exception as error:
            # zipfile also raises what its decompressors raise.
            if self.path.suffix == ".pkl":
                raise BadValue(
                    f"{self.path} is a pickle, as Stable-Baselines3 saves replays and the "
                    "statistics of VecNormalize: reading it could run any code. Import the "
                    "agent's zip"
                ) from error
            raise BadFile(
                f"{self.path} is truncated, or no zip as Stable-Baselines3's model.save writes "
                f"it: {error}",
                file=self.path,
            ) from error
