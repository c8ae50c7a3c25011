"""Agents by name: sparl's own, other packages' and those of files."""

from __future__ import annotations

from typing import Any

from sparl.agents.agent import Actions, Agent
from sparl.errors import BadEnvironment
from sparl.plugins import Registry

AGENTS: Registry[Agent] = Registry(
    "agent", Agent, unlisted={"imported": "sparl.agents.imported:Imported"}
)


def name_of(agent: Agent) -> str:
    """What a run folder calls exactly this agent by; see `Registry.spec_of`."""
    return AGENTS.spec_of(type(agent))


def fitting(actions: Actions) -> list[str]:
    """The names of agents that can act so, and learn without a teacher."""
    alone = {name: kind for name, kind in AGENTS.usable().items() if not kind.needs_teacher}
    return [name for name, kind in alone.items() if kind.actions in (actions, "both")]


def refuse_misfit(agent: Agent, env: str, actions: Actions, space: Any) -> None:
    """Raises `BadEnvironment` where the agent cannot act in the environment's action space."""
    if agent.actions in (actions, "both"):
        return
    raise BadEnvironment(
        f"{env} has {actions} actions ({space}); {agent.name} needs {agent.actions} ones. "
        f"What fits: {', '.join(fitting(actions))}"
    )
