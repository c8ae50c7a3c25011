"""Observations of several entries (Dict, Tuple, Discrete, …): their names, and flattening them.

gymnasium's own `flatten` makes the vectors. A policy records the structure, so that whoever loads
it may hand over observations as the environment gives them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from gymnasium.wrappers import FlattenObservation, FrameStackObservation
from numpy.typing import NDArray

from sparl.envs.wrappers import NoiseInputs, SelectInputs
from sparl.errors import BadEnvironment


class Entry(NamedTuple):
    """A named stretch of a flat observation."""

    name: str
    """As `robot.position`; entries of a Tuple are named by their numbers."""
    size: int
    """How many numbers it takes."""


def entries_of(env: gym.Env) -> tuple[Entry, ...]:
    """The entries of an environment's flat observation in order; () where they have no names."""
    if isinstance(env, NoiseInputs):
        inner = entries_of(env.env)
        count = spaces.flatdim(env.observation_space) - sum(entry.size for entry in inner)
        return (*inner, Entry("noise", count)) if inner else ()
    if isinstance(env, SelectInputs):
        names = [
            entry.name if entry.size == 1 else f"{entry.name}[{i}]"
            for entry in entries_of(env.env)
            for i in range(entry.size)
        ]
        return tuple(Entry(names[i], 1) for i in env.inputs) if names else ()
    if isinstance(env, FlattenObservation):
        return _named(env.env.observation_space)
    if isinstance(env, FrameStackObservation):
        return entries_of(env.env)
    return ()


def structure_of(env: gym.Env) -> dict[str, Any] | None:
    """The structure of what the environment gave before it was flattened, as JSON.

    None where flat observations are not simply the flattened ones.
    """
    if isinstance(env, FrameStackObservation):
        return structure_of(env.env)
    return _describe(env.env.observation_space) if isinstance(env, FlattenObservation) else None


def space_of(structure: dict[str, Any]) -> spaces.Space:
    """A space with the structure that `structure_of` gave; its bounds are lost."""
    match structure["kind"]:
        case "Box":
            return spaces.Box(-np.inf, np.inf, tuple(structure["shape"]), np.float32)
        case "Discrete":
            return spaces.Discrete(structure["n"], start=structure["start"])
        case "MultiBinary":
            return spaces.MultiBinary(tuple(structure["shape"]))
        case "MultiDiscrete":
            return spaces.MultiDiscrete(
                np.array(structure["nvec"]), start=np.array(structure["start"])
            )
        case "Tuple":
            return spaces.Tuple([space_of(entry) for entry in structure["spaces"]])
        case _:
            entries = [(name, space_of(entry)) for name, entry in structure["spaces"]]
            # Policies of before "ordered" see entries sorted by name, whatever their order is.
            return spaces.Dict(entries if structure.get("ordered") else dict(entries))


class Flattened(FlattenObservation):
    """Gives observations of several entries, or of no numbers, as vectors of float32.

    gymnasium's wrapper cuts numbers to whole ones where an entry's type is one of integers, and
    gives another vector for what is not in the space.
    """

    def __init__(self, env: gym.Env) -> None:
        described = _describe(env.observation_space)  # first: it says what cannot be flattened
        super().__init__(env)
        self._of_entries = space_of(described)
        flat: Any = self.observation_space
        bounds = flat.low.astype(np.float32), flat.high.astype(np.float32)
        self.observation_space = spaces.Box(*bounds, dtype=np.float32)

    def observation(self, observation: Any) -> NDArray[np.float32]:
        return flatten(self._of_entries, observation)


def flatten(space: spaces.Space, observation: Any) -> NDArray[np.float32]:
    """One observation of several entries as a vector, [obs].

    Raises:
        BadEnvironment: An entry is missing, or has more numbers than the space says, or fewer;
            those behind it would be taken for others. Or it is none of the space's choices.
    """
    try:
        _check_choices(space, observation)
        vector = _vector(space, observation)
        if len(vector) != spaces.flatdim(space):
            raise ValueError(_wrong_size(space, observation, len(vector)))
        return vector
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadEnvironment(
            "an observation does not have the structure that this agent was made for: "
            f"{type(error).__name__}: {error}"
        ) from error


def flatten_all(space: spaces.Space, observation: Any) -> NDArray[np.float32]:
    """One observation as a vector, [obs], or a batch of them as rows: each entry has as many then.

    Raises:
        BadEnvironment: As `flatten`.
    """
    counts = set(_counts(space, observation))
    count = counts.pop() if len(counts) == 1 else None
    if count is None:
        return flatten(space, observation)
    return flatten_batch(space, observation, count)


def _counts(space: spaces.Space, observation: Any) -> Iterator[int | None]:
    """Of each entry, how many of it there are along a first axis; None where it is a single one."""
    below = parts(space)
    for name, entry in below:
        try:
            yield from _counts(entry, observation[name])
        except (KeyError, IndexError, TypeError):
            yield None
    if not below:
        shape = np.shape(observation)
        yield shape[0] if shape and shape[1:] == space.shape else None


def flatten_batch(space: spaces.Space, observations: Any, count: int) -> NDArray[np.float32]:
    """A batch of them, as vector environments give it, as rows [count, obs]."""
    batch = iterate(batch_space(space, count), observations)
    return np.stack([flatten(space, observation) for observation in batch])


def has_fixed_size(space: spaces.Space) -> bool:
    """Whether every observation of a space is as many numbers."""
    numbers = spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return all(has_fixed_size(entry) for _, entry in parts(space))
    return isinstance(space, numbers)


def parts(space: spaces.Space) -> list[tuple[Any, spaces.Space]]:
    """The entries of a Dict or a Tuple, by what they are taken with; [] for others."""
    if isinstance(space, spaces.Dict):
        return list(space.spaces.items())
    return list(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else []


def _vector(space: spaces.Space, observation: Any) -> NDArray[np.float32]:
    return np.asarray(spaces.flatten(space, observation), np.float32)


def _check_choices(space: spaces.Space, observation: Any, name: str = "it") -> None:
    """Raises `ValueError` where a number is none of a Discrete or MultiDiscrete space."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        found = np.asarray(observation)
        first, count = space.start, space.n if isinstance(space, spaces.Discrete) else space.nvec
        fits = found.size == math.prod(space.shape or ())
        if not (fits and ((found >= first) & (found < first + count)).all()):
            raise ValueError(f"{name} is {observation}, which is not in {space}")
    for entry, of_entry in parts(space):
        below = str(entry) if name == "it" else f"{name}.{entry}"
        _check_choices(of_entry, observation[entry], below)


def _wrong_size(space: spaces.Space, observation: Any, size: int, name: str = "it") -> str:
    """Which entry has `size` numbers where the space has others, in words."""
    for entry, of_entry in parts(space):
        found = len(_vector(of_entry, observation[entry]))
        if found != spaces.flatdim(of_entry):
            below = str(entry) if name == "it" else f"{name}.{entry}"
            return _wrong_size(of_entry, observation[entry], found, below)
    return f"{name} has {size} numbers and not {spaces.flatdim(space)}"


def _describe(space: spaces.Space) -> dict[str, Any]:
    match space:
        case spaces.Box():
            if 0 in space.shape:
                raise BadEnvironment(
                    f"an entry of its observations has shape {space.shape}, which is no number: "
                    "leave it out"
                )
            return {"kind": "Box", "shape": list(space.shape)}
        case spaces.Discrete():
            return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiBinary():
            return {"kind": "MultiBinary", "shape": list(space.shape)}
        case spaces.MultiDiscrete():
            nvec, start = space.nvec.tolist(), space.start.tolist()
            return {"kind": "MultiDiscrete", "nvec": nvec, "start": start}
        case spaces.Tuple():
            return {"kind": "Tuple", "spaces": [_describe(entry) for entry in space.spaces]}
        case spaces.Dict():
            if not space.spaces or not all(isinstance(name, str) for name in space.spaces):
                raise BadEnvironment(
                    f"its observations are a Dict with the entries {list(space.spaces)}: they need "
                    "names, as text"
                )
            listed = [[name, _describe(entry)] for name, entry in space.spaces.items()]
            ordered = (
                {"ordered": True} if list(space.spaces) != sorted(space.spaces, key=str) else {}
            )
            return {"kind": "Dict", "spaces": listed} | ordered
        case _:
            raise AssertionError(f"{space} has no fixed size")


def _named(space: spaces.Space) -> tuple[Entry, ...]:
    named: list[Entry] = []
    for name, entry in parts(space):
        below = _named(entry)
        named += (
            [Entry(f"{name}.{e.name}", e.size) for e in below]
            if below
            else [Entry(str(name), spaces.flatdim(entry))]
        )
    return tuple(named)
