"""sparl: sparse deep reinforcement learning that is small from the first step.

import sparl

agent = sparl.train("HalfCheetah-v5", method=sparl.RNM(2, 4), steps=100_000)
action, _ = agent.predict(observation)
"""

from importlib.metadata import version

from sparl import methods
from sparl.agents import DQNConfig, OneStepConfig, PrimalDualConfig, SACConfig, TD3Config
from sparl.analysis import compare, report
from sparl.api import import_sb3, prune, resume, train
from sparl.config import RunConfig
from sparl.errors import SparlError
from sparl.exporters import export
from sparl.methods import RNM
from sparl.policy import Policy
from sparl.training import Callback
from sparl.training import load_policy as load

__version__ = version("sparl")

__all__ = [
    "RNM",
    "Callback",
    "DQNConfig",
    "OneStepConfig",
    "Policy",
    "PrimalDualConfig",
    "RunConfig",
    "SACConfig",
    "SparlError",
    "TD3Config",
    "__version__",
    "compare",
    "export",
    "import_sb3",
    "load",
    "methods",
    "prune",
    "report",
    "resume",
    "train",
]
