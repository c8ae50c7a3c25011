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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadCheckpoint

NUMBER_TYPES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "IntStorage": "i4",
    "LongStorage": "i8",
}
"""PyTorch's storages, and NumPy's codes of the numbers in them."""


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
            raise BadCheckpoint(f"it asks for {name}, which no file of numbers needs")
        return allowed[name]

    def persistent_load(self, pid: Any, /) -> Any:
        # "storage", its type, its name, the device, how many numbers it has
        _, numbers, key, *_ = pid
        return _Storage(key, numbers)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
        return _Tensor(storage, offset, shape, strides)


def read(content: bytes, name: str) -> Any:
    """Gives what was saved: dicts, lists, numbers and strings, with arrays in place of tensors.

    Args:
        content: The bytes of the file.
        name: How messages call the file.

    Raises:
        BadCheckpoint: The file is truncated or altered, is older than PyTorch 1.6, or names
            anything besides tensors of numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (pickled,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            folder = pickled.removesuffix("data.pkl")
            return _with_arrays(_unpickle(archive.read(pickled)), archive, folder)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{name} is refused, and nothing in it was run: {error}") from error
    except Exception as error:
        # pickle's documentation says that a damaged pickle may raise any exception.
        raise BadCheckpoint(
            f"{name} is truncated or altered, or older than PyTorch 1.6, and cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _unpickle(pickled: bytes) -> Any:
    for operation, argument, _ in pickletools.genops(pickled):
        # Python's unpickler allocates as many entries as the largest of these numbers says.
        if operation.name in ("PUT", "LONG_BINPUT") and (argument or 0) > len(pickled):
            raise BadCheckpoint(f"it gives an object the number {argument}")
    return _Unpickler(io.BytesIO(pickled)).load()


def _with_arrays(saved: Any, archive: zipfile.ZipFile, folder: str) -> Any:
    if isinstance(saved, _Tensor):
        return _array(saved, archive, folder)
    if isinstance(saved, dict):
        return {key: _with_arrays(value, archive, folder) for key, value in saved.items()}
    if isinstance(saved, list | tuple):
        return [_with_arrays(value, archive, folder) for value in saved]
    return saved


def _array(tensor: _Tensor, archive: zipfile.ZipFile, folder: str) -> NDArray[Any]:
    """Gives a tensor as an array; refuses one that is not stored row by row."""
    names = archive.namelist()
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in names else b"little"
    numbers = np.dtype(tensor.storage.numbers).newbyteorder(">" if order == b"big" else "<")
    stored = np.frombuffer(archive.read(f"{folder}data/{tensor.storage.key}"), numbers)
    # The stride of a dimension of size 1 has no meaning.
    row_major = [math.prod(tensor.shape[i + 1 :]) for i in range(len(tensor.shape))]
    dimensions = zip(tensor.shape, tensor.strides, row_major, strict=True)
    if any(size != 1 and stride != expected for size, stride, expected in dimensions):
        raise BadCheckpoint(
            f"it has a tensor that is not stored row by row (strides {tensor.strides})"
        )
    end = tensor.offset + math.prod(tensor.shape)
    if min(tensor.offset, *tensor.shape, 0) < 0 or end > len(stored):
        raise BadCheckpoint(
            f"it has a tensor of shape {tensor.shape} in a storage of {len(stored)} numbers"
        )
    array = stored[tensor.offset : end].reshape(tensor.shape)
    return array.astype(numbers.newbyteorder("="))
