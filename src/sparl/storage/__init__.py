"""The run folder: checkpoints, tables and files that are complete or absent."""

from sparl.storage.checkpoint import Checkpoints
from sparl.storage.files import claimed
from sparl.storage.run_folder import RunFolder
from sparl.storage.table import Table

__all__ = [
    "Checkpoints",
    "RunFolder",
    "Table",
    "claimed",
]
