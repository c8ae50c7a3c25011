"""The training loop: collecting, updating, evaluating, logging and saving one run."""

from sparl.training.best import Best
from sparl.training.callbacks import Callback
from sparl.training.collector import Collected, Collector, Episode, Host, LocalCollector
from sparl.training.console import Console
from sparl.training.cores import limit_threads
from sparl.training.evaluation import SIDE_BY_SIDE, Evaluation, Evaluator, evaluating, return_text
from sparl.training.interrupt import Interrupted
from sparl.training.load import Explorer, Which, inspect, load_policy, refuse_beyond, snapshot
from sparl.training.lockstep import refuse_lockstep, train_in_lockstep
from sparl.training.logger import TIMES
from sparl.training.offline import OfflineCollector
from sparl.training.player import EpisodePlayer, Played, Transition
from sparl.training.pretraining import PretrainingCollector
from sparl.training.progress import duration_text
from sparl.training.save_best import SaveBest
from sparl.training.state import LoopState, late
from sparl.training.stopping import StopOnPlateau, StopOnReturn
from sparl.training.trainer import Trainer
from sparl.training.wandb_log import LogToWandb

__all__ = [
    "SIDE_BY_SIDE",
    "TIMES",
    "Best",
    "Callback",
    "Collected",
    "Collector",
    "Console",
    "Episode",
    "EpisodePlayer",
    "Evaluation",
    "Evaluator",
    "Explorer",
    "Host",
    "Interrupted",
    "LocalCollector",
    "LogToWandb",
    "LoopState",
    "OfflineCollector",
    "Played",
    "PretrainingCollector",
    "SaveBest",
    "StopOnPlateau",
    "StopOnReturn",
    "Trainer",
    "Transition",
    "Which",
    "duration_text",
    "evaluating",
    "inspect",
    "late",
    "limit_threads",
    "load_policy",
    "refuse_beyond",
    "refuse_lockstep",
    "return_text",
    "snapshot",
    "train_in_lockstep",
]
