"""Transitions that were logged elsewhere, by a robot, a controller or another agent.

They come from a .npz file, or from a data set of Minari. A file has these arrays, with a row for
each of n transitions, in the order in which they happened:

    observations        [n, ...]  as the agent sees them: behind wrappers, inputs and frame_stack
    actions             [n, ...]  as the environment takes them, within its bounds
    rewards             [n]
    next_observations   [n, ...]
    terminals           [n]       1 where the environment itself ended the episode, else 0
    timeouts            [n]       1 where the episode was cut; may be missing

`terminals` may also be called `terminated` or `terminations`, and `timeouts` `truncated` or
`truncations`. Other arrays are not read. A row may have its own shape, or all its numbers in a row.

An episode ends where a flag says so, and wherever the next observation of a row is not the
observation of the row behind it. So files without `timeouts`, as D4RL's `qlearning_dataset` gives
them, need nothing else.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadFile, BadRun, BadValue
from sparl.interop import minari_data
from sparl.interop.log_arrays import LogArrays, Logged, refuse_shapes, rows_of
from sparl.interop.npz import NpzFile
from sparl.replay import Columns
from sparl.storage import RunFolder, files

NAMES = {
    "observations": ("observations",),
    "actions": ("actions",),
    "rewards": ("rewards",),
    "next_observations": ("next_observations",),
    "terminals": ("terminals", "terminated", "terminations"),
    "timeouts": ("timeouts", "truncated", "truncations"),
}
"""The arrays of a file, and what each may be called there."""


def recorded(run: RunConfig) -> RunConfig:
    """The same run with the origin of its logs: absolute path, sha256, number of transitions.

    Raises:
        BadFile: There are no such logs, or they cannot be read.
        BadValue: Minari is needed and not installed.
    """
    if run.replay.startswith(minari_data.PREFIX):
        name = run.replay
        found = minari_data.find(name)
        count = found.transitions
    else:
        found = NpzFile(Path(run.replay).expanduser().absolute())
        name, count = str(found.path), _count(found)
    if not count:
        raise BadFile(f"{name} has no transitions", file=name, way_out="Log some first")
    return replace(run, replay=name, replay_sha256=found.sha256, replay_transitions=count)


def read(run: RunConfig, spaces: Spaces) -> Logged:
    """The transitions of a run's logs.

    Args:
        run: As `recorded` gave it.
        spaces: Of the run's environment, which the logs must fit.

    Raises:
        BadFile: They do not, or have changed. The message names the array and the way out.
        BadValue: The replay cannot hold them.
    """
    name, count = run.replay, run.replay_transitions
    if count > run.buffer_size:
        raise BadValue(
            f"buffer_size is {run.buffer_size}: {name} has {count} transitions, and the replay "
            "would forget the first of them at once. Let it hold them all"
        )
    if recorded(run) != run:
        raise BadFile(
            f"{name} is not what this run was to begin with: its sha256 is another one",
            file=name,
            field="sha256",
            way_out="Put the old one back, or begin another run",
        )
    if name.startswith(minari_data.PREFIX):
        arrays = minari_data.find(name).arrays(spaces)
        shapes = {k: v.shape for k, v in arrays._asdict().items() if v is not None}
        refuse_shapes(shapes, count, spaces, name)
    else:
        arrays = _read_file(NpzFile(Path(name)), count, spaces)
    return rows_of(arrays, spaces, run.nonfinite == "skip", name)


def save(folder: RunFolder, path: Path) -> None:
    """Writes the replay of a run's newest checkpoint as a file of logs.

    Raises:
        BadRun: There is no checkpoint yet, or it has no transitions.
    """
    spaces, steps = folder.record().spaces, folder.checkpoints.steps()
    columns = Columns(spaces.observation_size, spaces.action_size, spaces.discrete)
    rows = np.zeros((0, columns.width), np.float32)
    if steps:
        held = folder.checkpoints.read_state(steps[-1]).replay
        rows = folder.checkpoints.newest_rows(steps[-1], held.added - held.oldest, columns.width)
    if not len(rows):
        raise BadRun(f"{folder.path} has no transitions yet: let it come to a checkpoint")
    order, last = _by_episode(rows[:, -1])
    rows, last = rows[order], last[order]
    o, r = columns.observation_size, columns.reward
    actions = rows[:, o:r] if not spaces.discrete else rows[:, o].astype(np.int64)
    terminals = rows[:, -2] > 0
    buffer = io.BytesIO()
    np.savez(
        buffer,
        observations=rows[:, :o],
        actions=spaces.to_env_action(actions),
        rewards=rows[:, r],
        next_observations=rows[:, r + 1 : -2],
        terminals=terminals,
        timeouts=last & ~terminals,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, buffer.getvalue())


def _by_episode(
    links: NDArray[np.float32],
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Puts the rows of each episode one behind the other, where several were under way at once.

    Args:
        links: The last column of the replay's rows.

    Returns:
        The order of the rows, and for each row, in the order before, whether none follows it.
    """
    count = len(links)
    following = np.where(links > 0, count, np.arange(count) + 1 - links).astype(np.intp)
    episode = np.arange(count)
    for i in np.flatnonzero(following < count):
        episode[following[i]] = episode[i]
    return np.argsort(episode, kind="stable"), following >= count


def _read_file(file: NpzFile, count: int, spaces: Spaces) -> LogArrays:
    found = {field: _name(file, field) for field in NAMES}
    names = {field: name for field, name in found.items() if name is not None}
    shapes = {field: file.header(name).shape for field, name in names.items()}
    refuse_shapes(shapes, count, spaces, str(file.path))  # before anything of that size is made
    return LogArrays(**{field: file.read(name) for field, name in names.items()})


def _count(file: NpzFile) -> int:
    """How many transitions there are in a file that has all arrays."""
    for field in NAMES:
        _name(file, field)
    return file.header("rewards").shape[0] if file.header("rewards").shape else 0


def _name(file: NpzFile, field: str) -> str | None:
    """What a file calls an array; None for one that may be missing."""
    found = [name for name in NAMES[field] if name in file.names]
    if len(found) > 1:
        raise BadFile(
            f"{file.path} has {' and '.join(found)}, which are the same: keep one",
            file=file.path,
            field=field,
        )
    if not found and field != "timeouts":
        there = ", ".join(sorted(file.names)) or "nothing"
        raise BadFile(
            f"{file.path} has no {' or '.join(NAMES[field])}; it has {there}",
            file=file.path,
            field=field,
            way_out="A file of logs has observations, actions, rewards, next_observations and "
            "terminals",
        )
    return found[0] if found else None
