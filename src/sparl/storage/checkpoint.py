"""Checkpoints: all that determines how a run goes on, complete or absent.

    checkpoints/step-000020000/learner.safetensors   networks, targets, moments, method's state
    checkpoints/step-000020000/state.json            the loop's state, and hashes of all files
    checkpoints/replay/000000010000-000000020000.safetensors

The replay is kept as segments, named by the transitions they hold and shared by checkpoints: a
save writes only what was added since the one before. A checkpoint is a folder that appears by a
rename when everything in it, and every segment it names, is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sparl.errors import BadCheckpoint
from sparl.replay import Replay
from sparl.storage import files

FORMAT = 3
KEEP = 3
SEGMENT = 100_000
"""Most transitions in one file of the replay."""


class Loaded(NamedTuple):
    """A checkpoint as it was saved, but for its replay."""

    arrays: Any
    """The pytree of arrays."""
    layouts: Any
    """How the layers of the networks are stored, as JSON."""
    state: dict[str, Any]
    """The loop's state, as JSON."""


class Checkpoints:
    """The checkpoints of one run folder, newest `KEEP` of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replay_folder = folder / "replay"
        self._segments: list[dict[str, Any]] = []

    def steps(self) -> list[int]:
        """Steps at which there is a checkpoint, ascending."""
        names = (path.name for path in self.folder.glob("step-*") if path.is_dir())
        return sorted(int(name.removeprefix("step-")) for name in names)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def save(
        self, step: int, arrays: Any, layouts: Any, state: dict[str, Any], replay: Replay
    ) -> Path:
        """Writes a checkpoint, then drops what it replaces.

        `arrays` is a pytree; `layouts`, which its shapes follow from, and `state` are JSON.
        Raises `OSError` (a full disk, say) with every earlier checkpoint as it was.
        """
        self.replay_folder.mkdir(parents=True, exist_ok=True)
        segments = self._save_replay(replay)
        final = self.path(step)
        beside = self.folder / f".{final.name}.part"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir()
            content = {
                "format": FORMAT,
                "step": step,
                "state": state,
                "layouts": layouts,
                "learner": files.write_arrays(beside / "learner.safetensors", _named(arrays)),
                "replay": {
                    "added": replay.added,
                    "oldest": replay.oldest,
                    "segments": segments,
                },
            }
            files.write_json(beside / "state.json", content | {"sha256": _digest(content)})
            shutil.rmtree(final, ignore_errors=True)
            os.rename(beside, final)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        files.sync_folder(self.folder)
        self._segments = segments
        self._prune(step)
        return final

    def load(self, step: int, template: Callable[[Any], Any]) -> Loaded:
        """A checkpoint; `template` makes the pytree of its arrays from its layouts.

        Raises `BadCheckpoint`, naming the file, for anything missing, truncated, altered, or of
        another format.
        """
        path = self.path(step)
        content = self._read_state(path)
        arrays = files.read_arrays(path / "learner.safetensors", content["learner"])
        layouts = content["layouts"]
        return Loaded(_unnamed(arrays, template(layouts), path), layouts, content["state"])

    def load_replay(self, step: int, replay: Replay) -> None:
        """Fills `replay`, which must be empty, with that of a checkpoint; raises as `load`."""
        path = self.path(step)
        content = self._read_state(path)["replay"]
        for segment in content["segments"]:
            file = self.replay_folder / _segment_name(segment["first"], segment["end"])
            rows = files.read_arrays(file, segment["sha256"])["rows"]
            if rows.shape != (segment["end"] - segment["first"], replay.columns.width):
                raise BadCheckpoint(f"{file} holds {rows.shape}, not what {path} says")
            replay.restore(segment["first"], rows)
        if replay.added != content["added"]:
            raise BadCheckpoint(f"{path} names replay segments that do not reach its end")
        replay.drop(content["oldest"] - replay.oldest)
        self._segments = content["segments"]

    def _read_state(self, path: Path) -> dict[str, Any]:
        content = files.read_json(path / "state.json")
        if not isinstance(content, dict) or "format" not in content:
            raise BadCheckpoint(f"{path / 'state.json'} is no checkpoint of sparl")
        if content["format"] != FORMAT:
            raise BadCheckpoint(
                f"{path} has checkpoint format {content['format']}; this sparl reads format "
                f"{FORMAT}. Resume it with the version of sparl in the run's config.json"
            )
        recorded = content.pop("sha256", None)
        if recorded != _digest(content):
            raise BadCheckpoint(f"{path / 'state.json'} is altered: its sha256 does not match")
        return content

    def _save_replay(self, replay: Replay) -> list[dict[str, Any]]:
        """Writes the transitions that no segment holds yet; the segments that hold the replay."""
        segments = [dict(s) for s in self._segments if s["end"] > replay.oldest]
        first = max(segments[-1]["end"] if segments else 0, replay.oldest)
        while first < replay.added:
            end = min(first + SEGMENT, replay.added)
            file = self.replay_folder / _segment_name(first, end)
            sha256 = files.write_arrays(file, {"rows": replay.span(first, end)})
            segments.append({"first": first, "end": end, "sha256": sha256})
            first = end
        return segments

    def _prune(self, step: int) -> None:
        """Keeps the newest checkpoints up to `step`, and the segments that they name.

        Checkpoints beyond `step` are of a future that was given up by resuming before them.
        """
        keep = [s for s in self.steps() if s <= step][-KEEP:]
        for other in set(self.steps()) - set(keep):
            shutil.rmtree(self.path(other), ignore_errors=True)
        named = set()
        for kept in keep:
            try:
                segments = self._read_state(self.path(kept))["replay"]["segments"]
            except BadCheckpoint:
                continue
            named |= {_segment_name(s["first"], s["end"]) for s in segments}
        for file in self.replay_folder.iterdir():
            if file.name not in named:
                file.unlink(missing_ok=True)


def _segment_name(first: int, end: int) -> str:
    return f"{first:012d}-{end:012d}.safetensors"


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _named(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _unnamed(arrays: dict[str, np.ndarray], template: Any, path: Path) -> Any:
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    found = []
    for key_path, leaf in leaves:
        name = jax.tree_util.keystr(key_path)
        array = arrays.get(name)
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise BadCheckpoint(
                f"{path} does not fit the run's config.json: {name} should be {leaf.dtype} "
                f"{leaf.shape}, and is {'missing' if array is None else array.shape}"
            )
        # A copy of our own: an array that aliased the file's buffer could not be donated.
        # NumPy's stay so: JAX would round float64.
        own = np.array if isinstance(leaf, np.ndarray) else jnp.array
        found.append(own(array, copy=True))
    return jax.tree.unflatten(treedef, found)
