"""Files of `torch.save` before PyTorch 1.6: pickles one after the other, and numbers behind them.

The pickles are a magic number, the version of the format, what the machine was, what was saved, and
the names of the storages. Then come the storages in that order: how many numbers, as int64, and the
numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np

from sparl.errors import BadFile
from sparl.interop import tensors

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


def read(content: bytes, most: int) -> Any:
    """What was saved, with arrays in place of tensors.

    Args:
        content: The bytes of the file.
        most: Bytes that all tensors together may have.

    Raises:
        BadFile: It is no such file, or asks for anything but tensors.
    """
    stream, kinds = BytesIO(content), dict[Any, Any]()
    if tensors.unpickle(stream) != MAGIC or tensors.unpickle(stream) != VERSION:
        raise BadFile("it is none of PyTorch's files")
    machine = tensors.unpickle(stream)
    big = isinstance(machine, dict) and machine.get("little_endian") is False
    order: tensors.Order = ">" if big else "<"
    saved, names = tensors.unpickle(stream, kinds), tensors.unpickle(stream)
    places: dict[Any, tuple[int, int]] = {}
    at = stream.tell()
    for name in names:
        if kinds[name] not in tensors.NUMBER_TYPES.values():
            raise BadFile("it has a storage of no numbers")
        count = int(np.frombuffer(content, f"{order}i8", 1, at)[0])
        size = count * np.dtype(kinds[name]).itemsize
        if not 0 <= size <= len(content) - at - 8:
            raise BadFile(f"it has a storage of {count} numbers", value=count)
        places[name] = at + 8, size
        at += 8 + size

    def storage(name: Any) -> tuple[int, Callable[[int], bytes]]:
        begin, size = places[name]
        return size, lambda wanted: content[begin : begin + wanted]

    return tensors.Reader(storage, order, most).with_arrays(saved)
