"""Logged transitions out of data sets of Minari (extra `minari`), which lie on this machine."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.envs import Spaces, flatten_batch, space_of
from sparl.errors import BadFile, BadValue
from sparl.interop.log_arrays import LogArrays

PREFIX = "minari:"
"""How the name of such a data set begins."""
ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
"""Of a data set in Minari's own folder; a path to another one might name code to run."""


class MinariData(NamedTuple):
    """A data set that was found, not yet read."""

    name: str
    """`minari:ID`."""
    dataset: Any
    transitions: int

    @property
    def sha256(self) -> str:
        """Of all files of the data set, in the order of their names."""
        folder, digest = Path(self.dataset.storage.data_path), hashlib.sha256()
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(str(path.relative_to(folder)).encode())
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def arrays(self, spaces: Spaces) -> LogArrays:
        """All transitions, episode by episode.

        Args:
            spaces: Of the run's environment; observations of several entries are flattened by it.

        Raises:
            BadFile: They cannot be read.
        """
        parts: list[tuple[NDArray[Any], ...]] = []
        try:
            for episode in self.dataset.iterate_episodes():
                observations = _flat(episode.observations, len(episode) + 1, spaces)
                cut = np.array(episode.truncations)
                cut[-1] |= not episode.terminations[-1]  # whatever it says, no row follows
                ends = (np.array(episode.terminations), cut)
                taken = (np.asarray(episode.actions), np.asarray(episode.rewards))
                parts.append((observations[:-1], *taken, observations[1:], *ends))
            return LogArrays(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        except Exception as error:  # Minari raises whatever its formats raise
            raise BadFile(
                f"{self.name} cannot be read: {type(error).__name__}: {error}", file=self.name
            ) from error


def find(name: str) -> MinariData:
    """The data set of a name `minari:ID` that lies on this machine.

    Raises:
        BadValue: Minari is not installed, or that is no ID.
        BadFile: There is no such data set here.
    """
    dataset_id = name.removeprefix(PREFIX)
    if not ID.fullmatch(dataset_id):
        raise BadValue(f"replay is {name!r}: a data set is named as minari:mujoco/hopper/medium-v0")
    try:
        import minari
    except ModuleNotFoundError as error:
        if error.name != "minari":
            raise
        raise BadValue(
            f"replay is {name}: that needs Minari, which is not installed: "
            'pip install "sparl[minari]"'
        ) from error
    try:
        dataset = minari.load_dataset(dataset_id)
        return MinariData(name, dataset, int(dataset.total_steps))
    except Exception as error:
        raise BadFile(
            f"{name} cannot be loaded: {type(error).__name__}: {error}",
            file=name,
            way_out=f"minari download {dataset_id} brings it here, if there is one",
        ) from error


def _flat(observations: Any, count: int, spaces: Spaces) -> NDArray[Any]:
    """The observations of an episode as arrays, [count, ...]."""
    if not isinstance(observations, dict | tuple):
        return np.asarray(observations)
    if spaces.structure is None:
        raise TypeError(f"observations have entries; the agent sees {spaces.observation_shape}")
    return flatten_batch(space_of(spaces.structure), observations, count)
