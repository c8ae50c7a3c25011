"""Reads tensors from files that `torch.save` wrote, without PyTorch and without running their code.

Such a file is a zip. Its `data.pkl` is a pickle of containers, in which each tensor is a call of
PyTorch's `_rebuild_tensor_v2`; its `data/0`, `data/1`, … are the tensors' numbers
(https://docs.pytorch.org/docs/stable/notes/serialization.html). Before PyTorch 1.6 it was a stream:
see `torch_stream`. A file whose pickle names anything but tensors is refused: see `tensors`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

from sparl.errors import BadFile
from sparl.interop import tensors, torch_stream
from sparl.interop.bounded_zip import SLACK

MOST_PICKLED = 2 * 2**20
"""Bytes of a pickle of containers; a tensor takes about 200 in it."""


def read(content: bytes, name: str) -> Any:
    """Gives what was saved: dicts, lists, numbers and strings, with arrays in place of tensors.

    No more is read of it than its tensors need. All of them together must not be larger than the
    file by more than `SLACK`: PyTorch does not compress.

    Args:
        content: The bytes of the file.
        name: How messages call the file.

    Raises:
        BadFile: The file is truncated or altered, or names anything besides tensors of numbers.
    """
    try:
        if not content.startswith(b"PK"):
            return torch_stream.read(content, len(content) + SLACK)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (pickled,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            return _of_zip(archive, pickled, len(content) + SLACK)
    except BadFile as error:
        raise BadFile(
            f"{name} is refused, and nothing in it was run: {error}", value=error.value
        ) from error
    except Exception as error:
        # pickle's documentation says that a damaged pickle may raise any exception.
        raise BadFile(
            f"{name} is truncated or altered, and cannot be read: {type(error).__name__}: {error}"
        ) from error


def _of_zip(archive: zipfile.ZipFile, pickled: str, most: int) -> Any:
    """What was saved in a zip.

    Args:
        archive: The zip.
        pickled: The name of the pickle in it.
        most: Bytes that all tensors together may have.
    """
    folder = pickled.removesuffix("data.pkl")

    def member(name: str, most: int) -> bytes:
        """A small file in the zip, whole."""
        info = archive.getinfo(f"{folder}{name}")
        if info.file_size > most:
            raise BadFile(f"its {name} has {info.file_size} bytes, and may have {most}")
        return archive.read(info)

    # A storage may be named any number of times; it is inflated once.
    read: dict[Any, bytes] = {}

    def storage(key: Any) -> tuple[int, Callable[[int], bytes]]:
        info = archive.getinfo(f"{folder}data/{key}")

        def first(count: int) -> bytes:
            if len(read.get(key, b"")) < count:
                with archive.open(info) as file:
                    read[key] = file.read(count)
            return read.get(key, b"")[:count]

        return info.file_size, first

    order = "little"
    if f"{folder}byteorder" in archive.namelist():
        order = member("byteorder", 16).decode()
    saved = tensors.unpickle(io.BytesIO(member("data.pkl", MOST_PICKLED)))
    return tensors.Reader(storage, ">" if order == "big" else "<", most).with_arrays(saved)
