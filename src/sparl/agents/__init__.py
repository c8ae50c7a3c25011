"""Agents: one reinforcement-learning algorithm a file, over networks made of layers."""

from sparl.agents.actor_critic import OneStepConfig
from sparl.agents.common.config import Actions, AgentConfig
from sparl.agents.common.one_step import OnPolicyConfig
from sparl.agents.dqn import DQNConfig
from sparl.agents.primal_dual import PrimalDualConfig
from sparl.agents.registry import AGENTS, Agent, functions_of, name_of, refuse_misfit
from sparl.agents.sac import SACConfig
from sparl.agents.td3 import TD3Config

__all__ = [
    "AGENTS",
    "Actions",
    "Agent",
    "AgentConfig",
    "DQNConfig",
    "OnPolicyConfig",
    "OneStepConfig",
    "PrimalDualConfig",
    "SACConfig",
    "TD3Config",
    "functions_of",
    "name_of",
    "refuse_misfit",
]
