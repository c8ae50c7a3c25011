"""sparl: sparse deep reinforcement learning that is small from the first step.

import sparl

agent = sparl.train("HalfCheetah-v5", method=sparl.RNM(2, 4), steps=100_000)
action, _ = agent.predict(observation)
"""

from importlib.metadata import version

from sparl import methods
from sparl.agents import DQNConfig, OneStepConfig, PrimalDualConfig, SACConfig, TD3Config
from sparl.api import import_sb3, load, prune, resume, train
from sparl.callbacks import Callback
from sparl.comparison import compare
from sparl.errors import SparlError
from sparl.methods import RNM
from sparl.page import report
from sparl.policy import Policy
from sparl.runfolder import RunConfig
from sparl.shipping import export

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
