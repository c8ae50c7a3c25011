"""Agents that other libraries trained, brought into a run folder of sparl.

A reader (`sb3.read`) turns a file into a `TrainedAgent`, with which `sparl.import_sb3` begins a
run. Reading a file never runs code from it: `torch_file` reads the pickles of PyTorch without
calling what they name.
"""

from sparl.interop import sb3, torch_file
from sparl.interop.trained_agent import TrainedAgent

__all__ = ["TrainedAgent", "sb3", "torch_file"]
