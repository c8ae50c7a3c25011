"""What fuzzing does to files: strategies that flip, cut, swap and retype what is in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import safetensors.numpy
from hypothesis import strategies as st

from sparl.storage import schema

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 10**30),
    *(0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), 1.0, -1.5),
    *("", "a", "0", "\0", "\ud800", "x" * 5000, "../..", "/dev/zero", "os:system", "$(id)", "*/"),
    *([], {}, [[]], [1, 2], ["a"], {"a": 1}, [0] * 100, [[1, 2], [3, 4]]),
)
"""Values of other kinds, and those at and beyond the bounds of kinds."""


def values() -> st.SearchStrategy[Any]:
    """Any value that JSON can hold, odd ones above all."""
    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary()
    ).filter(lambda value: not isinstance(value, bytes))
    return st.one_of(st.sampled_from(ODD), scalars, st.recursive(scalars, st.lists, max_leaves=4))


@st.composite
def damaged(draw: Callable[..., Any], content: bytes) -> bytes:
    """The bytes with one kind of damage: a flipped bit, or a piece gone, moved or foreign."""
    size = max(1, len(content))
    at, other = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
    low, high = sorted((at, other))
    match draw(st.sampled_from(["flip"] * 4 + ["cut", "drop", "swap", "insert", "repeat", "zero"])):
        case "flip":
            flipped = content[at : at + 1] or b"\0"
            flipped = bytes([flipped[0] ^ (1 << draw(st.integers(0, 7)))])
            return content[:at] + flipped + content[at + 1 :]
        case "cut":
            return content[:at]
        case "drop":
            return content[:low] + content[high:]
        case "swap":
            length = min(high - low, draw(st.integers(1, 64)), len(content) - high)
            one, two = content[low : low + length], content[high : high + length]
            middle = content[low + length : high]
            return content[:low] + two + middle + one + content[high + length :]
        case "insert":
            return content[:at] + draw(st.binary(min_size=1, max_size=16)) + content[at:]
        case "repeat":
            return content[:high] + content[low:high] + content[high:]
        case _:
            return content[:low] + bytes(high - low) + content[high:]


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in JSON."""
    if path:
        yield path
    entries = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in entries:
        yield from places(value, (*path, key))


@st.composite
def changed(draw: Callable[..., Any], content: dict[str, Any]) -> dict[str, Any]:
    """JSON with one to three values retyped, taken out, added, renamed or swapped."""
    made = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(made))
        if not found:
            break
        path = draw(st.sampled_from(found))
        parent = made
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["retype"] * 4 + ["delete", "add", "rename", "swap"])):
            case "retype":
                parent[path[-1]] = copy.deepcopy(draw(values()))
            case "delete":
                del parent[path[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=6))] = copy.deepcopy(draw(values()))
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from(["shape", "name", "n", "kept", "x"]))] = parent.pop(
                    path[-1]
                )
            case _:
                keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
                other = draw(st.sampled_from(keys))
                parent[path[-1]], parent[other] = parent[other], parent[path[-1]]
    return made


def signed(content: dict[str, Any], field: str) -> bytes:
    """The bytes of a JSON file whose digest is right, whatever it says."""
    rest = {name: value for name, value in content.items() if name != field}
    return json.dumps(rest | {field: schema.digest(rest)}).encode()


@st.composite
def changed_arrays(draw: Callable[..., Any], content: bytes) -> bytes:
    """A safetensors file with an array that has another type, shape, name or number."""
    arrays = safetensors.numpy.load(content)
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays.pop(name)
    match draw(st.sampled_from(["type", "shape", "name", "gone", "odd", "cut"])):
        case "type":
            kinds = ["f2", "f4", "f8", "i1", "u1", "i4", "u4", "i8", "u8", "?"]
            with np.errstate(all="ignore"):  # numbers that the type does not hold are meant
                arrays[name] = array.astype(draw(st.sampled_from(kinds)))
        case "shape":
            shapes = [(-1,), (1, -1), (-1, 1), (*array.shape[::-1],), (1, *array.shape)]
            arrays[name] = array.reshape(draw(st.sampled_from(shapes)))
        case "name":
            arrays[draw(st.sampled_from([*arrays, "x", f"{name}0"]))] = array
        case "odd" if array.size:
            made = array.copy().reshape(-1)
            at = draw(st.integers(0, array.size - 1))
            odd = [0, -1, 1e30, np.nan, np.inf, 2**31 - 1]
            with np.errstate(all="ignore"):
                made[at] = np.asarray(draw(st.sampled_from(odd))).astype(array.dtype)
            arrays[name] = made.reshape(array.shape)
        case "cut" if array.ndim and array.shape[0] > 1:
            arrays[name] = array[: draw(st.integers(0, array.shape[0] - 1))]
        case _:
            pass
    return safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
