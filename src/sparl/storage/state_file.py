"""state.json of a checkpoint: its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from sparl.errors import BadFile
from sparl.layouts import LayerDescription
from sparl.storage import files, schema
from sparl.validation import shown

FORMAT = 3
"""Version of state.json."""
SEGMENT = 100_000
"""The most transitions in one file of the replay."""
Count = Annotated[int, msgspec.Meta(ge=0)]


class Segment(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A file of the replay: the transitions from number `first` to before `end`."""

    first: Count
    end: Count
    sha256: schema.Digest

    def as_json(self) -> dict[str, Any]:
        """As it is in the file."""
        return msgspec.to_builtins(self)

    def __post_init__(self) -> None:
        if not self.first < self.end <= self.first + SEGMENT:
            raise ValueError(f"a segment has 1 to {SEGMENT} transitions")


class ReplayState(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a checkpoint says of the replay."""

    added: Count
    oldest: Count
    segments: list[Segment]

    def __post_init__(self) -> None:
        ends = [segment.end for segment in self.segments]
        starts = [segment.first for segment in self.segments]
        follow = starts[1:] == ends[:-1] and ends[-1:] == [self.added][: len(ends)]
        if not follow or self.oldest > self.added:
            raise ValueError("segments must follow one another up to the last transition")


class StateFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """state.json."""

    format: int
    step: Count
    state: dict[str, Any]
    """The loop's: its class checks it."""
    layouts: dict[str, dict[str, list[LayerDescription]]]
    learner: schema.Digest
    """The sha256 of learner.safetensors."""
    replay: ReplayState

    @property
    def plain_layouts(self) -> dict[str, Any]:
        """The layouts as JSON."""
        return msgspec.json.decode(msgspec.json.encode(self.layouts))


def read(file: Path) -> StateFile:
    """What a state.json says.

    Raises:
        BadFile: It is missing, altered, of another format, or not as sparl writes it.
    """
    content = files.read_json(file)
    if not isinstance(content, dict) or "format" not in content:
        raise BadFile(f"{file} is not a checkpoint of sparl", file=file)
    if content["format"] != FORMAT:
        raise BadFile(
            f"{file.parent} has checkpoint format {shown(content['format'])}; this sparl reads "
            f"format {FORMAT}",
            file=file,
            field="format",
            value=content["format"],
            way_out="Resume it with the version of sparl in the run's config.json",
        )
    recorded = content.pop("sha256", None)
    if recorded != schema.digest(content):
        raise BadFile(
            f"{file} is altered: its sha256 does not match",
            file=file,
            field="sha256",
            value=recorded,
        )
    return schema.convert(content, StateFile, file, big="state")
