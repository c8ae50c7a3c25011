"""A new run that prunes what another one has learned, with its replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparl.config import Show, spelling
from sparl.errors import BadValue
from sparl.launch import starting
from sparl.methods import METHODS, Method
from sparl.storage import RunFolder
from sparl.training import Callback, snapshot


def prune(
    path: str | Path,
    method: Method,
    steps: int,
    env: Any,
    out: str | Path | None,
    callbacks: Sequence[Callback],
    quiet: bool,
    progress: Show | None,
    trust: bool,
) -> RunFolder:
    """Prunes what a run has learned; see `sparl.prune`."""
    if not method.prunes:
        fitting = ", ".join(name for name, kind in METHODS.usable().items() if kind.prunes)
        raise BadValue(
            f"{method.name} does not choose by what a network has learned. What prunes: {fitting}"
        )
    source = RunFolder.open(path, trust)
    run, agent, _, spaces = source.read_config()
    run = run if env is None else starting.in_environment(run, env)
    engine, state = snapshot(source)
    begun_from = str(source.checkpoints.path(state.step).absolute())
    # A return to stop at was meant for a network with all its weights.
    other = {"pretrain_updates": 0, "stop_at_return": None, "transferred": False}
    run = replace(run, steps=steps, begun_from=begun_from, **other)
    folder = starting.new_folder(out, run, method)
    agent, method = agent.continued(state.step), spelling.as_trained(method)
    with starting.trainer(folder, run, agent, method, callbacks, quiet, progress) as trainer:
        starting.refuse_other_spaces(trainer, spaces)
        trainer.begin_with(engine.learner)
        trainer.engine.normalize_as(engine)
        source.checkpoints.load_replay(state.step, trainer.replay)
        trainer.replay.cut()
        trainer.state.go_on_from(state)
        starting.begin(trainer)
    return folder
