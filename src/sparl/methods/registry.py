"""Methods by name: which weights there are, and when that changes."""

from sparl.methods.asp import ASP
from sparl.methods.common.method import Method, Signals
from sparl.methods.dense import Dense
from sparl.methods.dsp import DSP
from sparl.methods.gst import GST
from sparl.methods.iterative import Iterative
from sparl.methods.magnitude import Magnitude
from sparl.methods.rigl import RigL
from sparl.methods.rlx2 import RLx2
from sparl.methods.rnm import RNM
from sparl.methods.set import SET
from sparl.methods.static import Static

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (Dense, RNM, Static, SET, RigL, RLx2, Magnitude, Iterative, ASP, DSP, GST)
}

__all__ = [
    "ASP",
    "DSP",
    "GST",
    "METHODS",
    "RNM",
    "SET",
    "Dense",
    "Iterative",
    "Magnitude",
    "Method",
    "RLx2",
    "RigL",
    "Signals",
    "Static",
]
