"""What the newest checkpoint of a run holds, to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sparl.engine import Engine
from sparl.errors import BadRun
from sparl.networks import accounting
from sparl.policy import Policy
from sparl.replay import Columns
from sparl.storage import RunFolder
from sparl.training.state import LoopState


def snapshot(folder: RunFolder) -> tuple[Engine, LoopState]:
    """The newest checkpoint of a run, to look at. Raises `BadRun` where there is none."""
    run, agent, method, spaces = folder.read_config()
    saved = folder.checkpoints.steps()
    if not saved:
        raise BadRun(f"{folder.path} has no checkpoint yet")
    columns = Columns(spaces.observation_size, spaces.action_size, spaces.discrete, agent.extras)
    engine = Engine(agent, method, columns, run.seed, run.normalize_observations)
    loaded = folder.checkpoints.load(saved[-1], lambda layouts: engine.template(layouts).arrays)
    engine.restore(loaded.arrays, engine.template(loaded.layouts))
    return engine, LoopState.from_json(loaded.state)


class Explorer:
    """Acts as the agent of a run explores, by the run's newest checkpoint."""

    def __init__(self, folder: RunFolder) -> None:
        self._spaces = folder.read_config().spaces
        self._engine, self._state = snapshot(folder)
        self._rng = np.random.default_rng()

    def __call__(self, observation: Any) -> Any:
        """The action for one observation, or the actions for a batch, as the environment takes
        them."""
        flat = self._spaces.flat(observation)
        actions = [
            np.asarray(self._engine.explore(one, self._state.step, self._rng))
            for one in np.atleast_2d(flat)
        ]
        batch = self._spaces.to_env_action(np.stack(actions))
        return batch[0] if flat.ndim == 1 else batch


def load_policy(path: str | Path) -> Policy:
    """The policy of a run folder, or of a folder that `Policy.save` wrote.

    Of a run that has not come to its end, the policy of its newest checkpoint.
    """
    path = Path(path)
    if (path / "policy.json").exists():
        return Policy.load(path)
    folder = RunFolder.open(path)
    if (folder.policy / "policy.json").exists():
        return Policy.load(folder.policy)
    engine, _ = snapshot(folder)
    spaces = folder.read_config()[3]
    golden = np.zeros((1, spaces.observation_size), np.float32)
    return Policy(engine.policy(), spaces, golden, engine.normalization)


def inspect(path: str | Path) -> dict[str, Any]:
    """What a run's networks hold, from its newest checkpoint; or the policy of a policy folder.

    The keys are those of `sparl inspect --json`: those of `accounting.report`, and whether the
    networks see `normalized_observations`.
    """
    path = Path(path)
    if (path / "policy.json").exists():
        policy = Policy.load(path)
        report, seen = accounting.report({"policy": policy.network}), policy.normalization
    else:
        engine, state = snapshot(RunFolder.open(path))
        average = state.average_footprint
        report, seen = engine.report(average and average.compression_ratio), engine.normalization
    return report | {"normalized_observations": seen is not None}
