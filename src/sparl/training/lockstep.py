"""Several runs that differ in their seeds alone, with their updates made together.

Each is a run of its own, with its environment, its replay and its folder; only what computes an
update is shared. Runs need not be at the same step: those that are resumed may be some steps apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.engine import Lockstep, SeedEngine
from sparl.errors import BadValue, SparlError
from sparl.methods import Method
from sparl.training.interrupt import Interrupt, Interrupted
from sparl.training.trainer import Trainer


def refuse_lockstep(run: RunConfig, agent: Agent, method: Method) -> None:
    """Raises `BadValue` for a run that cannot learn in lockstep with other seeds."""
    way_out = "Leave lockstep out: jobs trains seeds side by side"
    if method.shapes_by_seed:
        raise BadValue(
            f"method is {method.name}: what it leaves of a network depends on what the seed has "
            f"learned, and lockstep computes with arrays of the same shapes for all. {way_out}"
        )
    if run.actors:
        raise BadValue(f"actors is {run.actors}: they learn when they have collected. {way_out}")
    if run.eval_env == "shared":
        raise BadValue(
            f"eval_env is shared: lockstep has an environment for each seed. {way_out}, or use "
            "eval_env own"
        )
    for what in (agent, method):
        try:
            hash(what)
        except TypeError as error:
            raise BadValue(
                f"{what.name} has a field without a hash ({error}), so that seeds would share "
                f"nothing that is compiled: use a tuple for a list, say. {way_out}"
            ) from error


class Ended(NamedTuple):
    """How runs came to their ends that did not come to that of their steps."""

    failed: dict[int, SparlError]
    """What ended those that failed, by their numbers."""
    stopped: Interrupted | None
    """There was a request to stop: the others are saved."""


def train_in_lockstep(
    trainers: Sequence[Trainer], note: Callable[[str], None], tick: Callable[[], None]
) -> Ended:
    """Trains runs to their ends. One that fails ends by itself; the others go on.

    Args:
        trainers: With engines of the kind `SeedEngine`.
        note: Tells the user a sentence.
        tick: Is called after every update.
    """
    engines = [e for trainer in trainers if isinstance(e := trainer.engine, SeedEngine)]
    assert len(engines) == len(trainers)
    lockstep = Lockstep(engines)
    failed: dict[int, SparlError] = {}
    stopped: Interrupted | None = None
    with Interrupt(note) as interrupt, ExitStack() as stack:
        for trainer in trainers:
            trainer.interrupt = interrupt
        courses = [stack.enter_context(closing(trainer.course())) for trainer in trainers]
        going, waiting = set(range(len(courses))), dict[int, NDArray[np.float32]]()
        while going:
            # Environments that take a step elsewhere are asked again when all others have begun
            # theirs, so that they take them at the same time.
            for number in sorted(going - waiting.keys()):
                try:
                    rows = next(courses[number])
                    if rows is not None:
                        waiting[number] = rows
                    continue
                except StopIteration:
                    pass
                except Interrupted as error:
                    stopped = error
                except SparlError as error:
                    failed[number] = error
                going.remove(number)
            if waiting and waiting.keys() >= going:
                together = _alike(engines, waiting)
                lockstep.update({number: waiting.pop(number) for number in together})
                tick()
    return Ended(failed, stopped)


def _alike(engines: Sequence[SeedEngine], waiting: Mapping[int, NDArray[np.float32]]) -> list[int]:
    """The run that has made the fewest updates, and those whose next ones are as its own."""

    def key(number: int) -> tuple[Any, ...]:
        engine, rows = engines[number], waiting[number]
        return rows.shape, engine.due(rows)

    last = min(waiting, key=lambda number: engines[number].updates)
    wanted = key(last)
    return [n for n in waiting if engines[n].goes_with(engines[last]) and key(n) == wanted]
