"""All tests run with checked annotations: those with shapes, and those without."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sparl.agents.common.annealing import annealing
from sparl.kernels import reference
from sparl.layouts import Dense
from sparl.layouts.shared_rows import rows_that_share
from sparl.topology import NofM


def test_an_argument_of_another_kind_is_refused():
    with pytest.raises(TypeCheckError):
        annealing("steep", 0.0)


def test_a_result_of_another_kind_is_refused():
    pattern = NofM(1, 4)
    object.__setattr__(pattern, "v", "two")
    with pytest.raises(TypeCheckError):
        rows_that_share(pattern)


def test_a_method_that_gives_its_own_class_is_checked():
    with pytest.raises(TypeCheckError):
        Dense(jnp.ones((3, 2)), jnp.ones(3)).first_rows("two")


def test_fields_whose_shapes_do_not_go_together_are_refused():
    assert Dense(jnp.ones((3, 2)), jnp.ones(3)).shape == (3, 2)
    with pytest.raises(TypeCheckError):
        Dense(jnp.ones((3, 2)), jnp.ones(2))


def test_arguments_whose_shapes_do_not_go_together_are_refused():
    starts = jnp.array([0, 1, 2], jnp.int32)
    columns = jnp.array([1, 0], jnp.int32)
    assert np.shape(reference.expand(jnp.ones(2), columns, starts, 2)) == (2, 2)
    with pytest.raises(TypeCheckError):
        reference.expand(jnp.ones(3), columns, starts, 2)
