"""What the newest checkpoint of a run holds, to look at."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.config import NotImported, RunConfig
from sparl.engine import Engine
from sparl.envs import Spaces
from sparl.errors import BadFile, BadRun, BadValue
from sparl.layouts import blank
from sparl.networks import accounting, plain
from sparl.policy import GOLDEN, Policy
from sparl.storage import RunFolder, StateFile
from sparl.training.compatibility import columns_of, engine_of
from sparl.training.state import LoopState
from sparl.validation import shown

SMALL = 2**30
"""Bytes of networks that are made whatever a checkpoint holds."""
LARGEST_CUT = 1000
"""Of as many weights a method may leave one."""
MOST_LAYERS = 1000
Which = Literal["final", "best"]
"""Of the policies of a run: the last one, or the one of the best evaluation."""


def snapshot(folder: RunFolder) -> tuple[Engine, LoopState]:
    """The newest checkpoint of a run, to look at. Raises `BadRun` where there is none."""
    run, agent, method, spaces = folder.read_config(env=False)
    saved = folder.checkpoints.steps()
    if not saved:
        raise BadRun(f"{folder.path} has no checkpoint yet")
    refuse_beyond(folder, saved[-1], agent, spaces)
    engine = engine_of(run, agent, method, columns_of(run, agent, spaces))
    loaded = folder.checkpoints.load(saved[-1], lambda layouts: engine.template(layouts).arrays)
    engine.restore(loaded.arrays, engine.template(loaded.layouts))
    return engine, LoopState.from_json(loaded.state, loaded.file)


def refuse_beyond(folder: RunFolder, step: int, agent: Any, spaces: Spaces) -> None:
    """Checks that a config.json claims no networks that are far larger than its checkpoint.

    Their arrays are made before those of the checkpoint are compared with them.

    Args:
        folder: Of the run.
        step: Of the checkpoint.
        agent: In config.json.
        spaces: In config.json.

    Raises:
        BadFile: They are.
    """
    hidden = (*getattr(agent, "hidden", ()), *getattr(agent, "critic_hidden", ()))
    units = getattr(agent, "representation_units", 0) if agent.ofenet else 0
    widths = (*hidden, units, spaces.observation_size, spaces.action_size)
    learner = folder.checkpoints.path(step) / "learner.safetensors"
    held = learner.stat().st_size if learner.exists() else 0
    if 4 * max(widths) * sum(widths) > SMALL + LARGEST_CUT * held or len(widths) > MOST_LAYERS:
        raise BadFile(
            f"{folder.path / 'config.json'} has layers of widths {shown(widths)}, far more than "
            f"{learner} has numbers for ({held} bytes)",
            file=folder.path / "config.json",
            field="agent.hidden",
            value=hidden,
        )


class Explorer:
    """Acts as the agent of a run explores, by the run's newest checkpoint."""

    def __init__(self, folder: RunFolder) -> None:
        self._engine, self._state = snapshot(folder)
        self._rng = np.random.default_rng()

    def __call__(self, flat: NDArray[np.float32]) -> NDArray[Any]:
        """[batch, obs] to [batch, act] in [-1, 1], or to numbers of discrete actions [batch]."""
        return self._engine.explore(flat, self._state.step, self._rng)


def load_policy(path: str | Path, which: Which = "final") -> Policy:
    """The policy of a run folder, or of a folder that `Policy.save` wrote.

    Of a run that has not come to its end, the policy of its newest checkpoint.

    Args:
        which: The final policy of a run, or the one of its best evaluation.

    Raises:
        BadRun: The run has no best policy, or no policy at all yet.
        BadValue: The best policy is asked of a folder that holds one policy.
    """
    path = Path(path)
    if (path / "policy.json").exists():
        if which == "best":
            raise BadValue(f"which is best, and {path} holds one policy. Name the folder of a run")
        return Policy.load(path)
    folder = RunFolder.open(path)
    if which == "best":
        return Policy.load(_best_folder(folder))
    if (folder.policy / "policy.json").exists():
        return Policy.load(folder.policy)
    engine, state = snapshot(folder)
    spaces, width = folder.record().spaces, engine.columns.width
    golden = folder.checkpoints.newest_rows(state.step, GOLDEN, width)[:, : spaces.observation_size]
    if not len(golden):
        golden = np.zeros((1, spaces.observation_size), np.float32)
    return Policy(engine.policy(), spaces, golden, engine.normalization)


def _best_folder(folder: RunFolder) -> Path:
    """Where a run's best policy is: in its folder, or in its newest checkpoint before it ends."""
    saved = folder.checkpoints.steps()
    of_checkpoint = [folder.checkpoints.best(saved[-1])] if saved else []
    for path in (folder.best_policy, *of_checkpoint):
        if (path / "policy.json").exists():
            return path
    raise BadRun(
        f"{folder.path} has no best policy: it saved none after an evaluation. Ask for the final "
        "one: which final"
    )


def inspect(path: str | Path) -> dict[str, Any]:
    """What a run's networks hold, from its newest checkpoint; or the policy of a policy folder.

    The keys are those of `sparl inspect --json`: those of `accounting.report`, and whether the
    networks see `normalized_observations`.
    """
    path = Path(path)
    if (path / "policy.json").exists():
        policy = Policy.load(path)
        report, seen = accounting.report({"policy": policy.network}), policy.normalization
        return report | {"normalized_observations": seen is not None}
    folder = RunFolder.open(path)
    recorded = folder.record()
    if any(isinstance(part, NotImported) for part in (recorded.agent, recorded.method)):
        return _inspect_layouts(folder, recorded.run)
    engine, state = snapshot(folder)
    average = state.average_footprint
    report = engine.report(average and average.compression_ratio)
    return report | {"normalized_observations": engine.normalization is not None}


def _inspect_layouts(folder: RunFolder, run: RunConfig) -> dict[str, Any]:
    """What `inspect` can tell of a run whose agent or method is not imported.

    The layouts in its checkpoint tell of every layer how it is stored. What the agent would add is
    left out: targets, norms, shapes before neurons were cut out, and the fullest groups.
    """
    file, content = _newest(folder)
    state = LoopState.from_json(content.state, file)
    networks = {
        # Shapes in place of arrays: nothing of the size that a file claims is made.
        name: plain([jax.eval_shape(partial(blank, layer)) for layer in layers])
        for part in content.plain_layouts.values()
        for name, layers in part.items()
    }
    average = state.average_footprint
    report = accounting.report(networks, None, average and average.compression_ratio)
    return report | {"normalized_observations": run.normalize_observations}


def _newest(folder: RunFolder) -> tuple[Path, StateFile]:
    saved = folder.checkpoints.steps()
    if not saved:
        raise BadRun(f"{folder.path} has no checkpoint yet")
    file = folder.checkpoints.path(saved[-1]) / "state.json"
    return file, folder.checkpoints.read_state(saved[-1])
