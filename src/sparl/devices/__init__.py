"""Policies for devices: C99 and ONNX, from the arrays a device reads to the text it compiles."""
