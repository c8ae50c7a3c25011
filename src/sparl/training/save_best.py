"""A callback that keeps the best policy by a measure of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sparl.errors import BadFile
from sparl.storage import files, schema
from sparl.training.best import Best, Score
from sparl.training.callbacks import Callback
from sparl.training.collector import Host
from sparl.training.evaluation import Evaluation

FILE = "best.json"
"""Beside the policy: its step, its score, the weights that it keeps, and whose it is."""
RUN = "run"
"""The entry of that file that has the folder of the run."""


def _mean_return(evaluation: Evaluation) -> float:
    return evaluation.mean_return


class SaveBest(Callback):
    """Saves the best policy so far into a folder as soon as it is evaluated.

    Every run keeps that of its highest mean return as `policy-best/`. This is for other measures,
    and for a folder that another program watches. `sparl.load` reads the folder.
    """

    def __init__(
        self, folder: str | Path, score: Callable[[Evaluation], float] = _mean_return
    ) -> None:
        """
        Args:
            folder: Holds a whole policy from the first evaluation on, and `best.json` with its
                step and score. A run that is resumed goes on with what is there.
            score: What is best, of an evaluation; the mean return if not given.
        """
        self.folder, self.score, self._best = Path(folder), score, Best()

    def on_start(self, trainer: Host) -> None:
        """Takes up what is in the folder, unless it is beyond the step where the run goes on."""
        self._trainer = trainer
        files.recover_folder(self.folder)
        file = self.folder / FILE
        content = files.read_json(file) if file.exists() else {}
        run = content.pop(RUN, None) if isinstance(content, dict) else None
        # A run that was killed before its first checkpoint begins again, and so does this. Of a
        # run that was moved since, nothing is at the path that is recorded.
        if run != str(trainer.folder.path) and (
            not trainer.state.step or (isinstance(run, str) and Path(run).exists())
        ):
            self._refuse_what_is_there()
        if trainer.state.step and content:
            score = schema.convert(content, Score, file)
            if score.step <= trainer.state.step:
                self._best = Best(score)

    def _refuse_what_is_there(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise BadFile(
                f"{self.folder} is not empty. Choose another folder for the best policy",
                file=self.folder,
            )

    def on_evaluation(self, step: int, evaluation: Evaluation) -> None:
        """Saves the policy if it is the best."""
        if self._best.offer(step, self.score(evaluation), self._trainer.policy):
            assert self._best.policy is not None and self._best.score is not None
            with files.replaced_folder(self.folder) as folder:
                self._best.policy.save(folder)
                of = {RUN: str(self._trainer.folder.path)}
                files.write_json(folder / FILE, asdict(self._best.score) | of)
