"""What sizes and bounds of an environment cannot be, wherever they are from."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
import numpy as np

from sparl import validation
from sparl.errors import BadValue

LARGEST = 2**31 - 1
"""Most numbers of an observation or an action, and the largest number of a choice."""
DTYPES = (
    "float16",
    "float32",
    "float64",
    *(f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)),
)
"""Types of actions."""


Size = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]


class _Box(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="Box"):
    shape: tuple[Size, ...]


class _Discrete(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="Discrete"):
    n: Size
    start: int


class _MultiBinary(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="MultiBinary"):
    shape: tuple[Size, ...]


class _MultiDiscrete(
    msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="MultiDiscrete"
):
    nvec: list[Any]
    """Numbers, in lists of any depth."""
    start: list[Any]

    def __post_init__(self) -> None:
        nvec, start = np.array(self.nvec), np.array(self.start)  # lists of one depth, or an error
        if nvec.shape != start.shape or {nvec.dtype.kind, start.dtype.kind} != {"i"}:
            raise ValueError("nvec and start must be whole numbers of the same shape")
        if nvec.min() < 1 or nvec.max() > LARGEST:
            raise ValueError("choices are counted in 32 bits")


class _Tuple(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="Tuple"):
    spaces: list[Structure]


class _Dict(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="Dict"):
    spaces: list[tuple[str, Structure]]
    ordered: bool = False
    """Whether entries come in this order, and not sorted by name as for policies of before."""


Structure = _Box | _Discrete | _MultiBinary | _MultiDiscrete | _Tuple | _Dict
"""What `entries.structure_of` gives."""


def _size(structure: Structure) -> int:
    """Numbers of a flat observation of this structure."""
    match structure:
        case _Box(shape) | _MultiBinary(shape):
            return math.prod(shape)
        case _Discrete(n):
            return n
        case _MultiDiscrete(nvec):
            return int(np.sum(nvec))
        case _Tuple(entries):
            return sum(map(_size, entries))
        case _Dict(entries):
            return sum(_size(entry) for _, entry in entries)


def refuse_misfit(spaces: Any) -> None:
    """Checks that the fields of `Spaces` go together.

    Raises:
        BadValue: They do not. The message names the field.
    """
    validation.at_least(0, choices=spaces.choices)
    validation.at_least(1, frames=spaces.frames)
    validation.one_of(DTYPES, dtype=spaces.dtype)
    for name in ("observation_shape", "action_shape"):
        shape = getattr(spaces, name)
        if min(shape, default=1) < 1 or math.prod(shape) > LARGEST:
            raise BadValue(
                f"{name} is {shape}: sizes are above 0, and their product is below {LARGEST}"
            )
    _refuse_bounds(spaces)
    _refuse_choices(spaces)
    _refuse_observation(spaces)


def _refuse_bounds(spaces: Any) -> None:
    size = 0 if spaces.discrete else math.prod(spaces.action_shape)
    if not len(spaces.low) == len(spaces.high) == size:
        raise BadValue(
            f"low and high are {len(spaces.low)} and {len(spaces.high)} bounds: actions of shape "
            f"{spaces.action_shape} with choices {spaces.choices} have {size}"
        )
    if not np.isfinite((*spaces.low, *spaces.high)).all():
        raise BadValue(f"low is {spaces.low} and high {spaces.high}: bounds must be finite")
    if any(low > high for low, high in zip(spaces.low, spaces.high, strict=True)):
        raise BadValue(f"low is {spaces.low}: it must not lie above high, {spaces.high}")


def _refuse_choices(spaces: Any) -> None:
    if not -LARGEST <= spaces.first <= spaces.first + spaces.choices <= LARGEST:
        raise BadValue(
            f"first is {spaces.first} and choices {spaces.choices}: choices are counted in 32 bits"
        )
    several, size = len(spaces.nvec), math.prod(spaces.action_shape)
    fits = len(spaces.starts) == several and min(spaces.nvec, default=1) > 0
    if several:
        fits = fits and size == several and math.prod(spaces.nvec) == spaces.choices
    elif spaces.discrete:
        fits = fits and not spaces.action_shape
    if not fits or max(map(abs, spaces.starts), default=0) > LARGEST:
        raise BadValue(
            f"nvec is {spaces.nvec} and starts {spaces.starts}: they do not go with actions of "
            f"shape {spaces.action_shape} and choices {spaces.choices}"
        )


def _refuse_observation(spaces: Any) -> None:
    size, left = divmod(spaces.observation_size, spaces.frames)
    entries = sum(entry.size for entry in spaces.entries)
    if left or (spaces.entries and entries != size):
        raise BadValue(
            f"entries have {entries} numbers and there are {spaces.frames} frames, which does not "
            f"go with observations of shape {spaces.observation_shape}"
        )
    if spaces.structure is None:
        return
    # Only counted: a space of the size that a file claims would have arrays of that size.
    try:
        found = _size(msgspec.convert(spaces.structure, Structure))
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise BadValue(f"structure is {validation.shown(spaces.structure)}: {error}") from error
    if found != size:
        raise BadValue(
            f"structure has {found} numbers: observations have shape {spaces.observation_shape}"
        )
