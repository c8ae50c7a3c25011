"""Agents: one reinforcement-learning algorithm a file, over networks made of layers."""

from sparl.agents.actor_critic import ActorCritic
from sparl.agents.agent import Acting, Actions, Agent
from sparl.agents.common.off_policy import OffPolicyAgent
from sparl.agents.common.on_policy import OnPolicyAgent
from sparl.agents.common.one_step import OneStepAgent
from sparl.agents.common.schedule import UpdateSchedule
from sparl.agents.common.twin_critics import TwinCriticAgent
from sparl.agents.crossq import CrossQ
from sparl.agents.dqn import DQN
from sparl.agents.imported import Imported
from sparl.agents.ppo import PPO
from sparl.agents.primal_dual import PrimalDual
from sparl.agents.registry import AGENTS, fitting, name_of, refuse_misfit
from sparl.agents.sac import SAC
from sparl.agents.td3 import TD3
from sparl.agents.xqc import XQC

__all__ = [
    "AGENTS",
    "DQN",
    "PPO",
    "SAC",
    "TD3",
    "XQC",
    "Acting",
    "Actions",
    "ActorCritic",
    "Agent",
    "CrossQ",
    "Imported",
    "OffPolicyAgent",
    "OnPolicyAgent",
    "OneStepAgent",
    "PrimalDual",
    "TwinCriticAgent",
    "UpdateSchedule",
    "fitting",
    "name_of",
    "refuse_misfit",
]
