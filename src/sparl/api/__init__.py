"""The Python interface: how runs begin, go on, and what can be done with them."""

from sparl.api.begin import import_sb3, train
from sparl.api.run import Run, load, prune, resume, transfer

__all__ = ["Run", "import_sb3", "load", "prune", "resume", "train", "transfer"]
