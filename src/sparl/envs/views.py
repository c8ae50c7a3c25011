"""Entries of an observation by their names, for networks that see some of them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from sparl.envs.spaces import Spaces
from sparl.errors import BadValue
from sparl.networks import Ranges, Views, range_size


def views_of(spaces: Spaces, actor: Sequence[str], critic: Sequence[str]) -> Views:
    """What an agent's networks see in an environment.

    Args:
        spaces: Of the environment.
        actor: Names of the entries that acting networks see; all of them if there are none.
        critic: Those of all other networks.

    Raises:
        BadValue: There is no entry of a name.
    """
    return Views(_ranges(spaces, "actor_obs", actor), _ranges(spaces, "critic_obs", critic))


def narrowed(spaces: Spaces, ranges: Ranges) -> Spaces:
    """The spaces of somebody who gets these ranges of an observation alone."""
    seen = range_size(ranges)
    shape = (spaces.frames, seen // spaces.frames) if spaces.frames > 1 else (seen,)
    kept = [
        entry
        for entry, first in zip(spaces.entries, _starts(spaces), strict=True)
        if any(a <= first and first + entry.size <= b for a, b in ranges)
    ]
    return replace(spaces, observation_shape=shape, entries=tuple(kept), structure=None)


def _ranges(spaces: Spaces, option: str, names: Sequence[str]) -> Ranges | None:
    if not names:
        return None
    chosen: set[int] = set()
    for name in names:
        found = [i for i, e in enumerate(spaces.entries) if _is_of(e.name, name)]
        if not found:
            known = ", ".join(entry.name for entry in spaces.entries)
            raise BadValue(
                f"{option} is {' '.join(names)}: observations have "
                + (f"no entry {name!r}, but {known}" if known else "no entries with names. Let the "
                   "environment's observation space be a Dict")
            )  # fmt: skip
        chosen.update(found)
    starts, of_frame = _starts(spaces), spaces.observation_size // spaces.frames
    ranges: list[tuple[int, int]] = []
    for frame in range(spaces.frames):
        for i in sorted(chosen):
            first = frame * of_frame + starts[i]
            end = first + spaces.entries[i].size
            if ranges and ranges[-1][1] == first:
                first = ranges.pop()[0]
            ranges.append((first, end))
    return tuple(ranges)


def _starts(spaces: Spaces) -> list[int]:
    """Where each entry begins in an observation of the environment."""
    return list(accumulate((entry.size for entry in spaces.entries), initial=0))[:-1]


def _is_of(entry: str, name: str) -> bool:
    """Whether an entry has this name, or is within what has it: robot.position in robot."""
    return entry == name or entry.startswith((f"{name}.", f"{name}["))
