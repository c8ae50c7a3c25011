"""What a search may choose: for options by their names a range, or a list of choices.

search:
  trials: 30
  options:
    learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
    method: [dense, rnm]
    pattern: [2:4, 1:8]

`agent` and `method` are chosen first. An option that the chosen ones do not have is left out: here
`pattern` where the method is dense.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, Literal

from sparl import validation
from sparl.errors import BadValue
from sparl.sweeps.study import Job, Study, kinds_of, option_names
from sparl.validation import shown

FIRST = ("agent", "method")
"""Options on which it depends which others there are."""
MEASURES = {"steps", "eval_every", "eval_episodes", "eval_env"}
"""What trials are measured by, which is the same for all."""
MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: int | float
    high: int | float
    log: bool = False
    """Draw the logarithm evenly."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise BadValue(f"low is {self.low}, and high {self.high}: low must be below high")
        if self.log:
            validation.positive(low=self.low)

    @property
    def values(self) -> dict[str, int | float]:
        """The ends."""
        return {str(self.low): self.low, str(self.high): self.high}

    def suggest(self, trial: Any, name: str, whole: bool) -> int | float:
        """A number that the sampler suggests to a trial of Optuna."""
        if whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, float(self.low), float(self.high), log=self.log)


@dataclass(frozen=True)
class Choices:
    """One of several values, which Optuna knows by their texts."""

    values: dict[str, Any]

    def suggest(self, trial: Any, name: str, whole: bool) -> Any:
        """A value that the sampler suggests to a trial of Optuna."""
        return self.values[trial.suggest_categorical(name, tuple(self.values))]


@dataclass(frozen=True)
class Search:
    """How many trials, of which options, and by what they are measured."""

    options: dict[str, Any]
    """By name what may be chosen: a `Range` or `Choices`."""
    trials: int
    maximize: Literal["final_return", "best_return"] = "final_return"
    """The mean of a run's last evaluations, or its best one; over seeds their mean."""
    prune: bool = True
    """End a trial whose best evaluation so far is below the median of others at that step."""
    seed: int = 0
    """Of the sampler."""

    def __post_init__(self) -> None:
        validation.at_least(1, trials=self.trials)
        validation.at_least(0, seed=self.seed)
        if self.trials > MOST_TRIALS:
            raise BadValue(f"trials is {self.trials}: {MOST_TRIALS} are the most")

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Search:
        """A search from what a study says of it.

        Raises:
            BadValue: A name that a search does not have, or a value of another kind.
        """
        names = [field.name for field in fields(cls)]
        for name in content:
            if name not in names:
                raise BadValue(f"search has {shown(name)}: a search has {', '.join(names)}")
        for name in ("trials", "options"):
            if not content.get(name):
                raise BadValue(f"search has no {name}: give one at least")
        given = content["options"]
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise BadValue(f"search: options is {shown(given)}: write names, and what to choose")
        options = {name.replace("-", "_"): _read(name, value) for name, value in given.items()}
        for name in options.keys() & MEASURES:
            raise BadValue(f"search: {name} cannot be searched: trials are measured by it")
        first = {name: options[name] for name in FIRST if name in options}
        return cls(**validation.converted(cls, dict(content) | {"options": first | options}))


class Space:
    """The search of a study: what its trials are made of. All of it is checked."""

    def __init__(self, study: Study) -> None:
        """
        Args:
            study: One with a search.

        Raises:
            BadValue: Several environments; an option that no agent or method of the search has; a
                value that an option cannot have.
        """
        self.study, self.search = study, Search.of(study.search or {})
        if len(study.envs) != 1:
            raise BadValue(f"search is over {len(study.envs)} envs: give one")
        self.env = study.envs[0]
        self.checked = self._checked()
        """Runs at the ends of all ranges, and of each choice."""
        if not self.checked[0].run.eval_episodes:
            raise BadValue("search goes by evaluations, and eval_episodes is 0. Let runs make some")

    @property
    def identity(self) -> dict[str, Any]:
        """The same for searches whose trials compare: they may differ in how many there are."""
        found = asdict(self.search) | {"options": [job.words for job in self.checked]}
        logs = [n for n, space in self.search.options.items() if getattr(space, "log", False)]
        found |= {"seeds": list(self.study.seeds), "log": logs}
        return {name: value for name, value in found.items() if name not in ("trials", "prune")}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The options of a trial.

        Args:
            trial: Of Optuna: a new one, for which they are sampled, or one that has them.

        Raises:
            ValueError: It is not new, and lacks some.
        """
        chosen: dict[str, Any] = {}
        for name, space in self.search.options.items():
            if self._has(chosen, name):
                chosen[name] = space.suggest(trial, name, name in self._whole)
        return chosen

    def jobs(self, number: int, options: Mapping[str, Any]) -> list[Job]:
        """The runs of a trial, one for each seed.

        Raises:
            BadValue: Options that do not go together.
        """
        name = f"trial-{number}"
        return [self.study.job(self.env, name, options, seed) for seed in self.study.seeds]

    def _has(self, chosen: Mapping[str, Any], name: str) -> bool:
        """Whether there is such an option with the agent and the method that are chosen."""
        kinds = kinds_of({**self.study.options, **chosen})
        return name in FIRST or any(name in names for names in option_names(*kinds))

    def _checked(self) -> list[Job]:
        """The runs that `checked` is, for each agent with each method; notes what is whole."""
        options, used = self.search.options, set[str]()
        made: list[Job] = []
        self._whole: set[str] = set()
        first = {name: options[name].values.values() for name in FIRST if name in options}
        for kinds in product(*first.values()):
            chosen = dict(zip(first, kinds, strict=True))
            there = [name for name in options if self._has(chosen, name)]
            lowest = {name: next(iter(options[name].values.values())) for name in there} | chosen
            used |= {*there}
            for name in there:
                for value in [lowest[name]] if name in FIRST else options[name].values.values():
                    (job, *_) = self.jobs(0, lowest | {name: value})
                    made.append(job)
                    if isinstance(options[name], Range) and _is_whole(job, name):
                        self._whole.add(name)
        for name in options.keys() - used:
            raise BadValue(
                f"search: there is no option {name} of a run, or of an agent and a method that are "
                "chosen: sparl train --help-all tells those that there are"
            )
        return made


def _read(name: str, given: Any) -> Range | Choices:
    if isinstance(given, Mapping):
        try:
            return Range(**validation.converted(Range, dict(given)))
        except (BadValue, TypeError) as error:
            why = error if isinstance(error, BadValue) else f"{shown(given)} is no range"
            raise BadValue(
                f"search: {name}: {why}. Write {{low: 1.0e-4, high: 1.0e-2, log: true}}, say"
            ) from error
    if not isinstance(given, list | tuple) or not given:
        raise BadValue(f"search: {name} is {shown(given)}: give low and high, or a list")
    if name in FIRST and not all(isinstance(value, str) for value in given):
        raise BadValue(f"search: {name} is {shown(given)}: write names")
    values = {_text(name, value): value for value in given}
    if len(values) < len(given):
        raise BadValue(f"search: {name} is {shown(given)}: give each choice once")
    return Choices(values)


def _text(name: str, value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError) as error:
        raise BadValue(f"search: {name} has {shown(value)}, which no file can record") from error


def _is_whole(job: Job, name: str) -> bool:
    """Whether an option is a whole number."""
    parts = (job.run, job.agent, job.method)
    return any(isinstance(getattr(part, name, None), int) for part in parts)
