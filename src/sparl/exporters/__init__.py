"""Exports policies for devices, as C99, as ONNX and for NumPy.

`export` does all of it: it writes the files, checks them and reports. The stages are public, too:
`device_network` gives the arrays that a device reads, `CProgram` their C source, `CompiledPolicy`
compiles that source and runs it on this machine; `onnx` is the module that builds ONNX models.
"""

from sparl.exporters import onnx
from sparl.exporters.c import CProgram, renamed
from sparl.exporters.export_policy import (
    DEVICE_FILE,
    LATENCY_FILE,
    REPORT_FILE,
    Target,
    default_folder,
    export,
)
from sparl.exporters.layers import dense_matrix, device_layer
from sparl.exporters.measured import Measured, measured
from sparl.exporters.native_policy import COMPILE_FLAGS, CompiledPolicy, compiler
from sparl.exporters.network import Dtype, device_network
from sparl.exporters.numpy_program import NumpyProgram
from sparl.exporters.source import dense_bytes, dense_network, recorded_observations
from sparl.exporters.text import template_text

__all__ = [
    "COMPILE_FLAGS",
    "DEVICE_FILE",
    "LATENCY_FILE",
    "REPORT_FILE",
    "CProgram",
    "CompiledPolicy",
    "Dtype",
    "Measured",
    "NumpyProgram",
    "Target",
    "compiler",
    "default_folder",
    "dense_bytes",
    "dense_matrix",
    "dense_network",
    "device_layer",
    "device_network",
    "export",
    "measured",
    "onnx",
    "recorded_observations",
    "renamed",
    "template_text",
]
