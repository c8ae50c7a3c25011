"""An agent's whole state as a few flat vectors, and the way from one topology to another."""

from sparl.learner.agent_state import (
    AfterStep,
    AgentState,
    BeforeStep,
    Constraint,
    HookState,
    StepRules,
)
from sparl.learner.state import Learner, Role
from sparl.learner.structure import Part, Structure, holds_networks

__all__ = [
    "AfterStep",
    "AgentState",
    "BeforeStep",
    "Constraint",
    "HookState",
    "Learner",
    "Part",
    "Role",
    "StepRules",
    "Structure",
    "holds_networks",
]
