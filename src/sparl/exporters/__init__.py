"""Policies for devices: C99 and ONNX, from the arrays a device reads to the text it compiles."""

from sparl.exporters.c import CProgram, text_of
from sparl.exporters.compiled import FLAGS, CompiledPolicy, compiler
from sparl.exporters.export_policy import DEVICE, REPORT, Target, default_folder, export
from sparl.exporters.layers import device_layer, matrix
from sparl.exporters.network import Dtype, device_network

__all__ = [
    "DEVICE",
    "FLAGS",
    "REPORT",
    "CProgram",
    "CompiledPolicy",
    "Dtype",
    "Target",
    "compiler",
    "default_folder",
    "device_layer",
    "device_network",
    "export",
    "matrix",
    "text_of",
]
