"""A run's learner with its compiled update, restructuring and inference."""

from sparl.engine.engine import Engine
from sparl.engine.inference import Forward, HostNetwork, Whole
from sparl.engine.update import Algorithm, update_function

__all__ = [
    "Algorithm",
    "Engine",
    "Forward",
    "HostNetwork",
    "Whole",
    "update_function",
]
