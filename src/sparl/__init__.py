"""sparl: sparse deep reinforcement learning that is small from the first step.

import sparl

run = sparl.train("HalfCheetah-v5", method=sparl.RNM("2:4"), steps=100_000)
action, _ = run.predict(observation)
"""

from importlib.metadata import version

from sparl import methods
from sparl.agents import DQN, PPO, SAC, TD3, XQC, ActorCritic, CrossQ, PrimalDual
from sparl.analysis import compare, report
from sparl.api import Run, import_sb3, load, prune, resume, train, transfer
from sparl.config import RunConfig
from sparl.distillation import distill
from sparl.errors import SparlError
from sparl.exporters import export
from sparl.methods import RNM
from sparl.policy import Policy
from sparl.sweeps import sweep
from sparl.training import Callback, LogToWandb, SaveBest, StopOnPlateau, StopOnReturn

__version__ = version("sparl")

# The names of agents until 0.1.
TD3Config, SACConfig, DQNConfig = TD3, SAC, DQN
PrimalDualConfig, OneStepConfig = PrimalDual, ActorCritic

__all__ = [
    "DQN",
    "PPO",
    "RNM",
    "SAC",
    "TD3",
    "XQC",
    "ActorCritic",
    "Callback",
    "CrossQ",
    "DQNConfig",
    "LogToWandb",
    "OneStepConfig",
    "Policy",
    "PrimalDual",
    "PrimalDualConfig",
    "Run",
    "RunConfig",
    "SACConfig",
    "SaveBest",
    "SparlError",
    "StopOnPlateau",
    "StopOnReturn",
    "TD3Config",
    "__version__",
    "compare",
    "distill",
    "export",
    "import_sb3",
    "load",
    "methods",
    "prune",
    "report",
    "resume",
    "sweep",
    "train",
    "transfer",
]
