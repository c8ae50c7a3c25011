"""Tensors in pickles of PyTorch, made by an unpickler that makes nothing else.

A pickle can name any function of any module and have it called. Here it can name only what
`_Unpickler.find_class` lists, and all of that is replaced by plain tuples and strings.
"""

from __future__ import annotations

import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile
from sparl.validation import shown

NUMBER_TYPES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "IntStorage": "i4",
    "LongStorage": "i8",
}
"""PyTorch's storages, and NumPy's codes of the numbers in them."""
MOST_ENTRIES = 100_000
"""Containers, tensors and numbers in one file."""


Order = Literal["<", ">"]
"""Of the bytes of a number."""


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
        vars(self).setdefault("storages", {})[key] = numbers
        return _Storage(key, numbers)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
        return _Tensor(storage, offset, shape, strides)


def unpickle(stream: BytesIO, storages: dict[Any, Any] | None = None) -> Any:
    """What the next pickle in a stream holds; the stream is behind it then.

    Args:
        stream: Bytes, perhaps of several pickles.
        storages: Takes up the types of the numbers of all storages that it names.

    Raises:
        BadFile: It asks for anything but tensors.
    """
    begin = stream.tell()
    refuse_large_memos(stream, len(stream.getbuffer()))
    stream.seek(begin)
    unpickler = _Unpickler(stream)
    saved = unpickler.load()
    if storages is not None:
        storages |= vars(unpickler).get("storages", {})
    return saved


def refuse_large_memos(stream: BytesIO, most: int) -> None:
    """Raises `BadFile` where the next pickle in a stream numbers an object above `most`."""
    for operation, argument, _ in pickletools.genops(stream):
        # Python's unpickler allocates as many entries as the largest of these numbers says.
        if operation.name in ("PUT", "LONG_BINPUT") and (argument or 0) > most:
            raise BadFile(f"it gives an object the number {argument}", value=argument)


class Reader:
    """Puts the arrays of one file together, and counts what it has read."""

    def __init__(
        self,
        storage: Callable[[Any], tuple[int, Callable[[int], bytes]]],
        order: Order,
        most: int,
    ) -> None:
        """
        Args:
            storage: Gives by name the bytes that a storage has, and what reads the first of them.
            order: Of the bytes of every number.
            most: Bytes that all tensors together may have.
        """
        self._storage, self._left = storage, most
        self._order: Order = order
        self._entries = MOST_ENTRIES

    def with_arrays(self, saved: Any) -> Any:
        """What was saved, with arrays in place of tensors."""
        # What is named twice is read twice: a few bytes of pickle can stand for any number of them.
        self._entries -= 1
        if self._entries < 0:
            raise BadFile(f"it has more than {MOST_ENTRIES} entries")
        if isinstance(saved, _Tensor):
            return self._array(saved)
        if isinstance(saved, dict):
            return {key: self.with_arrays(value) for key, value in saved.items()}
        if isinstance(saved, list | tuple):
            return [self.with_arrays(value) for value in saved]
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
        size, first = self._storage(tensor.storage.key)
        held, end = size // numbers.itemsize, tensor.offset + math.prod(shape)
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
        stored = np.frombuffer(first(needed), numbers, end)
        array = stored[tensor.offset :].reshape(shape)
        return array.astype(numbers.newbyteorder("="))
