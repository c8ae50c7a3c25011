"""Tensors out of files that `torch.save` wrote, without PyTorch and without running their code.

Such a file is a zip: `data.pkl` is a pickle of containers, in which each tensor is a call of
PyTorch's `_rebuild_tensor_v2`, and `data/0`, `data/1`, … are the tensors' numbers
(https://docs.pytorch.org/docs/stable/notes/serialization.html). A pickle may name any function
of any module and have it called. Here it may name what is in `_Unpickler.find_class`, stands for
all of which are plain tuples and strings, and is refused where it names anything else.
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

NUMBERS = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "IntStorage": "i4",
    "LongStorage": "i8",
}
"""PyTorch's storages, by what NumPy calls their numbers."""


class _Storage(NamedTuple):
    key: Any
    numbers: Any


class _Tensor(NamedTuple):
    storage: Any
    offset: Any
    shape: Any
    strides: Any


class _Unpickler(pickle.Unpickler):
    """Makes containers, numbers, strings, and the two tuples above; nothing is ever called but
    what makes those."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found = {
            "collections.OrderedDict": OrderedDict,
            # A method, and not the class: a pickle can set attributes of a class.
            "torch._utils._rebuild_tensor_v2": self._tensor,
            **{f"torch.{storage}": numbers for storage, numbers in NUMBERS.items()},
        }
        name = f"{module_name}.{global_name}"
        if name not in found:
            raise BadCheckpoint(f"it asks for {name}, which no file of numbers needs")
        return found[name]

    def persistent_load(self, pid: Any, /) -> Any:
        _, numbers, key, *_ = pid  # "storage", its type, its name, the device, how many numbers
        return _Storage(key, numbers)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
        return _Tensor(storage, offset, shape, strides)


def read(content: bytes, name: str) -> Any:
    """What was saved: dicts, lists, numbers and strings, with arrays where there were tensors.

    `name` is what errors call the file. Raises `BadCheckpoint` for a file that is truncated or
    altered, older than PyTorch 1.6, or that names anything besides tensors of numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (pickled,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            top = pickled.removesuffix("data.pkl")
            return _with_arrays(_unpickled(archive.read(pickled)), archive, top)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{name} is refused, and nothing in it was run: {error}") from error
    except Exception as error:
        # What a damaged pickle or zip raises is anybody's guess, as pickle's documentation has it.
        raise BadCheckpoint(
            f"{name} is truncated or altered, or older than PyTorch 1.6, and cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _unpickled(pickled: bytes) -> Any:
    for operation, argument, _ in pickletools.genops(pickled):
        # Python's unpickler takes as much memory as the largest of these numbers asks for.
        if operation.name in ("PUT", "LONG_BINPUT") and (argument or 0) > len(pickled):
            raise BadCheckpoint(f"it numbers an object {argument}")
    return _Unpickler(io.BytesIO(pickled)).load()


def _with_arrays(saved: Any, archive: zipfile.ZipFile, top: str) -> Any:
    if isinstance(saved, _Tensor):
        return _array(saved, archive, top)
    if isinstance(saved, dict):
        return {key: _with_arrays(value, archive, top) for key, value in saved.items()}
    if isinstance(saved, list | tuple):
        return [_with_arrays(value, archive, top) for value in saved]
    return saved


def _array(tensor: _Tensor, archive: zipfile.ZipFile, top: str) -> NDArray[Any]:
    """The numbers of a tensor, in its shape."""
    names = archive.namelist()
    order = archive.read(f"{top}byteorder") if f"{top}byteorder" in names else b"little"
    numbers = np.dtype(tensor.storage.numbers).newbyteorder(">" if order == b"big" else "<")
    stored = np.frombuffer(archive.read(f"{top}data/{tensor.storage.key}"), numbers)
    # Of a dimension of 1 the stride says nothing.
    row_major = [math.prod(tensor.shape[i + 1 :]) for i in range(len(tensor.shape))]
    dimensions = zip(tensor.shape, tensor.strides, row_major, strict=True)
    if any(size != 1 and stride != wanted for size, stride, wanted in dimensions):
        raise BadCheckpoint(f"it has a tensor with strides {tensor.strides}")
    end = tensor.offset + math.prod(tensor.shape)
    if min(tensor.offset, *tensor.shape, 0) < 0 or end > len(stored):
        raise BadCheckpoint(f"it has a tensor of {tensor.shape} with {len(stored)} numbers")
    part = stored[tensor.offset : end].reshape(tensor.shape)
    return part.astype(numbers.newbyteorder("="))
