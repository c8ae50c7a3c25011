"""Reads tensors from files that `torch.save` wrote, without PyTorch and without running their code.

Such a file is a zip. Its `data.pkl` is a pickle of containers, in which each tensor is a call of
PyTorch's `_rebuild_tensor_v2`; its `data/0`, `data/1`, … are the tensors' numbers
(https://docs.pytorch.org/docs/stable/notes/serialization.html). A pickle can name any function of
any module and have it called. Here it can name only what `_Unpickler.find_class` lists, and all of
that is replaced by plain tuples and strings. A file that names anything else is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile
from sparl.interop.bounded_zip import SLACK
from sparl.validation import shown

NUMBER_TYPES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "IntStorage": "i4",
    "LongStorage": "i8",
}
"""PyTorch's storages, and NumPy's codes of the numbers in them."""
MOST_PICKLED = 2 * 2**20
"""Bytes of a pickle of containers; a tensor takes about 200 in it."""
MOST_ENTRIES = 100_000
"""Containers, tensors and numbers in one file."""


class _Storage(NamedTuple):
    """Where a tensor's numbers are. Fields come from the file: nothing is known of their types."""

    key: Any
    numbers: Any


class _Tensor(NamedTuple):
    """The arguments of a call of PyTorch's `_rebuild_tensor_v2`."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class _Unpickler(pickle.Unpickler):
    """Makes containers, numbers, strings and the two tuples above, and calls nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        allowed = {
            "collections.OrderedDict": OrderedDict,
            # A method instead of the class `_Tensor`, because a pickle can set attributes of a
            # class.
            "torch._utils._rebuild_tensor_v2": self._tensor,
            **{f"torch.{storage}": numbers for storage, numbers in NUMBER_TYPES.items()},
        }
        name = f"{module_name}.{global_name}"
        if name not in allowed:
            raise BadFile(f"it asks for {name}, which no file of numbers needs")
        return allowed[name]

    def persistent_load(self, pid: Any, /) -> Any:
        # "storage", its type, its name, the device, how many numbers it has
        _, numbers, key, *_ = pid
        return _Storage(key, numbers)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
        return _Tensor(storage, offset, shape, strides)


def read(content: bytes, name: str) -> Any:
    """Gives what was saved: dicts, lists, numbers and strings, with arrays in place of tensors.

    No more is read of it than its tensors need. All of them together must not be larger than the
    file by more than `SLACK`: PyTorch does not compress.

    Args:
        content: The bytes of the file.
        name: How messages call the file.

    Raises:
        BadFile: The file is truncated or altered, is older than PyTorch 1.6, or names
            anything besides tensors of numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (pickled,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            return _Reader(archive, pickled, len(content) + SLACK).read()
    except BadFile as error:
        raise BadFile(
            f"{name} is refused, and nothing in it was run: {error}", value=error.value
        ) from error
    except Exception as error:
        # pickle's documentation says that a damaged pickle may raise any exception.
        raise BadFile(
            f"{name} is truncated or altered, or older than PyTorch 1.6, and cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _unpickle(pickled: bytes) -> Any:
    for operation, argument, _ in pickletools.genops(pickled):
        # Python's unpickler allocates as many entries as the largest of these numbers says.
        if operation.name in ("PUT", "LONG_BINPUT") and (argument or 0) > len(pickled):
            raise BadFile(f"it gives an object the number {argument}", value=argument)
    return _Unpickler(io.BytesIO(pickled)).load()


class _Reader:
    """Reads one file, and counts what it has read."""

    def __init__(self, archive: zipfile.ZipFile, pickled: str, most: int) -> None:
        """
        Args:
            archive: The zip.
            pickled: The name of the pickle in it.
            most: Bytes that all tensors together may have.
        """
        self._archive, self._pickled, self._left = archive, pickled, most
        self._folder = pickled.removesuffix("data.pkl")
        self._entries = MOST_ENTRIES
        order = "little"
        if f"{self._folder}byteorder" in archive.namelist():
            order = self._member("byteorder", 16).decode()
        self._order: Literal["<", ">"] = ">" if order == "big" else "<"

    def read(self) -> Any:
        """What was saved."""
        return self._with_arrays(_unpickle(self._member("data.pkl", MOST_PICKLED)))

    def _member(self, name: str, most: int) -> bytes:
        """A small file in the zip, whole."""
        info = self._archive.getinfo(f"{self._folder}{name}")
        if info.file_size > most:
            raise BadFile(f"its {name} has {info.file_size} bytes, and may have {most}")
        return self._archive.read(info)

    def _with_arrays(self, saved: Any) -> Any:
        # What is named twice is read twice: a few bytes of pickle can stand for any number of them.
        self._entries -= 1
        if self._entries < 0:
            raise BadFile(f"it has more than {MOST_ENTRIES} entries")
        if isinstance(saved, _Tensor):
            return self._array(saved)
        if isinstance(saved, dict):
            return {key: self._with_arrays(value) for key, value in saved.items()}
        if isinstance(saved, list | tuple):
            return [self._with_arrays(value) for value in saved]
        return saved

    def _array(self, tensor: _Tensor) -> NDArray[Any]:
        """Gives a tensor as an array; refuses one that is not stored row by row."""
        _, _, shape, strides = tensor
        if tensor.storage.numbers not in NUMBER_TYPES.values():
            raise BadFile("it has a tensor of no numbers")
        sizes = (tensor.offset, *shape, *strides)
        if not all(type(n) is int and abs(n) < 2**62 for n in sizes) or len(shape) > 32:
            raise BadFile(f"it has a tensor of shape {shown(shape)}", value=shape)
        numbers = np.dtype(tensor.storage.numbers).newbyteorder(self._order)
        info = self._archive.getinfo(f"{self._folder}data/{tensor.storage.key}")
        held, end = info.file_size // numbers.itemsize, tensor.offset + math.prod(shape)
        # The stride of a dimension of size 1 has no meaning.
        row_major = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        dimensions = zip(shape, strides, row_major, strict=True)
        if any(size != 1 and stride != expected for size, stride, expected in dimensions):
            raise BadFile(f"it has a tensor that is not stored row by row (strides {strides})")
        if min(tensor.offset, *shape, 0) < 0 or end > held:
            raise BadFile(f"it has a tensor of shape {shape} in a storage of {held} numbers")
        needed = end * numbers.itemsize
        self._left -= needed
        if self._left < 0:
            raise BadFile("its tensors are larger than the file that they are in")
        with self._archive.open(info) as file:
            stored = np.frombuffer(file.read(needed), numbers, end)
        array = stored[tensor.offset :].reshape(shape)
        return array.astype(numbers.newbyteorder("="))
