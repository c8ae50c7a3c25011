"""The learners of several seeds as one: their updates are one compiled call.

All that updates change gets a leading axis of seeds, and the update of one seed is vmapped over it.
Every seed keeps its own random key, batches and statistics: it learns what it would have learned
alone, up to rounding.

On the CPU the kernels take all seeds in one call, and what a sparse layer saves of one seed it
saves of each. On other devices there are no such kernels: plain JAX expands the kept weights to
dense matrices, with zeros elsewhere, and multiplies these, as masks would have it. That saves
nothing of a product; it is for research with many seeds on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.engine.acting import Weights
from sparl.engine.compiled import Functions
from sparl.engine.engine import Engine
from sparl.engine.update import Moving, UpdateInputs
from sparl.methods import RUNNING

AWAY = ("learner", "journal", "method_state")
"""Attributes that an engine does not have while its learner is among others."""


class SeedEngine(Engine):
    """An engine whose learner may be among others that are updated together.

    While it is, whoever reads anything of it but the acting weights has all of it taken out. The
    next update puts it in again.
    """

    _others: Lockstep | None = None
    _number: int = 0

    @property
    def is_among_others(self) -> bool:
        """Whether its learner is away."""
        return "learner" not in vars(self)

    def goes_with(self, other: SeedEngine) -> bool:
        """Whether both are stored in the same shapes, so that one compiled call serves both."""
        return self._compiled is other._compiled

    def weights(self) -> Weights:
        if self._others is None or not self.is_among_others:
            return super().weights()
        return self._others.weights(self._number, self._acting.parts)

    def hold(self) -> None:
        super().hold()
        # On the CPU they are views of memory that an update writes over.
        self._held = {n: (np.array(values), i) for n, (values, i) in (self._held or {}).items()}

    def put_in(self, others: Lockstep, number: int) -> Moving:
        """Gives what updates change of its learner to others."""
        hooks = self.method_state.get(RUNNING, {})
        given = Moving(self.learner.parts, self.journal, hooks)
        rest = {name: value for name, value in self.method_state.items() if name != RUNNING}
        self._still = replace(self.learner, parts={}), rest
        self._others, self._number = others, number
        for name in AWAY:
            delattr(self, name)
        return given

    def take_out(self) -> None:
        """Takes its learner back, if it is among others."""
        if self._others is None or not self.is_among_others:
            return
        taken = self._others.read(self._number)
        learner, rest = self._still
        self.learner, self.journal = replace(learner, parts=taken.parts), taken.journal
        self.method_state = {**rest, RUNNING: taken.hooks} if taken.hooks else rest

    def __getattr__(self, name: str) -> Any:
        """An attribute that is away; Python asks for what it does not find."""
        if name in AWAY and self._others is not None:
            self.take_out()
            return vars(self)[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


class Lockstep:
    """The learners of engines that differ in their seeds alone."""

    def __init__(self, engines: Sequence[SeedEngine]) -> None:
        """Engines of one agent, one method and one environment."""
        self._engines = list(engines)
        self._all: Any = None
        """`Moving`, whose arrays have a leading axis of engines."""
        self._functions: Functions | None = None
        """The compiled ones for the learners that are in."""
        self._on_host: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        """Values and indices of the parts that act, of all engines."""

    def update(self, rows: Mapping[int, NDArray[np.float32]]) -> None:
        """Makes an update of some engines, or several of each.

        Args:
            rows: As for `Engine.update`, by the numbers of the engines. All have one shape, the
                engines go with one another, at updates that change the same parts.
        """
        chosen = {number: self._engines[number] for number in rows}
        for number, engine in enumerate(self._engines):
            if number not in chosen:
                engine.take_out()
        first, any_rows = next(iter(chosen.values())), next(iter(rows.values()))
        before = first.compile_seconds
        if first._compiled is not self._functions:  # a method has changed the shapes of all
            self._all, self._functions = None, first._compiled
        for number, engine in chosen.items():
            if not engine.is_among_others:
                self._write(number, engine.put_in(self, number))
        due = first.due(any_rows)
        words = frozenset().union(*due)
        for name in words:
            self._on_host.pop(name, None)
        parts = self._all.parts
        moving = self._all._replace(parts={n: part for n, part in parts.items() if n in words})
        still = {name: part for name, part in parts.items() if name not in words}
        # Every engine has a place in the call; what comes out at those of others is nobody's.
        filled = [rows.get(number, any_rows) for number in range(len(self._engines))]
        scales = jax.tree.map(lambda *one: np.stack(one), *(e.scales for e in self._engines))
        planned: Any = first._planned
        planned = None if planned is None else np.full(len(self._engines), planned)
        with first._compiling((len(filled), due, any_rows.ndim)):
            inputs = UpdateInputs(still, np.stack(filled), scales, planned)
            moved, errors = first._compiled.updates_of_seeds(moving, inputs, due=due)
        self._all = moved._replace(parts={**still, **moved.parts})
        for number, engine in chosen.items():
            engine._count(rows[number])
            engine.td_errors = None if errors is None else errors[number]
            if engine is not first:  # it has waited, too
                engine.compile_seconds += first.compile_seconds - before

    def weights(self, number: int, parts: Sequence[str]) -> Weights:
        """Values and indices of some parts of an engine, in the memory of the host."""
        for name in parts:
            if name not in self._on_host:
                part = self._all.parts[name]
                self._on_host[name] = np.asarray(part.values), np.asarray(part.indices)
        return {n: (v[number], i[number]) for n, (v, i) in self._on_host.items() if n in parts}

    def read(self, number: int) -> Moving:
        """What updates change of one engine, in memory of its own."""
        return _read(self._all, np.int32(number))

    def _write(self, number: int, one: Moving) -> None:
        if self._all is None:  # places of those that are not in must be valid, too
            count = len(self._engines)
            self._all = jax.tree.map(lambda a: np.repeat(np.asarray(a)[None], count, axis=0), one)
        self._on_host.clear()
        self._all = _written(self._all, one, np.int32(number))


@jax.jit
def _read(everything: Moving, number: Any) -> Moving:
    return jax.tree.map(lambda array: array[number], everything)


@partial(jax.jit, donate_argnums=0)
def _written(everything: Moving, one: Moving, number: Any) -> Moving:
    return jax.tree.map(lambda array, new: array.at[number].set(new), everything, one)
