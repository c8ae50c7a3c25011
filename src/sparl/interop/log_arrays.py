"""Logged transitions as arrays, checked against an environment, and as the replay's rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.envs import Spaces
from sparl.errors import BadFile, BadValue
from sparl.replay import Columns

Shapes = dict[str, tuple[int, ...]]
"""Of arrays, by the names of `LogArrays`."""


class LogArrays(NamedTuple):
    """n transitions, those of each episode one behind the other."""

    observations: NDArray[Any]
    """[n, ...], as the agent sees them."""
    actions: NDArray[Any]
    """[n, ...], as the environment takes them."""
    rewards: NDArray[Any]
    next_observations: NDArray[Any]
    terminals: NDArray[Any]
    """Whether the environment itself ended the episode."""
    timeouts: NDArray[Any] | None = None
    """Whether the episode does not go on for another reason, where that is known."""


class Logged(NamedTuple):
    """Transitions as the replay stores them."""

    rows: NDArray[np.float32]
    """[n, width] of `sparl.replay.Columns`."""
    episodes: int
    left_out: int
    """Transitions that were not finite."""


def refuse_shapes(shapes: Shapes, count: int, spaces: Spaces, source: str) -> None:
    """Checks that arrays have a row for each transition, and in it what the environment has.

    Args:
        count: Of the transitions.
        source: What messages call the logs.

    Raises:
        BadFile: One of them has another shape.
    """
    action = () if spaces.discrete and not spaces.nvec else spaces.action_shape
    observation = spaces.observation_shape
    rows = {"observations": observation, "next_observations": observation, "actions": action}
    for name, shape in shapes.items():
        row = rows.get(name, ())
        flat = (math.prod(row),)  # of a single number, that without an axis of its own, too
        fitting = {row, flat} | ({()} if flat == (1,) else set())
        if shape[:1] != (count,) or shape[1:] not in fitting:
            raise BadFile(
                f"{source}: {name} has shape {shape}, and must have {(count, *row)}: {count} "
                "transitions, each with what the agent sees or the environment takes",
                file=source,
                field=name,
                value=shape,
                way_out="Log observations behind the run's wrappers, inputs and frame_stack, and "
                "actions before them",
            )


def rows_of(arrays: LogArrays, spaces: Spaces, skip: bool, source: str) -> Logged:
    """Transitions as the replay stores them.

    An episode ends where a flag says so, and where the next observation of a transition is not the
    observation of the one behind it.

    Args:
        arrays: Of shapes that `refuse_shapes` accepts.
        skip: Leave out what is not finite; the episode ends before it.
        source: What messages call the logs.

    Raises:
        BadFile: Something is not finite and `skip` is False, a flag is neither 0 nor 1, an action
            is out of bounds, or nothing is left.
    """
    count, columns = len(arrays.rewards), _columns(spaces)
    o, r = columns.observation_size, columns.reward
    rows = np.zeros((count, columns.width), np.float32)
    with np.errstate(over="ignore"):  # what is beyond float32 is found below
        rows[:, :o] = arrays.observations.reshape(count, o)
        rows[:, r] = arrays.rewards.reshape(count)
        rows[:, r + 1 : -2] = arrays.next_observations.reshape(count, o)
    actions = arrays.actions.reshape(count, -1)
    finite = np.asarray(np.isfinite(np.column_stack([rows, actions])).all(axis=1))
    if not finite.all():
        _refuse_nonfinite(finite, skip, source)
    rows[finite, o:r] = _agents(actions[finite], spaces, source).reshape(-1, r - o)
    rows[:, -2] = _flags(arrays.terminals, "terminals", source)
    ended = rows[:, -2] > 0
    if arrays.timeouts is not None:
        ended |= _flags(arrays.timeouts, "timeouts", source) > 0
    goes_on = (rows[:-1, r + 1 : -2] == rows[1:, :o]).all(axis=1) & finite[1:]
    ended[:-1] |= ~goes_on
    ended[-1] = True
    rows[:, -1] = ended
    return Logged(rows[finite], int(ended[finite].sum()), int((~finite).sum()))


def _columns(spaces: Spaces) -> Columns:
    return Columns(spaces.observation_size, spaces.action_size, spaces.discrete)


def _agents(actions: NDArray[Any], spaces: Spaces, source: str) -> NDArray[Any]:
    try:
        return spaces.from_env_action(actions)
    except BadValue as error:
        raise BadFile(
            f"{source}: {error}",
            file=source,
            field="actions",
            way_out="Log actions as the environment took them: np.clip(action, low, high)",
        ) from error


def _refuse_nonfinite(finite: NDArray[np.bool_], skip: bool, source: str) -> None:
    bad, first = int((~finite).sum()), int(np.argmin(finite))
    what = f"{bad} of {len(finite)} transitions have numbers that are not finite in float32"
    if not finite.any():
        raise BadFile(f"{source}: {what}", file=source, way_out="Nothing can be learned from them")
    if not skip:
        raise BadFile(
            f"{source}: {what}; the first is number {first}",
            file=source,
            value=first,
            way_out="Take them out, or leave them out: nonfinite skip",
        )


def _flags(array: NDArray[Any], name: str, source: str) -> NDArray[np.float32]:
    flags = array.reshape(-1)
    wrong = ~np.isin(flags, (0, 1))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise BadFile(
            f"{source}: {name} has {flags[first]} for transition {first}: a flag is 0 or 1",
            file=source,
            field=name,
            value=flags[first].item(),
        )
    return flags.astype(np.float32)
