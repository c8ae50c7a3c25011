"""What Optuna knows of a search: a file in the folder of the sweep, which one process writes.

Optuna is an extra. Each operation is a line on the disk before the next one begins, so a kill at
any moment leaves all that was told. Samplers are seeded anew for each trial, by its number: a
search that was killed draws what it would have drawn.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sparl.errors import BadFile, BadRun, BadValue
from sparl.sweeps.space import Space

NAME = "search"
"""Of the study in Optuna's file, and of what sparl keeps with it."""
WARM_UP = 3
"""Trials are not pruned in the first of so many parts of their steps."""
BEFORE = 5
"""So many trials are done before one is pruned."""
Ended = Literal["done", "pruned", "failed"]
STATES: dict[str, Ended] = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
"""By Optuna's names."""


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


class Asked(NamedTuple):
    """A trial as Optuna has it."""

    number: int
    state: Literal["running", "done", "pruned", "failed"]
    value: float | None
    """What it came to, if it is done."""
    evaluations: dict[int, float]
    """Returns by steps."""
    options: dict[str, Any] | None
    """None if the search was killed before it had them all."""


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
        self._options: dict[int, dict[str, Any]] = {}
        for trial in self.trials():
            if trial.options is None and trial.state == "running":
                self.tell(trial.number, "failed")  # killed while its options were drawn

    def trials(self) -> list[Asked]:
        """All trials, in the order of their numbers."""
        return list(map(self._read, self._study.get_trials(deepcopy=False)))

    def trial(self, number: int) -> Asked:
        """One of them."""
        return self._read(self._study.get_trials(deepcopy=False)[number])

    def ask(self) -> Asked:
        """Begins a trial."""
        made = sum(trial.options is not None for trial in self.trials())
        (seed,) = np.random.SeedSequence([self._space.search.seed, made]).generate_state(1)
        self._study.sampler = self._optuna.samplers.TPESampler(seed=int(seed))
        begun = self._study.ask()
        self._options[begun.number] = self._space.suggest(begun)
        return self.trial(begun.number)

    def report(self, number: int, step: int, value: float) -> None:
        """Adds an evaluation to a trial that runs."""
        self._trial(number).report(value, step)

    def should_prune(self, number: int) -> bool:
        """Whether a trial's best evaluation is below the median of others at its newest step."""
        return self._space.search.prune and bool(self._trial(number).should_prune())

    def tell(self, number: int, state: Ended, value: float | None = None) -> None:
        """Ends a trial; `value` is what it came to if it is done."""
        (name,) = (name for name, called in STATES.items() if called == state)
        self._study.tell(number, value, state=self._optuna.trial.TrialState[name])

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

    def _read(self, trial: Any) -> Asked:
        if trial.number not in self._options:
            with suppress(ValueError):  # Optuna's, where one of them is missing
                self._options[trial.number] = self._space.suggest(trial)
        state: Ended | Literal["running"] = STATES.get(trial.state.name, "running")
        return Asked(
            trial.number,
            state,
            trial.value if state == "done" else None,
            dict(trial.intermediate_values),
            self._options.get(trial.number),
        )

    def _trial(self, number: int) -> Any:
        frozen = self._study.get_trials(deepcopy=False)[number]
        return self._optuna.trial.Trial(self._study, frozen._trial_id)


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
