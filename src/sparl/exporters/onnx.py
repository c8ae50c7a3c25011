"""Policies as ONNX models of standard operators, which every runtime can run.

ONNX has no sparse layers, so sparse weights are written out with their zeros. Neurons that
structured pruning cut out are absent. The input `observation` [batch, ...] has the environment's
shape; where the policy sees several frames, it is all of them, the newest last. The output `action`
is what the environment takes, with its bounds applied: float32, or int64 where it is rounded or
chosen. Discrete policies also give `q_value` [batch, choices]. The model does not check that
observations are finite. Its metadata has the number of frames and the names of entries.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import kernels
from sparl.envs import Spaces, inner_float32
from sparl.errors import BadValue
from sparl.exporters.checks import check_policy
from sparl.networks import LAYER_EPSILON, Arrays, LayerNorm, Place, run
from sparl.policy import Policy

OPSET, IR_VERSION = 17, 8
"""Versions of 2022; few runtimes are older."""


def model(policy: Policy) -> Any:
    """Gives a policy as an `onnx.ModelProto`; the same policy always gives the same bytes.

    Raises:
        BadValue: The package onnx is not installed, or the policy's sizes contradict each other.
    """
    check_policy(policy)
    onnx = import_extra("onnx")
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
        mean, scale = map(np.asarray, policy.normalization[:2])
        x = node("Sub", "centred", x, constant("observation_mean", mean))
        x = node("Mul", "normalized", x, constant("observation_scale", scale))
        if (clip := policy.normalization.clip) is not None:
            most = np.array([clip], np.float32)
            x = node("Max", "clipped_below", x, constant("least_seen", -most))
            x = node("Min", "clipped", x, constant("most_seen", most))
    network = policy.network

    def numbered(operator: str, *inputs: str, **attributes: Any) -> str:
        return node(operator, f"{operator.lower()}_{len(nodes)}", *inputs, **attributes)

    def linear(i: int, y: str) -> str:
        layer = network.layers[i]
        weight = constant(f"weight_{i}", np.asarray(layer.to_dense(), np.float32))
        bias = constant(f"bias_{i}", np.asarray(layer.bias, np.float32))
        gives_values = spaces.discrete and i == len(network.layers) - 1
        output = "q_value" if gives_values else f"sum_{i}"
        return node("Gemm", output, y, weight, bias, transB=1)

    def normalised(place: Place, i: int, y: str) -> str:
        norm = network.norm(place, i)
        if isinstance(norm, LayerNorm):
            gain = constant(f"gain_{place}_{i}", np.asarray(norm.gain))
            shift = constant(f"shift_{place}_{i}", np.asarray(norm.shift))
            return numbered("LayerNormalization", y, gain, shift, epsilon=LAYER_EPSILON)
        factor, offset = (np.asarray(a) for a in kernels.affine(*vars(norm).values()))
        y = numbered("Mul", y, constant(f"factor_{place}_{i}", factor))
        return numbered("Add", y, constant(f"offset_{place}_{i}", offset))

    node_operations = Arrays(
        lambda values: numbered("Concat", *values, axis=1),
        lambda a, b: numbered("Add", a, b),
        {
            "relu": lambda y: numbered("Relu", y),
            "swish": lambda y: numbered("Mul", y, numbered("Sigmoid", y)),
            "elu": lambda y: numbered("Elu", y),
            "tanh": lambda y: numbered("Tanh", y),
        },
    )
    x = run(network.wiring, x, linear, normalised, node_operations)
    if network.squash:
        x = node("Tanh", "squashed", x)

    def whole(name: str, values: Sequence[int]) -> str:
        return constant(name, np.array(values, np.int64))

    several = f"{spaces.frames} frames of an episode, the newest last" if spaces.frames > 1 else ""
    shape = ["batch", *spaces.observation_shape]
    observation = helper.make_tensor_value_info("observation", TensorProto.FLOAT, shape, several)
    if spaces.nvec:
        # As np.unravel_index: the last number changes fastest.
        combinations = [math.prod(spaces.nvec[i + 1 :]) for i in range(len(spaces.nvec))]
        best = node("ArgMax", "best", x, axis=1, keepdims=1)
        quotient = node("Div", "quotient", best, whole("combinations", combinations))
        choice = node("Mod", "choice", quotient, whole("choices", spaces.nvec))
        action = node("Add", "numbers", choice, whole("first", spaces.starts))
    elif spaces.discrete:
        best = node("ArgMax", "best", x, axis=1, keepdims=0)
        action = node("Add", "numbers", best, constant("first", np.array(spaces.first, np.int64)))
    else:
        low, high = inner_float32(spaces.low, spaces.high)
        above = node("Add", "above", x, constant("one", np.array(1.0, np.float32)))
        if spaces.rounds:  # in float64, as `Spaces.to_env_action` does
            low, high = np.array(spaces.low, np.float64), np.array(spaces.high, np.float64)
            above = node("Cast", "wide", above, to=TensorProto.DOUBLE)
        part = node("Mul", "part", above, constant("half_range", 0.5 * high - 0.5 * low))
        inside = node("Add", "inside", part, constant("low", low))
        inside = node("Max", "not_below", inside, "low")
        action = node("Min", "bounded", inside, constant("high", high))
        if spaces.rounds:
            action = node("Round", "rounded", action)
            action = node("Cast", "whole", action, to=TensorProto.INT64)
    node("Reshape", "action", action, whole("action_shape", [-1, *spaces.action_shape]))
    kind = TensorProto.INT64 if spaces.discrete or spaces.rounds else TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info("action", kind, ["batch", *spaces.action_shape])]
    if spaces.discrete:
        value = ("q_value", TensorProto.FLOAT, ["batch", spaces.choices])
        outputs.append(helper.make_tensor_value_info(*value))
    graph = helper.make_graph(nodes, "policy", [observation], outputs, constants)
    model_proto = helper.make_model(
        graph,
        producer_name="sparl",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model_proto, _metadata(spaces))
    onnx.checker.check_model(model_proto, full_check=True)
    return model_proto


def _metadata(spaces: Spaces) -> dict[str, str]:
    """What a model says of its observations besides their shape."""
    entries = {"entries": json.dumps(spaces.entries)} if spaces.entries else {}
    return entries | ({"frames": str(spaces.frames)} if spaces.frames > 1 else {})


def session(content: bytes) -> Any:
    """Gives an onnxruntime session that runs a model on one CPU thread.

    Raises:
        BadValue: The package onnxruntime is not installed.
    """
    onnxruntime = import_extra("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def import_extra(package: str) -> Any:
    """Imports a package of the extra `onnx`.

    Raises:
        BadValue: It is not installed; the message has the command that installs it.
    """
    try:
        return __import__(package)
    except ModuleNotFoundError as error:
        raise BadValue(
            f'ONNX needs the package {package}, which is not installed: pip install "sparl[onnx]"'
        ) from error
