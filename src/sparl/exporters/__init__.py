"""Policies for devices: C99 and ONNX, from the arrays a device reads to the text it compiles."""

from sparl.exporters.c import CProgram, text_of
from sparl.exporters.compiled import FLAGS, CompiledPolicy, compiler
from sparl.exporters.export_policy import (
    DEVICE,
    LATENCY,
    REPORT,
    Target,
    default_folder,
    dense_bytes,
    dense_policy,
    export,
    recorded,
)
from sparl.exporters.layers import device_layer, matrix
from sparl.exporters.network import Dtype, device_network

__all__ = [
    "DEVICE",
    "FLAGS",
    "LATENCY",
    "REPORT",
    "CProgram",
    "CompiledPolicy",
    "Dtype",
    "Target",
    "compiler",
    "default_folder",
    "dense_bytes",
    "dense_policy",
    "device_layer",
    "device_network",
    "export",
    "matrix",
    "recorded",
    "text_of",
]
