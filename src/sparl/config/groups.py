"""Groups of options for the command line, made of the fields of dataclasses.

An option's help text is the docstring under its field. A group is a dataclass of its own, so that
the help shows it apart; `values` brings what was parsed together again.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import field, fields, make_dataclass
from functools import lru_cache
from typing import Annotated, Any, get_type_hints

import tyro

OF_RUN: Mapping[str, tuple[str, ...]] = {
    "run": ("env", "steps", "seed"),
    "evaluation": (
        *("eval_every", "eval_episodes", "stop_at_return"),
        *("eval_env", "eval_async", "eval_max_steps"),
    ),
    "saving": ("checkpoint_every", "log_every"),
    "environment": (
        *("env_kwargs", "wrappers", "max_episode_steps", "frame_stack", "round_actions"),
        *("nonfinite", "normalize_observations", "clip_observations", "pipeline"),
    ),
    "inputs": ("noise_inputs", "inputs", "actor_obs", "critic_obs"),
    "several_environments": ("envs", "vectorization", "autoreset"),
    "replay": ("buffer_size", "dynamic_replay", "buffer_min", "buffer_drift"),
    "actors_on_ray": (
        *("actors", "samples_per_insert", "rollout_length"),
        *("prioritised", "priority_exponent", "importance_exponent"),
    ),
    "logs_to_learn_from": ("replay", "pretrain_updates", "offline"),
}
"""Fields of `RunConfig` by the group that the help shows them in."""
MAIN = frozenset(
    (
        *("env", "steps", "seed", "eval_every", "eval_episodes", "stop_at_return", "env_kwargs"),
        *("normalize_observations", "buffer_size"),
        *("hidden", "critic_hidden", "learning_rate", "batch_size", "gamma", "learning_starts"),
        *("n_step", "agent", "method", "pattern", "out", "quiet", "progress", "config"),
        *("preset", "vs", "seeds", "jobs"),
    )
)
"""Options that `--help` shows; it shows all of a method, and all of agents that others wrote."""


Field = tuple[str, Any, Any]
"""Name, type and default of a field, as `make_dataclass` takes them."""


def option(name: str, kind: Any, default: Any, text: str) -> Field:
    """A field that is an option.

    Args:
        kind: Its type, with annotations of tyro's, if it has any.
        default: Its value if it is not given; `tyro.MISSING` for an option that must be.
        text: Its help.
    """
    made = field() if default is tyro.MISSING else field(default_factory=lambda: default)
    return name, Annotated[kind, tyro.conf.arg(help=text)], made


def options_of(config: Any, names: Iterable[str]) -> list[Field]:
    """Fields of a dataclass as options; their values are the defaults.

    Args:
        config: An instance.
        names: Of its fields.
    """
    hints, texts = get_type_hints(type(config), include_extras=True), documented(type(config))
    return [option(n, hints[n], getattr(config, n), texts.get(n, "")) for n in names]


def group(name: str, options: Iterable[Field], text: str = "") -> Field:
    """Options that the help shows together, as one field of all of them."""
    # A text is always given: dataclasses make one up of the signature otherwise.
    kind = make_dataclass(name, options, kw_only=True, namespace={"__doc__": text or " "})
    return name, tyro.conf.OmitArgPrefixes[kind], field()


def own_names(kind: type) -> list[str]:
    """The names of a dataclass's fields that are options."""
    internal = getattr(kind, "internal", frozenset())
    return [f.name for f in fields(kind) if f.name not in internal]


@lru_cache
def documented(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass and of its bases, in one line."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(base))
            (tree,) = ast.parse(source).body
        except (OSError, TypeError, SyntaxError, ValueError):  # in C, or made in a notebook
            continue
        body = getattr(tree, "body", [])
        for statement, below in itertools.pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[statement.target.id] = " ".join(below.value.value.split())
    return found
