"""What exported C takes and gives: what the header says of it, and the body of `policy_act`.

An observation is one of the environment. Where the network reads several, `policy_frames` remembers
those before. An action is what the environment takes: numbers within bounds, integers, a choice, or
several choices at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparl.envs import inner_float32, stack
from sparl.exporters.text import Source, Table, fill, identifiers, number
from sparl.policy import Policy

UNBOUNDED = "actions, meant to be within -1 and 1"
FRAMES_PARAMETER = Source("policy_frames *frames,\n" + 15 * " ")
EPISODE_NOTE = """
 * The second half of them goes through policy_act, as an episode."""
"""A sentence of the header of a policy that reads several observations."""
TAKEN = ("SIZE",)
"""Ends of names of the header that an entry's name must not become."""


class Interface:
    """The observations and actions of a policy in C.

    Args:
        policy: The policy, checked.
        recorded: Observations [count, obs] of training; None without any.
    """

    def __init__(self, policy: Policy, recorded: NDArray[np.float32] | None = None) -> None:
        self.policy, self.spaces = policy, policy.spaces
        self._recorded = recorded

    @property
    def frames_bytes(self) -> int:
        """Bytes of a `policy_frames` where an int has 32 bits; 0 where there is none."""
        return 4 * (self.spaces.observation_size + 1) if self.spaces.frames > 1 else 0

    @property
    def action_size(self) -> int:
        """How many numbers `policy_act` gives."""
        return len(self.spaces.nvec) or (1 if self.spaces.discrete else self.spaces.action_size)

    @property
    def parts(self) -> tuple[str, ...]:
        """Files of `templates/parts` that making actions needs."""
        return () if self.spaces.discrete or not self.spaces.rounds else ("nearest",)

    @property
    def tables(self) -> list[Table]:
        """The constant tables that making actions needs."""
        spaces = self.spaces
        if spaces.nvec:
            arrays = {"choices": spaces.nvec, "first": spaces.starts}
        elif spaces.discrete:
            arrays = {}
        elif spaces.rounds:
            arrays = {"low": spaces.low, "high": spaces.high}
        else:
            low, high = inner_float32(spaces.low, spaces.high)
            return [Table("low", low), Table("high", high)]
        return [Table(name, np.array(numbers, np.int32)) for name, numbers in arrays.items()]

    @property
    def functions(self) -> list[Source]:
        """The functions that take observations and give actions."""
        spaces, words = self.spaces, {}
        if spaces.nvec:
            name, words = "choices", {"best": _lines("best")}
        elif spaces.discrete:
            name, words = "choice", {"best": _lines("best"), "first": spaces.first}
        else:
            name = "rounded" if spaces.rounds else "bounded"
        several = spaces.frames > 1
        act = fill(
            "actions/act.c",
            {
                "frames_parameter": FRAMES_PARAMETER if several else Source(),
                "remember": _lines("remember") if several else Source(),
                "seen": Source("frames->inputs" if several else "observation"),
                "action": _lines(name, words),
            },
        )
        return [fill("actions/reset.c", {}), act] if several else [act]

    @property
    def header(self) -> dict[str, int | Source]:
        """Words of `policy.h` about observations and actions."""
        spaces, several = self.spaces, self.spaces.frames > 1
        whole = spaces.discrete or spaces.rounds
        return {
            "observation_size": spaces.observation_size // spaces.frames,
            "entries": self._entries,
            "frames": spaces.frames,
            "input_size": spaces.observation_size,
            "memory": fill("actions/frames.h.in", {}) if several else Source(),
            "frames_parameter": FRAMES_PARAMETER if several else Source(),
            "outputs_of": Source(
                "POLICY_FRAMES observations,\n * the newest last" if several else "an observation"
            ),
            "episode_note": Source(EPISODE_NOTE if several else ""),
            "action_size": self.action_size,
            "action_type": Source("int32_t" if whole else "float"),
            "action_meaning": self._action_meaning,
            "output_meaning": self._output_meaning,
        }

    @property
    def self_test(self) -> dict[str, int | Source]:
        """Words of `policy_test.c` about an episode."""
        count = len(self.policy.golden)
        if self.spaces.frames == 1:
            return {"observation_count": count, "episode": Source(), "result": 0}
        episode = fill("actions/episode.c", {"observation_count": count})
        return {
            "observation_count": count,
            "episode": episode,
            "result": Source("failed_step(scratch)"),
        }

    @cached_property
    def tested(self) -> NDArray[np.float32]:
        """What the network reads in the self-test, [tests, obs].

        The golden observations. Where these are several of the environment's, an episode follows:
        the newest of each, one after the other, as `Policy.predict` sees them.
        """
        golden, spaces = self.policy.golden, self.spaces
        if spaces.frames == 1:
            return golden
        shape, seen, frames = spaces.observation_shape[1:], [golden], None
        for observation in golden.reshape(len(golden), spaces.frames, -1)[:, -1]:
            flat, frames = stack(spaces, observation.reshape(shape), frames)
            seen.append(flat[None])
        return np.concatenate(seen)

    @property
    def summary(self) -> str:
        """What it takes and gives in a few words."""
        spaces = self.spaces
        observations = _count(spaces.observation_size // spaces.frames, "observation")
        if spaces.frames > 1:
            observations += f" in {spaces.frames} frames"
        if self.policy.normalization is not None:
            observations += " (normalised inside)"
        if spaces.nvec:
            return f"{observations}, {_count(len(spaces.nvec), 'number')} to choose"
        actions = _count(spaces.action_size, "choice" if spaces.discrete else "action")
        return f"{observations}, {actions}"

    @property
    def _entries(self) -> Source:
        """A constant for each named entry of an observation: where it begins; and its range."""
        entries, lines, start = self.spaces.entries, [], 0
        names = identifiers([entry.name for entry in entries], TAKEN)
        for name, entry in zip(names, entries, strict=True):
            told = _count(entry.size, "number") + self._range(slice(start, start + entry.size))
            lines.append(f"#define POLICY_OBSERVATION_{name} {number(start)} /* {told} */")
            start += entry.size
        if lines:
            told = "/* Where the entries of an observation begin, and how long they are. */"
            return Source("\n".join([told, *lines]))
        if self._recorded is None:
            return Source("")
        size = self.spaces.observation_size // self.spaces.frames
        ranges = [f" *   [{i}]" + self._range(slice(i, i + 1))[1:] for i in range(size)]
        return Source("\n".join(["/* An observation's numbers:", *ranges, " */"]))

    def _range(self, numbers: slice) -> str:
        """Between what values numbers of an observation were in training."""
        if self._recorded is None:
            return ""
        newest = self._recorded[:, -self.spaces.observation_size // self.spaces.frames :]
        seen = newest[:, numbers]
        return f", {seen.min():.4g} to {seen.max():.4g} in training"

    @property
    def _output_meaning(self) -> Source:
        if self.spaces.nvec:
            return Source("the value of each combination of choices; the last changes fastest")
        if self.spaces.discrete:
            return Source("the value of each choice")
        within = "actions within -1 and 1" if self.policy.network.squash else UNBOUNDED
        return Source(within)

    @property
    def _action_meaning(self) -> Source:
        spaces = self.spaces
        if spaces.nvec:
            ends = [s + n - 1 for s, n in zip(spaces.starts, spaces.nvec, strict=True)]
            return _ranges("choices", spaces.starts, ends)
        if spaces.discrete:
            return Source(f"a choice from {number(spaces.first)} on")
        if spaces.rounds:
            return _ranges("whole numbers", map(int, spaces.low), map(int, spaces.high))
        return Source("within its bounds")


def _ranges(what: str, low: Iterable[int], high: Iterable[int]) -> Source:
    """The least and the largest value of each number of an action, as lines of a comment."""
    ranges = [
        f"action[{i}] from {number(a)} to {number(b)}"
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    ]
    return Source(f"{what},\n *     " + ",\n *     ".join(ranges))


def _lines(name: str, words: Mapping[str, int | Source] | None = None) -> Source:
    """Statements of `templates/actions`, without the last line's end."""
    return Source(fill(f"actions/{name}.c", words or {}).rstrip("\n"))


def _count(count: int, noun: str) -> str:
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"
