"""The checkpoints of a run: when one is due, what it holds, and how a run takes one up again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sparl.policy import Policy
from sparl.storage import policy_file
from sparl.training.best import Best
from sparl.training.outbox import described
from sparl.training.parts import Parts
from sparl.training.state import LoopState


class Saver:
    """Saves a run's checkpoints and takes them up; holds the best policy between two of them."""

    def __init__(self, parts: Parts) -> None:
        self._host, self._collector, self._updater = parts.host, parts.collector, parts.updater
        self._logger, self._callbacks = parts.logger, parts.callbacks
        self._updates = 0
        """In the newest checkpoint."""
        self.best = Best()

    def due(self) -> bool:
        """Whether a checkpoint is to be saved as soon as an episode ends."""
        state, every = self._host.state, self._host.config.checkpoint_every
        # Without a step, as from logs before the first one, updates count.
        updates = state.updates - self._updates if state.step == state.checkpointed else 0
        return state.step - state.checkpointed >= every or updates >= every

    def evaluated(self, step: int, mean_return: float) -> None:
        """Keeps the policy that was evaluated at a step if it is the best."""
        if self.best.offer(step, mean_return, self._host.policy):
            self._host.state.best = self.best.score

    def save(self) -> None:
        """Saves a checkpoint of now, unless there is one.

        Raises:
            Diverged: A loss was not finite.
            OSError: The disk is full, for example.
        """
        host, state = self._host, self._host.state
        self._updater.check_finite(host.way_out)
        # Updates may have been made without a step: from logs, before the first one.
        if (state.checkpointed, self._updates) == (state.step, state.updates):
            return
        state.marks = self._logger.marks()
        state.checkpointed, self._updates = state.step, state.updates
        # Whoever resumes has no older weights to act by.
        host.engine.release()
        state.rng = dict(host.rng.bit_generator.state)
        # Whoever resumes begins other episodes than those under way.
        saved = asdict(state) | {"episode": state.episode + self._collector.under_way}
        held = (host.engine.arrays | host.replay.arrays, host.engine.layouts)
        best = None if self.best.policy is None else self.best.policy.save
        path = host.folder.checkpoints.save(state.step, *held, saved, host.replay, best)
        self._callbacks.tell("on_checkpoint", state.step, path)

    def load(self, step: int) -> LoopState:
        """Takes up the checkpoint of `step`; what the logs say beyond it is cut off."""
        host, checkpoints = self._host, self._host.folder.checkpoints
        loaded = checkpoints.load(step, self._template)
        checkpoints.load_replay(step, host.replay)
        state = LoopState.from_json(loaded.state, loaded.file)
        policy = None
        if state.best is not None:
            stored, _ = policy_file.read(checkpoints.best(step))
            policy = Policy(stored.network, stored.spaces, stored.golden, stored.normalization)
        self.best = Best(state.best, policy)
        host.engine.restore(loaded.arrays, host.engine.template(loaded.layouts))
        host.replay.restore_arrays(loaded.arrays)
        self._updates = state.updates
        checkpoints.forget_beyond(step)  # first: they belong to logs that are cut now
        host.rng.bit_generator.state = state.rng
        self._logger.resume(state.step, state.marks)
        self._updater.footprint = host.engine.footprint
        return state

    def failure(self, error: OSError) -> str:
        """A sentence on a checkpoint that could not be saved, without the stop at its end."""
        why = described(error, self._host.folder.path)
        return f"step {self._host.state.step} cannot be saved: {why}"

    def _template(self, layouts: dict[str, Any]) -> dict[str, Any]:
        return self._host.engine.template(layouts).arrays | self._host.replay.arrays
