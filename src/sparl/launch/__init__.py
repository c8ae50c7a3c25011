"""How a run starts or goes on: its folder, its lock, and the trainer with what it needs."""

from sparl.launch.importing import import_sb3
from sparl.launch.pruning import prune
from sparl.launch.resuming import resumed
from sparl.launch.starting import (
    agent_of,
    begin,
    begun,
    configured,
    default_folder,
    in_environment,
    learning_at_once,
    method_of,
    new_folder,
    trainer,
)
from sparl.launch.transferring import transfer

__all__ = [
    "agent_of",
    "begin",
    "begun",
    "configured",
    "default_folder",
    "import_sb3",
    "in_environment",
    "learning_at_once",
    "method_of",
    "new_folder",
    "prune",
    "resumed",
    "trainer",
    "transfer",
]
