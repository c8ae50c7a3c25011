"""The training loop: collecting, updating, evaluating, logging and saving one run."""

from sparl.training.callbacks import Callback
from sparl.training.collector import Course, Transition
from sparl.training.evaluation import SIDE_BY_SIDE, Evaluation, Evaluator
from sparl.training.interrupt import Interrupted
from sparl.training.load import inspect, load_policy, snapshot
from sparl.training.logger import TIMES
from sparl.training.restructuring import restructured
from sparl.training.state import FINAL, LoopState
from sparl.training.trainer import Trainer

__all__ = [
    "FINAL",
    "SIDE_BY_SIDE",
    "TIMES",
    "Callback",
    "Course",
    "Evaluation",
    "Evaluator",
    "Interrupted",
    "LoopState",
    "Trainer",
    "Transition",
    "inspect",
    "load_policy",
    "restructured",
    "snapshot",
]
