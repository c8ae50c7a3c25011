"""Variants: runs that differ only in their seeds. How variants are named and how they differ."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparl.agents import AGENTS
from sparl.analysis.runs import name_in_sweep
from sparl.config import NotImported, RunConfig, options_of
from sparl.methods import METHODS

OF_LENGTH = ("steps", "checkpoint_every", "stop_at_return")
"""Options whose change leaves a run the variant that it was."""
ALTERED = ("kwargs", "max_episode_steps", "additional_wrappers")
"""Entries of an environment's recorded spec that make it another one."""
UNREMARKABLE = ("hidden", "critic_hidden")
"""Options that `other_differences` leaves out, because labels show them where they differ."""


@dataclass(frozen=True)
class VariantConfig:
    """Everything that decides a run except its seed. Runs of one variant have equal ones."""

    run: RunConfig
    agent: Any
    method: Any
    changes: str = ""
    """What was changed while it went on."""

    @classmethod
    def of(
        cls, run: RunConfig, agent: Any, method: Any, changes: Sequence[Mapping[str, Any]] = ()
    ) -> VariantConfig:
        """Gives the variant of a run from the parts of its config.json.

        Args:
            changes: What was changed while it went on, by name the old value and the new one.
        """
        # Seeds of one variant may each begin with a run of their own.
        begun_from = "another run" if run.begun_from else ""
        # How a machine finds the environment does not make it another one, nor when evaluations
        # play what they return.
        found = {"env_spec": _altered(run.env_spec), "env_folder": "", "eval_async": False}
        # Logs are what they hold, wherever they lie.
        replay = run.replay and f"{run.replay.rpartition('/')[2]}@{run.replay_sha256[:8]}"
        logs = {"replay": replay, "replay_sha256": "", "replay_transitions": 0}
        run = dataclasses.replace(run, seed=0, begun_from=begun_from, **found, **logs)
        told = [
            f"{name}={old}->{new}"
            for change in changes
            for name, (old, new) in change.items()
            if name not in OF_LENGTH
        ]
        return cls(run, agent, method, " ".join(told))


def labels_of(groups: Mapping[VariantConfig, Sequence[Path]]) -> list[str]:
    """Gives each variant a short name: what a sweep calls it, or else `variant_labels`.

    Args:
        groups: The run folders of all variants that are shown together.
    """
    named = [{name_in_sweep(path) for path in paths} for paths in groups.values()]
    distinct = set().union(*named)
    if "" in distinct or sum(map(len, named)) > len(distinct) or any(len(n) > 1 for n in named):
        return variant_labels(list(groups))
    return [name for (name,) in named]


def variant_labels(variants: Sequence[VariantConfig]) -> list[str]:
    """Gives each variant a short name: its method, and the options in which variants differ.

    A label has an option of the method if variants with that method differ in it. It has an option
    of the agent or of the run if any variants differ in it and this variant's value is not the
    default. It has the agent if there are several. Different variants get different labels.

    Args:
        variants: All variants that are shown together.

    Returns:
        One label per variant, for example `rnm pattern=1:8 hidden=64,64`.
    """
    agent_names = [variant.agent.name for variant in variants]
    common_differences = differing_options([_common_options(variant) for variant in variants])
    labels = []
    for agent_name, variant in zip(agent_names, variants, strict=True):
        method_options = options_of(variant.method)
        same_method = [v for v in variants if v.method.name == variant.method.name]
        method_differences = differing_options([options_of(v.method) for v in same_method])
        words = [agent_name] if len(set(agent_names)) > 1 else []
        words.append(variant.method.name)
        words += [
            f"{key}={_text(value)}"
            for key, value in method_options.items()
            if key in method_differences
        ]
        defaults = _defaults(variant.agent) | _defaults(variant.run)
        words += [
            f"{key}={_text(value)}"
            for key, value in _common_options(variant).items()
            if key in common_differences and not (key in defaults and defaults[key] == value)
        ]
        labels.append(" ".join([*words, *([variant.changes] if variant.changes else [])]))
    return [
        label if labels.count(label) == 1 else f"{label} ({_classes(variant)})"
        for label, variant in zip(labels, variants, strict=True)
    ]


def other_differences(variants: Sequence[VariantConfig]) -> list[str]:
    """Lists options besides method and network widths that may explain a difference in returns.

    Returns:
        One text per option, for example `learning_rate 0.001 / 0.0003`.
    """
    differences = differing_options([_common_options(variant) for variant in variants])
    return [
        f"{key} {' / '.join(map(_text, values))}"
        for key, values in differences.items()
        if key not in UNREMARKABLE
    ]


def differing_options(options: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Gives the options that have several values, with these values in order of appearance.

    Args:
        options: The options of each variant; a variant without an option has no say in it.
    """
    values_of: dict[str, list[Any]] = {}
    for variant_options in options:
        for key, value in variant_options.items():
            values = values_of.setdefault(key, [])
            if value not in values:
                values.append(value)
    return {key: values for key, values in values_of.items() if len(values) > 1}


def _common_options(variant: VariantConfig) -> dict[str, Any]:
    return options_of(variant.agent) | options_of(variant.run)


def _classes(variant: VariantConfig) -> str:
    """Where the agent's and the method's classes come from, which tells those of one name apart."""
    parts = (variant.agent, AGENTS), (variant.method, METHODS)
    return ", ".join(
        config.spec if isinstance(config, NotImported) else registry.spec_of(type(config))
        for config, registry in parts
    )


def _altered(spec: str) -> str:
    """What a recorded environment is beside its name: arguments, time limit and wrappers."""
    try:
        found = json.loads(spec or "{}")
        kept = {name: found.get(name) for name in ALTERED}
    except (ValueError, AttributeError):  # as nobody wrote it: at least it is told from others
        return spec
    return json.dumps(kept, sort_keys=True) if spec else ""


def _defaults(config: Any) -> dict[str, Any]:
    if isinstance(config, NotImported):
        return {}
    return {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(config)
    }


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
