"""What is on the disk: run folders, checkpoints, tables, and files that are whole or absent."""

from sparl.storage.checkpoint import Checkpoints
from sparl.storage.files import exclusive_folder, quoted
from sparl.storage.run_folder import RunFolder
from sparl.storage.table import Table

__all__ = [
    "Checkpoints",
    "RunFolder",
    "Table",
    "exclusive_folder",
    "quoted",
]
