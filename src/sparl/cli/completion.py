"""`sparl completion`: a script by which bash and zsh complete the words of `sparl`."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

import tyro

from sparl.agents import AGENTS
from sparl.cli import commands, continuing
from sparl.config import RunConfig, command_options, groups, presets, run_file
from sparl.config.run import RECORDED
from sparl.methods import METHODS

KINDS: dict[str, Any] = {
    "sweep": commands.Sweep,
    "import": continuing.Import,
    "transfer": continuing.Transfer,
    "eval": commands.Eval,
    "inspect": commands.Inspect,
    "compare": commands.Compare,
    "report": commands.Report,
    "check": commands.Check,
    "features": commands.Features,
    "export": commands.Export,
}
"""Commands whose options are one dataclass."""
POSITIONAL = get_args(tyro.conf.Positional[int])[1]
"""Marks what is no option, because it has no name on the command line."""
BENCH = ("layers", "train", "step", "latency", "device")
SCRIPT = """\
# Completion of sparl's words, for bash and zsh. Made by: sparl completion
if [ -n "$ZSH_VERSION" ]; then
  autoload -U +X bashcompinit && bashcompinit
fi
_sparl() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  else
    case "$before" in
{values}
    esac
    if [ -z "$words" ]; then
      case "${{COMP_WORDS[1]}}" in
{options}
      esac
      case "$word" in -*) ;; *) [ "${{COMP_WORDS[1]}} $COMP_CWORD" = "bench 2" ] || words="" ;; esac
    fi
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _sparl sparl
"""


def completion(arguments: list[str]) -> None:
    """Prints the script."""
    tyro.cli(commands.Completion, prog="sparl completion", args=arguments)
    print(script(), end="")


def script() -> str:
    """The script: commands, their options, and values of options that are one of a few."""
    agents, methods = AGENTS.usable(), METHODS.usable()
    learning = [RunConfig, *agents.values(), *methods.values()]
    common = _options(run_file.OfCommand)
    beside = {name for name, *_ in command_options.BESIDE}
    of_methods = {name for kind in methods.values() for name in _options(kind)}
    known = {
        "train": {name for kind in (*learning, continuing.Resume) for name in _options(kind)}
        | {*common, *beside, "config", "preset", "print_config", "help_all", "wandb"},
        "prune": of_methods | common - {"agent", "ray_address"} | {"steps", "trust"},
        **{name: _options(kind) for name, kind in KINDS.items()},
    }
    not_of_students = {*beside, "resume", "agent", "preset"}
    known["distill"] = known["train"] - not_of_students | _options(commands.Distill)
    spelled = {
        name: " ".join(f"--{n.replace('_', '-')}" for n in sorted(names | {"help"}))
        for name, names in known.items()
    }
    spelled["bench"] = " ".join(BENCH)
    values = {"agent": tuple(agents), "method": tuple(methods), "vs": ("dense", "tiny")}
    values["preset"] = tuple(presets.names())
    for kind in (*learning, *KINDS.values(), continuing.Resume):
        values |= {n: v for n, hint in get_type_hints(kind).items() if (v := _choices(hint))}
    return SCRIPT.format(
        commands=" ".join(["train", "prune", "distill", *KINDS, "bench", "completion", "list"]),
        values=_cases("      ", {f"--{n.replace('_', '-')}": v for n, v in values.items()}),
        options=_cases("        ", {name: (words,) for name, words in spelled.items()}),
    )


def _options(kind: type) -> set[str]:
    """The names of the options that a dataclass has on a command line."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name
        for name in groups.own_names(kind)
        if name not in RECORDED and POSITIONAL not in getattr(hints[name], "__metadata__", ())
    }


def _cases(indent: str, words: dict[str, tuple[str, ...]]) -> str:
    return "\n".join(f'{indent}{case}) words="{" ".join(w)}" ;;' for case, w in words.items())


def _choices(hint: Any) -> tuple[str, ...]:
    """The texts that a Literal allows, also where it is one of several types."""
    if get_origin(hint) is Literal:
        return tuple(value for value in get_args(hint) if isinstance(value, str))
    return next(filter(None, map(_choices, get_args(hint))), ())
