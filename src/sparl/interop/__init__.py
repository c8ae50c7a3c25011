"""What comes from elsewhere into a run of sparl: agents of other libraries, and logs.

A reader (`sb3.read`) turns a file into a `TrainedAgent`, with which `sparl.import_sb3` begins a
run. Reading a file never runs code from it: `torch_file` reads the pickles of PyTorch without
calling what they name. `logs` reads transitions that something else has logged.
"""

from sparl.interop import logs, sb3, torch_file
from sparl.interop.trained_agent import TrainedAgent

__all__ = ["TrainedAgent", "logs", "sb3", "torch_file"]
