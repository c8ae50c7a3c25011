"""What a run is put together from, for those that work with several of its parts."""

from __future__ import annotations

from dataclasses import dataclass

from sparl.training.callbacks import Callbacks
from sparl.training.collector import Collector, Host
from sparl.training.logger import Logger
from sparl.training.updater import Updater


@dataclass(frozen=True)
class Parts:
    """The trainer, and what it has made."""

    host: Host
    """The trainer, whose state, engine, replay and generator they share."""
    collector: Collector
    updater: Updater
    logger: Logger
    callbacks: Callbacks
