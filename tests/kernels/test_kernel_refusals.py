"""What the network kernels refuse: places outside a layer, shapes that do not belong together."""

import jax
import jax.numpy as jnp
import pytest
from nets import assert_compiled_call_refuses, assert_eager_call_refuses, broken, build

from sparl import kernels
from sparl.topology import NofM, PerRow

MALFORMED = [
    ("columns", 1, -1, "layer 1: a column"),
    ("columns", 1, 6, "layer 1: a column"),
    ("columns", -1, 2**31 - 1, "layer 1: a column"),
    ("row_starts", 0, 1, r"layer 1: row_starts\[0\] is 1"),
    ("row_starts", 2, 1, "layer 1: row_starts goes down"),
    ("row_starts", -1, 7, "layer 1: row_starts ends with 7"),
    ("row_starts", -1, 2**31 - 1, "layer 1: row_starts ends with"),
    ("rows", 0, -1, "layer 1: .*column-wise"),
    ("rows", 3, 4, "layer 1: .*column-wise"),
    ("order", 0, -(2**31), "layer 1: .*column-wise"),
    ("order", 2, 8, "layer 1: .*column-wise"),
    ("column_starts", 0, -1, r"layer 1: column_starts\[0\] is -1"),
    ("column_starts", 3, 100, "layer 1: column_starts goes down"),
    ("column_starts", -1, 9, "layer 1: column_starts ends with 9"),
    ("weight", None, (7,), "layer 1: weight has shape"),
    ("rows", None, (9,), "layer 1: "),
    ("order", None, (7,), "layer 1: order has shape"),
    ("row_starts", None, (4,), "layer 1: row_starts has shape"),
]


def whole():
    return build([5, 6, 4], [None, PerRow(2)], 7, False, 0)


@pytest.mark.parametrize("array, position, value, message", MALFORMED)
def test_compiled_calls_refuse_malformed_operands(array, position, value, message):
    assert_compiled_call_refuses(broken(whole(), array, position, value), message)


@pytest.mark.parametrize("array, position, value, _", MALFORMED)
def test_eager_calls_refuse_malformed_operands_before_the_kernels(
    array, position, value, _, monkeypatch
):
    assert_eager_call_refuses(broken(whole(), array, position, value), array, monkeypatch)


@pytest.mark.parametrize(
    "array, position, value, message",
    [
        ("columns", -1, 6, "layer 1: a column"),
        ("row_starts", 1, 2, "layer 1: rows that share .* the same number"),
        ("weight", None, (14,), "layer 1: weight has shape"),
        ("columns", None, (7,), "layer 1: "),
    ],
)
def test_rows_that_share_columns_refuse_malformed_operands(
    array, position, value, message, monkeypatch
):
    net = build([5, 6, 5], [None, NofM(1, 2, 4)], 7, False, 0)  # the last group has one row
    assert_compiled_call_refuses(broken(net, array, position, value), message)
    name = "weight" if position is None else array
    assert_eager_call_refuses(broken(net, array, position, value), name, monkeypatch)


def test_shapes_that_do_not_fit_are_refused_while_tracing():
    first, last = whole().layers
    for layers, width, message in [
        ([first, last], 6, "layer 0 takes 5 inputs and gets 6"),
        ([last, first], 6, "layer 1 takes 5 inputs and gets 4"),
        ([first, first], 5, "layer 1 takes 5 inputs and gets 6"),
    ]:
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(kernels.network, layers, jnp.zeros((width, 7)))
    with pytest.raises(ValueError, match="layer 0: weight has shape"):
        kernels.network([first._replace(bias=jnp.zeros(7))], jnp.zeros((5, 7)))
