"""What an option is called here that there is not: the habits of other libraries, and slips."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from sparl.config import groups
from sparl.errors import BadValue

ELSEWHERE = {
    "lr": "learning_rate",
    "algo": "agent",
    "algorithm": "agent",
    "total_timesteps": "steps",
    "timesteps": "steps",
    "n_timesteps": "steps",
    "num_steps": "steps",
    "env_id": "env",
    "n_envs": "envs",
    "num_envs": "envs",
    "eval_freq": "eval_every",
    "n_eval_episodes": "eval_episodes",
    "save_freq": "checkpoint_every",
    "replay_size": "buffer_size",
    "net_arch": "hidden",
    "alpha": "ent_coef",
    "n_seeds": "seeds",
    "n_jobs": "jobs",
}
"""Names of Stable-Baselines3, its Zoo, CleanRL and others, and ours."""
TRAIN = "sparl train --help-all lists those of an agent and a method"
"""Where to look for an option that nothing is near to."""


def refuse_unknown(given: Iterable[str], known: Collection[str], where: str) -> None:
    """Checks the names of options.

    Args:
        given: Names, with underscores.
        known: All that there are.
        where: What messages say that has them.

    Raises:
        BadValue: Names the first one that there is not, and the nearest that there is.
    """
    for name in given:
        if name not in known:
            raise BadValue(f"{where} has {name}, which is no option here.{_hint(name, known)}")


def refuse_elsewhere(arguments: Iterable[str], known: Collection[str], more: str = TRAIN) -> None:
    """Checks a command line for options that only other libraries call so.

    Args:
        more: A sentence on what tells which options there are.

    Raises:
        BadValue: Names the first one, and what it is called here.
    """
    for word in arguments:
        name = word.removeprefix("--").partition("=")[0].replace("-", "_")
        if word.startswith("--") and name in ELSEWHERE and name not in known:
            there = word.partition("=")[0]
            raise BadValue(f"there is no option {there}.{_hint(name, known, '--', more)}")


def refuse_misplaced(
    arguments: Iterable[str],
    known: Collection[str],
    kinds: Mapping[str, Mapping[str, type]],
    **own: str,
) -> None:
    """Checks a command line for options that other agents or methods have.

    Args:
        arguments: The words.
        known: All options that there are with this agent and this method.
        kinds: Methods, and agents where one can be chosen, by their names.
        own: The names of the chosen ones.

    Raises:
        BadValue: Names the first one, and who has it.
    """
    for word in arguments:
        name = word.removeprefix("--").partition("=")[0].replace("-", "_")
        name = name.removeprefix("no_") if name not in known else name
        if not word.startswith("--") or name in known:
            continue
        for what, chosen in own.items():
            having = [
                other for other, kind in kinds[what].items() if name in groups.own_names(kind)
            ]
            if having:
                raise BadValue(
                    f"{word.partition('=')[0]} is no option of {what} {chosen}, but of "
                    f"{', '.join(having)}: say which, for example --{what} {having[0]}"
                )


def _hint(name: str, known: Collection[str], dashes: str = "", more: str = TRAIN) -> str:
    called = ELSEWHERE.get(name, name)
    near = [called] if called in known else difflib.get_close_matches(name, known, 1, 0.6)
    if not near:
        return f" {more}"
    if dashes and near[0] == "env":
        return " The environment comes first, without a name: sparl train ENV"
    return f" Did you mean {dashes}{near[0].replace('_', '-') if dashes else near[0]}?"
