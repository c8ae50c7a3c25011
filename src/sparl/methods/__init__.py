"""Methods: which weights a network has, and when that changes. One file per paper."""

from sparl.methods.asp import ASP
from sparl.methods.common.method import (
    RUNNING,
    AfterStep,
    BeforeStep,
    Method,
    MethodState,
    Returns,
    Signals,
    TrainingProgress,
    figures,
    replace_layers,
    scaled_to_norm,
)
from sparl.methods.common.unstructured import Unstructured, layer_of
from sparl.methods.dense import Dense
from sparl.methods.dsp import COMPILATION, DSP, Plan
from sparl.methods.gst import GST
from sparl.methods.iterative import Iterative
from sparl.methods.magnitude import Magnitude
from sparl.methods.registry import METHODS, name_of
from sparl.methods.rigl import RigL
from sparl.methods.rlx2 import RLx2
from sparl.methods.rnm import RNM
from sparl.methods.set import SET
from sparl.methods.static import Static

__all__ = [
    "ASP",
    "COMPILATION",
    "DSP",
    "GST",
    "METHODS",
    "RNM",
    "RUNNING",
    "SET",
    "AfterStep",
    "BeforeStep",
    "Dense",
    "Iterative",
    "Magnitude",
    "Method",
    "MethodState",
    "Plan",
    "RLx2",
    "Returns",
    "RigL",
    "Signals",
    "Static",
    "TrainingProgress",
    "Unstructured",
    "figures",
    "layer_of",
    "name_of",
    "replace_layers",
    "scaled_to_norm",
]
