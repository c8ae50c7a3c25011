"""What is on the disk: run folders, checkpoints, tables, and files that are whole or absent."""

from sparl.storage.checkpoint import KEEP, Checkpoints
from sparl.storage.files import exclusive_folder, quoted
from sparl.storage.policy_file import StoredPolicy
from sparl.storage.run_folder import Change, RunFolder
from sparl.storage.state_file import StateFile
from sparl.storage.summary import STEPS, SummaryFile
from sparl.storage.table import Mark, Table, read_table
from sparl.storage.trust import accept

__all__ = [
    "KEEP",
    "STEPS",
    "Change",
    "Checkpoints",
    "Mark",
    "RunFolder",
    "StateFile",
    "StoredPolicy",
    "SummaryFile",
    "Table",
    "accept",
    "exclusive_folder",
    "quoted",
    "read_table",
]
