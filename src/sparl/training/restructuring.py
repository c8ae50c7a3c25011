"""When the method of a run restructures, and who is told of it."""

from __future__ import annotations

from collections.abc import Sequence

from sparl.engine import Engine
from sparl.methods import Moment
from sparl.training.callbacks import Callback
from sparl.training.logger import Logs
from sparl.training.state import LoopState


def restructured(
    engine: Engine, state: LoopState, updates: int, logs: Logs, callbacks: Sequence[Callback]
) -> bool:
    """Whether the update just made, of the `updates` of the agent in all, was one after which the
    method restructures; it is done then.

    A method's time is the agent's: the updates of a representation alone, before the agent's begin,
    do not count.
    """
    made = engine.updates - engine.config.updates_before
    stage = engine.method.stage(made, updates) if made > 0 else None
    if stage is None:
        return False
    before = engine.shapes
    figures = engine.restructure(stage, Moment(made, updates, state.recent_returns))
    if figures is None:
        return False
    logs.restructured(state.step, engine.updates, figures)
    for warning in engine.method.warnings(figures):
        logs.warn(state.step, warning)
    if engine.shapes != before:
        logs.shrunk(state.step, before, engine)
    for callback in callbacks:
        callback.on_restructure(state.step, figures)
    return True
