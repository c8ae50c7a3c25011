"""A run's learner with its compiled updates, restructurings and inference."""

from sparl.engine.engine import Engine, Template
from sparl.engine.inference import Forward, HostNetwork, Whole
from sparl.engine.lockstep import Lockstep, SeedEngine
from sparl.engine.restructure import dense_gradients, densified
from sparl.engine.update import Algorithm, Journal, Moving, UpdateInputs, update_function

__all__ = [
    "Algorithm",
    "Engine",
    "Forward",
    "HostNetwork",
    "Journal",
    "Lockstep",
    "Moving",
    "SeedEngine",
    "Template",
    "UpdateInputs",
    "Whole",
    "dense_gradients",
    "densified",
    "update_function",
]
