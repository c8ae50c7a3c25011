"""A study: environments x variants x seeds. Every run of it is checked before one begins.

envs: [HalfCheetah-v5, Walker2d-v5]
seeds: 0-4
steps: 300_000
options:
  hidden: [256, 256]
variants:
  dense: {}
  sparse: {method: rnm, pattern: 1:8}

In place of variants a study may have a search: see `Search`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from sparl import launch, validation
from sparl.agents import AGENTS, Agent
from sparl.config import RunConfig, run_file, spelling, words, yaml_file
from sparl.config.run import RECORDED
from sparl.envs import folder_name
from sparl.errors import BadValue, SparlError
from sparl.methods import METHODS, Method
from sparl.storage.system import WINDOWS
from sparl.validation import shown

KEYS = ("envs", "variants", "seeds", "steps", "options", "search", "lockstep")
"""What a study may have."""
NOT_OPTIONS = {"env", "seed", *RECORDED}
"""Fields of `RunConfig` that a study gives elsewhere, or that sparl fills in."""
NAME = re.compile(r"\w[\w.,:=+ -]*")
"""Of a variant: it is a part of a folder's name."""
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Job:
    """One run of a study: a variant with a seed in an environment."""

    env: str
    """As the study has it."""
    variant: str
    seed: int
    run: RunConfig
    agent: Agent
    method: Method

    @property
    def name(self) -> str:
        """Its run folder in the folder of the sweep: `ENV/VARIANT-SEED`."""
        return f"{folder_name(self.env)}/{self.variant}-{self.seed}"

    @property
    def steps(self) -> int:
        """Environment steps in all."""
        return self.run.steps

    @cached_property
    def words(self) -> list[str]:
        """The words behind `sparl` that make this run, without a folder."""
        return spelling.command(self.run, self.agent, self.method)[1:]

    @cached_property
    def identity(self) -> list[str]:
        """The same words for runs that differ in their steps alone."""
        return spelling.command(dataclasses.replace(self.run, steps=1), self.agent, self.method)[1:]


@dataclass(frozen=True)
class Study:
    """Environments x variants x seeds, as they are written down."""

    envs: tuple[str, ...]
    variants: Mapping[str, Mapping[str, Any]]
    """By name the options of `sparl train` that make it, agent and method among them."""
    seeds: tuple[int, ...]
    options: Mapping[str, Any]
    """What all variants have, unless they say otherwise; steps among it."""
    search: Mapping[str, Any] | None = None
    """In place of variants: see `Search`."""
    lockstep: bool = False
    """Whether the seeds of a variant learn together in one process."""

    @classmethod
    def read(cls, path: Path) -> Study:
        """The study in a YAML file.

        Raises:
            BadFile: The file cannot be read.
            BadValue: As `of`.
        """
        return cls.of(yaml_file.read(path), str(path))

    @classmethod
    def of(cls, content: Mapping[str, Any], called: str = "the study") -> Study:
        """A study from what a file of it says.

        Args:
            content: Values by the names in `KEYS`.
            called: What messages call it.

        Raises:
            BadValue: A name that a study does not have, or a value of another kind; variants
                beside a search.
        """
        for name in content:
            if name not in KEYS:
                raise BadValue(f"{called} has {shown(name)}: a study has {', '.join(KEYS)}")
        searches = content.get("search") is not None
        if searches and content.get("variants"):
            raise BadValue(
                f"{called} has variants and a search, which makes its own: leave one of them out. "
                "What variants differ in can be options of the search"
            )
        for name in ("envs",) if searches else ("envs", "variants"):
            if not content.get(name):
                raise BadValue(f"{called} has no {name}: give one at least")
        lockstep = content.get("lockstep", False)
        if not isinstance(lockstep, bool) or (lockstep and searches):
            raise BadValue(
                f"{called}: lockstep is {shown(lockstep)}: it is true or false, and not for a "
                "search, whose trials differ in their options"
            )
        given = content["envs"]
        envs = [given] if isinstance(given, str) else given
        if not isinstance(envs, list | tuple) or not all(isinstance(env, str) for env in envs):
            raise BadValue(f"{called}: envs is {shown(given)}: it must be a list of names")
        variants = _mapping(content.get("variants"), f"{called}: variants")
        for name in variants:
            if not NAME.fullmatch(name):
                raise BadValue(
                    f"{called}: a variant is called {shown(name)}: begin with a letter or a digit, "
                    "and go on with these and with . , : = + - and spaces"
                )
            if WINDOWS and ":" in name:
                raise BadValue(
                    f"{called}: a variant is called {shown(name)}, as its folder is, and Windows "
                    "has no colons in such names"
                )
        made = {n: _mapping(o, f"{called}: variant {n}") for n, o in variants.items()}
        shared = _mapping(content.get("options"), f"{called}: options")
        steps = {"steps": content["steps"]} if "steps" in content else {}
        seeds = _seeds(content.get("seeds", 0), called)
        search = _mapping(content["search"], f"{called}: search") if searches else None
        return cls(tuple(envs), made, seeds, steps | shared, search, lockstep)

    def job(self, env: str, variant: str, given: Mapping[str, Any], seed: int) -> Job:
        """The run of a variant.

        Args:
            given: What makes it, by names as in `variants`.

        Raises:
            BadValue: An option that it does not have, or that has no such value.
        """
        options = run_file.underscored(self.options) | run_file.underscored(given)
        return _job(env, variant, options, seed)

    def jobs(self) -> list[Job]:
        """All runs, seed by seed: of each seed every variant in every environment.

        Raises:
            BadValue: An option that a variant does not have, or that has no such value; two
                variants or two environments that could not be told apart.
        """
        jobs = [
            self.job(env, name, self.variants[name], seed)
            for seed, env, name in product(self.seeds, self.envs, self.variants)
        ]
        for what in ("name", "words"):
            found: dict[Any, Job] = {}
            for job in jobs:
                other = found.setdefault(str(getattr(job, what)), job)
                if other is not job:
                    raise BadValue(
                        f"{other.variant} in {other.env} and {job.variant} in {job.env} are the "
                        f"same with seed {job.seed}: leave one out, or let them differ"
                    )
        return jobs


def kinds_of(given: Mapping[str, Any]) -> tuple[type[Agent], type[Method]]:
    """The agent and the method that options name.

    Raises:
        BadValue: There is none of that name.
    """
    agent = AGENTS.find(str(given.get("agent", "td3")))
    return agent, METHODS.find(str(given.get("method", "dense")))


def option_names(agent: type[Agent], method: type[Method]) -> tuple[set[str], set[str], set[str]]:
    """The options of a run, of an agent and of a method that a study may give."""
    return _names(RunConfig) - NOT_OPTIONS, _names(agent), _names(method)


def _mapping(value: Any, what: str) -> dict[str, Any]:
    value = {} if value is None else value
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise BadValue(f"{what} is {shown(value)}: write names, and a value for each")
    return dict(value)


def _seeds(given: Any, called: str) -> tuple[int, ...]:
    """Seeds of a number, of a text like 0-9, or of a list of both."""
    seeds: list[int] = []
    for entry in given if isinstance(given, list | tuple) else [given]:
        ends = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", str(entry))
        if isinstance(entry, bool) or not ends:
            raise BadValue(f"{called}: seeds has {shown(entry)}: write 0-9, or a list of numbers")
        first = int(ends[1])
        last = int(ends[2] or first)
        if last < first:
            raise BadValue(f"{called}: seeds has {entry}: write the lower end first")
        if last - first >= MOST_SEEDS:
            raise BadValue(f"{called}: seeds has {entry}: {MOST_SEEDS:,} are the most")
        seeds += range(first, last + 1)
    if not seeds or len(seeds) > MOST_SEEDS or len(set(seeds)) < len(seeds):
        raise BadValue(f"{called}: seeds is {shown(given)}: give each seed once, and one at least")
    return tuple(seeds)


def _job(env: str, variant: str, given: Mapping[str, Any], seed: int) -> Job:
    try:
        agent, method = kinds_of(given)
        named = {name: v for name, v in given.items() if name not in ("agent", "method")}
        own = run_file.underscored(named)
        of_run, of_agent, of_method = option_names(agent, method)
        for name in own.keys() - of_run - of_agent - of_method:
            raise BadValue(
                f"there is no option {name} of a run, of agent {agent.name} or of method "
                f"{method.name}: sparl train --help-all --agent {agent.name} "
                f"--method {method.name} tells those that there are"
            )
        run = {name: own[name] for name in own.keys() & of_run}
        wrappers = run.get("wrappers")
        if isinstance(wrappers, list) and all(isinstance(word, str) for word in wrappers):
            run["wrappers"] = words.wrappers_of(wrappers)
        for_method = {name: own[name] for name in own.keys() & of_method}
        for_agent = {name: own[name] for name in own.keys() & of_agent}
        # Checked first: a file has lists for tuples.
        return Job(
            env,
            variant,
            seed,
            launch.configured(env, validation.converted(RunConfig, run | {"seed": seed})),
            agent(**validation.converted(agent, for_agent)),
            method(**validation.converted(method, for_method)),
        )
    except SparlError as error:
        raise BadValue(f"variant {variant} in {env}: {error}") from error
    except TypeError as error:  # a plug-in's own check
        raise BadValue(f"variant {variant} in {env}: {error}") from error


def _names(kind: type) -> set[str]:
    """The fields of a dataclass that are options."""
    return {f.name for f in dataclasses.fields(kind)} - set(getattr(kind, "internal", ()))
