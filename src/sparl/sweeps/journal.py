"""What Optuna knows of a search: a file in the folder of the sweep, which one process writes.

Optuna is an extra. Each operation is a line on the disk before the next one begins, so a kill at
any moment leaves all that was told. Samplers are seeded anew for each trial, by its number: a
search that was killed draws what it would have drawn.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparl.errors import BadFile, BadRun, BadValue
from sparl.sweeps.space import Space

NAME = "search"
"""Of the study in Optuna's file, and of what sparl keeps with it."""
WARM_UP = 3
"""Trials are not pruned in the first of so many parts of their steps."""
BEFORE = 5
"""So many trials are done before one is pruned."""


def optuna() -> Any:
    """The package.

    Raises:
        BadValue: It is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise BadValue(
            "the study has a search: that needs Optuna, which is not installed: "
            'pip install "sparl[search]"'
        ) from error
    return optuna


class Journal:
    """The trials of a search, as they are asked for and as they end."""

    def __init__(self, path: Path, space: Space) -> None:
        """Opens the file, or begins it. No other process may have it open.

        Raises:
            BadFile: The file is not as Optuna wrote it.
            BadRun: It is of another search.
        """
        self._optuna, self._space, self._path = optuna(), space, path
        try:
            self._study = self._opened()
            known = self._study.user_attrs.get(NAME)
        except Exception as error:  # of what a damaged line makes Optuna do
            raise BadFile(
                f"{path} cannot be read: {type(error).__name__}: {error}",
                file=path,
                way_out="Restore it from a copy, or choose another folder",
            ) from error
        if known is None:
            self._study.set_user_attr(NAME, space.identity)
        elif known != space.identity:
            raise BadRun(
                f"{path} is of another search, and its trials would not compare with those of this "
                "one: only trials and prune may change. Choose another folder"
            )
        for trial in self._all():
            if self.options(trial.number) is None and not trial.state.is_finished():
                self.tell(trial.number, "failed")  # killed while its options were drawn

    def __len__(self) -> int:
        """How many trials were ever begun; they are numbered from 0."""
        return len(self._all())

    def ask(self) -> dict[str, Any]:
        """Begins a trial, whose number is how many there were; gives its options."""
        made = sum(self.options(trial.number) is not None for trial in self._all())
        (seed,) = np.random.SeedSequence([self._space.search.seed, made]).generate_state(1)
        self._study.sampler = self._optuna.samplers.TPESampler(seed=int(seed))
        return self._space.suggest(self._study.ask())

    def options(self, number: int) -> dict[str, Any] | None:
        """The options of a trial; None if the search was killed before it had them."""
        try:
            return self._space.suggest(self._all()[number])
        except ValueError:
            return None

    def state(self, number: int) -> Literal["running", "done", "pruned", "failed"]:
        """Where a trial stands."""
        names: dict[str, Literal["running", "done", "pruned", "failed"]]
        names = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
        return names.get(self._all()[number].state.name, "running")

    def value(self, number: int) -> float | None:
        """What a trial that is done came to."""
        return self._all()[number].value if self.state(number) == "done" else None

    def reported(self, number: int) -> dict[int, float]:
        """A trial's evaluations by their steps."""
        return dict(self._all()[number].intermediate_values)

    def report(self, number: int, step: int, value: float) -> None:
        """Adds an evaluation to a trial that runs."""
        self._trial(number).report(value, step)

    def should_prune(self, number: int) -> bool:
        """Whether a trial's best evaluation is below the median of others at its newest step."""
        return self._space.search.prune and self._trial(number).should_prune()

    def tell(
        self, number: int, state: Literal["done", "pruned", "failed"], value: float | None = None
    ) -> None:
        """Ends a trial; `value` is what it came to if it is done."""
        states = self._optuna.trial.TrialState
        of = {"done": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        self._study.tell(number, value, state=of[state])

    def _opened(self) -> Any:
        journal = self._optuna.storages.journal
        if self._path.exists():
            _cut_half_a_line(self._path)
        file = journal.JournalFileBackend(str(self._path), lock_obj=_NoLock())
        steps = self._space.checked[0].steps
        verbosity = self._optuna.logging.get_verbosity()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        try:
            return self._optuna.create_study(
                study_name=NAME,
                storage=self._optuna.storages.JournalStorage(file),
                pruner=self._optuna.pruners.MedianPruner(BEFORE, n_warmup_steps=steps // WARM_UP),
                direction="maximize",
                load_if_exists=True,
            )
        finally:
            self._optuna.logging.set_verbosity(verbosity)

    def _all(self) -> list[Any]:
        return self._study.get_trials(deepcopy=False)

    def _trial(self, number: int) -> Any:
        return self._optuna.trial.Trial(self._study, self._all()[number]._trial_id)


class _NoLock:
    """In place of Optuna's lock, which a kill leaves behind: the folder is this process's alone."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _cut_half_a_line(path: Path) -> None:
    """Drops a last line that a kill has cut: the next one would be appended to it."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
