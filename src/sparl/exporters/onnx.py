"""Policies as ONNX, of standard operators only: any runtime takes them.

Sparse weights are written out with their zeros, for ONNX has no layers of them; what structured
pruning cut away is not there. Observations in the environment's shape go in as `observation`
[batch, ...], and `action` comes out as the environment takes it, bounds applied; of discrete ones
`q_value` [batch, choices] too. Nothing checks that an observation is finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import kernels
from sparl.errors import BadValue
from sparl.networks import LAYER_EPSILON, Arrays, LayerNorm, run
from sparl.policy import Policy

OPSET, IR_VERSION = 17, 8
"""Of 2022: runtimes that are older than these are few."""


def model(policy: Policy) -> Any:
    """The policy as an `onnx.ModelProto`; the same policy gives the same bytes.

    Raises `BadValue` where the package onnx is missing.
    """
    onnx = needed("onnx")
    from onnx import TensorProto, helper, numpy_helper

    constants: list[Any] = []
    nodes: list[Any] = []
    spaces = policy.spaces

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(operator: str, output: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    flat = np.array([-1, spaces.observation_size], np.int64)
    x = node("Reshape", "flat", "observation", constant("flat_shape", flat))
    if policy.normalization is not None:
        mean, scale = (np.asarray(array) for array in policy.normalization)
        x = node("Sub", "centred", x, constant("observation_mean", mean))
        x = node("Mul", "normalized", x, constant("observation_scale", scale))
    network = policy.network

    def numbered(operator: str, *inputs: str, **attributes: Any) -> str:
        return node(operator, f"{operator.lower()}_{len(nodes)}", *inputs, **attributes)

    def linear(i: int, y: str) -> str:
        layer = network.layers[i]
        weight = constant(f"weight_{i}", np.asarray(layer.to_dense(), np.float32))
        bias = constant(f"bias_{i}", np.asarray(layer.bias, np.float32))
        values = spaces.discrete and i == len(network.layers) - 1
        return node("Gemm", "q_value" if values else f"sum_{i}", y, weight, bias, transB=1)

    def normalised(i: int, y: str) -> str:
        norm = network.norms[i]
        if isinstance(norm, LayerNorm):
            gain = constant(f"gain_{i}", np.asarray(norm.gain))
            shift = constant(f"shift_{i}", np.asarray(norm.shift))
            return numbered("LayerNormalization", y, gain, shift, epsilon=LAYER_EPSILON)
        assert norm is not None
        factor, offset = (np.asarray(a) for a in kernels.affine(*vars(norm).values()))
        y = numbered("Mul", y, constant(f"factor_{i}", factor))
        return numbered("Add", y, constant(f"offset_{i}", offset))

    of_nodes = Arrays(
        lambda values: numbered("Concat", *values, axis=1),
        lambda a, b: numbered("Add", a, b),
        {
            "relu": lambda y: numbered("Relu", y),
            "swish": lambda y: numbered("Mul", y, numbered("Sigmoid", y)),
            "elu": lambda y: numbered("Elu", y),
            "tanh": lambda y: numbered("Tanh", y),
        },
    )
    x = run(network.wiring, x, linear, normalised, of_nodes)
    if network.squash:
        x = node("Tanh", "squashed", x)
    observation = helper.make_tensor_value_info(
        "observation", TensorProto.FLOAT, ["batch", *spaces.observation_shape]
    )
    if spaces.discrete:
        best = node("ArgMax", "best", x, axis=1, keepdims=0)
        node("Add", "action", best, constant("first", np.array(spaces.first, np.int64)))
        outputs = [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("q_value", TensorProto.FLOAT, ["batch", spaces.choices]),
        ]
    else:
        low, high = np.array(spaces.low, np.float32), np.array(spaces.high, np.float32)
        above = node("Add", "above", x, constant("one", np.array(1.0, np.float32)))
        part = node("Mul", "part", above, constant("half_range", 0.5 * (high - low)))
        inside = node("Add", "inside", part, constant("low", low))
        inside = node("Max", "not_below", inside, "low")
        inside = node("Min", "bounded", inside, constant("high", high))
        shape = np.array([-1, *spaces.action_shape], np.int64)
        node("Reshape", "action", inside, constant("action_shape", shape))
        outputs = [
            helper.make_tensor_value_info(
                "action", TensorProto.FLOAT, ["batch", *spaces.action_shape]
            )
        ]
    graph = helper.make_graph(nodes, "policy", [observation], outputs, constants)
    made = helper.make_model(
        graph,
        producer_name="sparl",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def session(content: bytes) -> Any:
    """A runtime for a model, on one thread of the CPU. Raises `BadValue` where onnxruntime is
    missing."""
    onnxruntime = needed("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def needed(package: str) -> Any:
    """A package of the extra `onnx`."""
    try:
        return __import__(package)
    except ModuleNotFoundError as error:
        raise BadValue(
            f'ONNX needs the package {package}, which is not installed: pip install "sparl[onnx]"'
        ) from error
