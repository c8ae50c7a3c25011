"""Checkpoints: all that determines how a run continues. Each is complete or absent.

    checkpoints/step-000020000/learner.safetensors   networks, targets, moments, method's state
    checkpoints/step-000020000/state.json            the loop's state, and hashes of all files
    checkpoints/step-000020000/policy-best/          the best policy by then, if one was evaluated
    checkpoints/replay/000000010000-000000020000.safetensors

The replay is stored as segments, which are named by the transitions they hold. Checkpoints share
segments, so a save writes only the transitions that were added since the last save. A checkpoint is
a folder that appears by a rename once all its files, and all segments that it names, are on the
disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile
from sparl.networks.serialization import indices_of_groups
from sparl.replay import Replay
from sparl.storage import files, schema, state_file
from sparl.storage.state_file import FORMAT, SEGMENT, Segment, StateFile

KEEP = 3
"""Checkpoints of a run that are kept."""
FILE = "state.json"
BEST = "policy-best"
"""Folder of the best policy, in a checkpoint and in the folder of a run that has ended."""


class Loaded(NamedTuple):
    """A checkpoint as it was saved, but for its replay."""

    arrays: Any
    """The pytree of arrays."""
    layouts: Any
    """How the layers of the networks are stored, as JSON."""
    state: dict[str, Any]
    """The loop's state, as JSON."""
    file: Path
    """Where the state is from."""


class Checkpoints:
    """The newest `KEEP` checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        """The checkpoints in a folder, which the first save creates."""
        self.folder = folder
        self.replay_folder = folder / "replay"
        self._segments: list[Segment] = []

    def steps(self) -> list[int]:
        """The steps of all checkpoints, ascending; folders of other names are none."""
        steps = []
        for path in self.folder.glob("step-*"):
            number = path.name.removeprefix("step-")
            if number.isascii() and number.isdecimal() and len(number) <= 18 and path.is_dir():
                steps.append(int(number))
        return sorted(steps)

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint, whether it exists or not."""
        return self.folder / f"step-{step:09d}"

    def best(self, step: int) -> Path:
        """The folder of the best policy by then, in a step's checkpoint; it may be missing."""
        return self.path(step) / BEST

    def save(
        self,
        step: int,
        arrays: Any,
        layouts: Any,
        state: dict[str, Any],
        replay: Replay,
        write_best: Callable[[Path], object] | None = None,
    ) -> Path:
        """Writes a checkpoint, then deletes the oldest ones.

        Args:
            step: The step of the run.
            arrays: A pytree of the learner's arrays.
            layouts: JSON from which the shapes of `arrays` follow.
            state: The loop's state as JSON.
            replay: The replay; transitions that are not on the disk yet are written.
            write_best: Writes the best policy by now into a folder; None where there is none.

        Returns:
            The checkpoint's folder.

        Raises:
            OSError: The disk is full, for example. Every earlier checkpoint stays as it was.
        """
        self.replay_folder.mkdir(parents=True, exist_ok=True)
        segments = self._save_replay(replay)
        with files.replaced_folder(final := self.path(step)) as temporary:
            if write_best is not None:
                write_best(temporary / BEST)
            content = {
                "format": FORMAT,
                "step": step,
                "state": state,
                "layouts": layouts,
                "learner": files.write_arrays(temporary / "learner.safetensors", _by_path(arrays)),
                "replay": {
                    "added": replay.added,
                    "oldest": replay.oldest,
                    "segments": [segment.as_json() for segment in segments],
                },
            }
            files.write_json(temporary / FILE, content | {"sha256": schema.digest(content)})
        self._segments = segments
        self._prune(step)
        return final

    def load(self, step: int, template: Callable[[Any], Any]) -> Loaded:
        """A checkpoint as it was saved, but for its replay.

        Args:
            step: Of the checkpoint.
            template: Gives, for the saved layouts, a pytree of arrays of the same shapes.

        Raises:
            BadFile: A file is missing, truncated, altered, or of another format. The message
                names it.
        """
        path = self.path(step)
        content = state_file.read(path / FILE)
        arrays = files.read_arrays(path / "learner.safetensors", content.learner)
        layouts = content.plain_layouts
        for part, networks in layouts.items():
            name = f"['parts']['{part}'].indices"
            found = arrays.get(name)
            if found is not None and (found.dtype, found.ndim) == (np.int32, 1):
                arrays[name] = indices_of_groups(networks, found)
        tree = _to_tree(arrays, template(layouts), path)
        return Loaded(tree, layouts, content.state, path / FILE)

    def forget_beyond(self, step: int) -> None:
        """Deletes checkpoints beyond `step`, at which a run goes on: its logs are cut there."""
        for beyond in self.steps():
            if beyond > step:
                shutil.rmtree(self.path(beyond), ignore_errors=True)

    def recover(self) -> None:
        """Brings back a checkpoint that one of the same step was about to replace at a kill."""
        for aside in self.folder.glob(".step-*.old"):
            files.recover_folder(self.folder / aside.stem.removeprefix("."))

    def read_state(self, step: int) -> StateFile:
        """What the state.json of a checkpoint says. Raises `BadFile` as `load` does."""
        return state_file.read(self.path(step) / FILE)

    def load_replay(self, step: int, replay: Replay) -> None:
        """Fills a replay with the transitions of a checkpoint.

        Args:
            step: Of the checkpoint.
            replay: Must be empty.

        Raises:
            BadFile: As for `load`.
        """
        path = self.path(step)
        content = state_file.read(path / FILE).replay
        for segment in content.segments:
            replay.restore(segment.first, self._rows(segment, replay.columns.width))
        if replay.added != content.added:
            raise BadFile(
                f"{path} names replay segments that end before its last transition",
                file=path / FILE,
                field="replay.added",
                value=content.added,
            )
        replay.drop(content.oldest - replay.oldest)
        self._segments = content.segments

    def rows(self, step: int, width: int) -> Iterator[NDArray[np.float32]]:
        """The transitions of a checkpoint in pieces [n, width], the oldest first.

        Raises:
            BadFile: As for `load`.
        """
        content = state_file.read(self.path(step) / FILE).replay
        for segment in content.segments:
            piece = self._rows(segment, width)[max(0, content.oldest - segment.first) :]
            if len(piece):
                yield piece

    def newest_rows(self, step: int, count: int, width: int) -> NDArray[np.float32]:
        """The newest transitions of a checkpoint, [at most count, width], without a replay.

        Raises:
            BadFile: As for `load`.
        """
        content = state_file.read(self.path(step) / FILE).replay
        pieces = [np.zeros((0, width), np.float32)]
        for segment in reversed(content.segments):
            if sum(map(len, pieces)) < count:
                skipped = max(0, content.oldest - segment.first)
                pieces.insert(0, self._rows(segment, width)[skipped:])
        return np.concatenate(pieces)[-count:]

    def _rows(self, segment: Segment, width: int) -> NDArray[np.float32]:
        """The transitions in one file of the replay."""
        file = self.replay_folder / _segment_name(segment)
        rows = files.read_arrays(file, segment.sha256).get("rows")
        shape = (segment.end - segment.first, width)
        if rows is None or rows.shape != shape or rows.dtype != np.float32:
            raise BadFile(
                f"{file} holds no float32 rows of shape {shape}, as its checkpoint says",
                file=file,
                field="rows",
                value=None if rows is None else rows.shape,
            )
        return rows

    def _save_replay(self, replay: Replay) -> list[Segment]:
        """Writes the transitions that no segment holds yet.

        Returns the segments that together hold the replay.
        """
        segments = [segment for segment in self._segments if segment.end > replay.oldest]
        first = max(segments[-1].end if segments else 0, replay.oldest)
        while first < replay.added:
            end = min(first + SEGMENT, replay.added)
            file = self.replay_folder / _segment_name(Segment(first, end, ""))
            sha256 = files.write_arrays(file, {"rows": replay.span(first, end)})
            segments.append(Segment(first, end, sha256))
            first = end
        return segments

    def _prune(self, step: int) -> None:
        """Deletes all but the newest checkpoints up to `step`, and segments that these do not name.

        Checkpoints beyond `step` are left from before the run was resumed at an earlier one.
        """
        kept = [s for s in self.steps() if s <= step][-KEEP:]
        for dropped in set(self.steps()) - set(kept):
            shutil.rmtree(self.path(dropped), ignore_errors=True)
        named_segments = set()
        for kept_step in kept:
            try:
                segments = state_file.read(self.path(kept_step) / FILE).replay.segments
            except BadFile:
                continue
            named_segments |= set(map(_segment_name, segments))
        for file in self.replay_folder.iterdir():
            if file.name not in named_segments:
                file.unlink(missing_ok=True)


def _segment_name(segment: Segment) -> str:
    return f"{segment.first:012d}-{segment.end:012d}.safetensors"


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _to_tree(arrays: dict[str, np.ndarray], template: Any, path: Path) -> Any:
    """A pytree like `template` whose leaves are `arrays`, by their paths."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    restored = []
    for key_path, leaf in leaves:
        name = jax.tree_util.keystr(key_path)
        array = arrays.get(name)
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise BadFile(
                f"{path} does not fit the run's config.json: {name} should be {leaf.dtype} "
                f"{leaf.shape}, and is {'missing' if array is None else array.shape}",
                file=path / "learner.safetensors",
                field=name,
                value=None if array is None else array.shape,
            )
        # NumPy arrays stay NumPy arrays, because JAX would round float64. All are copied, because
        # an array that aliases the file's buffer cannot be donated.
        make_array = np.array if isinstance(leaf, np.ndarray) else jnp.array
        restored.append(make_array(array, copy=True))
    return jax.tree.unflatten(treedef, restored)
