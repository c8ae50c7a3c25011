"""Actions as environments take them, back in the form in which agents give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadValue
from sparl.validation import shown


def agents_actions(spaces: Any, actions: Any) -> NDArray[Any]:
    """What `Spaces.from_env_action` gives; the arguments are its own, with the spaces before."""
    array = np.asarray(actions)
    # The sizes are named: NumPy cannot tell -1 of an empty array.
    rows = array.reshape(len(array), int(np.prod(array.shape[1:], dtype=int)))
    return _choices(spaces, rows) if spaces.discrete else _continuous(spaces, rows)


def _choices(spaces: Any, rows: NDArray[Any]) -> NDArray[np.int64]:
    sizes, starts = np.array(spaces.nvec or (spaces.choices,)), spaces.starts or (spaces.first,)
    # Before they become integers: casts of huge numbers and of NaN tell nothing.
    counted = rows.astype(np.float64) - np.asarray(starts)
    inside = (counted == np.rint(counted)) & (counted >= 0) & (counted < sizes)
    _refuse_outside(rows, inside, f"whole numbers from {shown(starts)}, {shown(tuple(sizes))} each")
    numbers = np.ravel_multi_index(tuple(counted.astype(np.int64).T), tuple(sizes))
    return np.asarray(numbers, np.int64)


def _continuous(spaces: Any, rows: NDArray[Any]) -> NDArray[np.float32]:
    dtype = np.dtype(spaces.dtype)
    if dtype.kind == "f":
        # 0.7 is above a bound of 0.7 in float32 until it is float32 itself.
        with np.errstate(over="ignore"):
            taken = rows.astype(dtype)
        low, high = (np.asarray(bound, dtype) for bound in (spaces.low, spaces.high))
        inside = (taken >= low) & (taken <= high)
        kind = "numbers"
    else:
        taken, low, high = rows, np.asarray(spaces.low), np.asarray(spaces.high)
        inside = (rows == np.rint(rows)) & (rows >= low) & (rows <= high)
        kind = "whole numbers"
    _refuse_outside(rows, inside, f"{kind} from {shown(spaces.low)} to {shown(spaces.high)}")
    # In halves, whose differences cannot overflow.
    low, high = 0.5 * low.astype(np.float64), 0.5 * high.astype(np.float64)
    size = high - low
    share = (0.5 * taken.astype(np.float64) - low) / np.where(size > 0, size, 1.0)
    scaled = np.where(size > 0, 2.0 * share - 1.0, 0.0)  # 0 where bounds leave one number
    return np.clip(scaled, -1.0, 1.0).astype(np.float32)


def _refuse_outside(rows: NDArray[Any], inside: NDArray[np.bool_], bounds: str) -> None:
    fits = inside.all(axis=1)
    if not fits.all():
        first = int(np.argmin(fits))
        raise BadValue(
            f"{int((~fits).sum())} of {len(rows)} actions are outside of what the environment "
            f"takes ({bounds}); the first is number {first}, {shown(rows[first].tolist())}"
        )
