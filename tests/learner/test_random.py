"""sparl.noise gives the numbers of jax.random, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparl.learner import random


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("number", [0, 1, 275_000])
def test_fold_in_and_normal_equal_jax_random(seed, number):
    key = jax.random.key(seed)
    folded = jax.random.fold_in(key, number)
    ours = random.fold_in(jax.random.key_data(key), jnp.asarray(number))
    np.testing.assert_array_equal(ours, jax.random.key_data(folded))
    for shape in [(1, 1), (6, 256), (17, 3)]:
        # Compiled, both: an operation at a time rounds differently.
        expected = jax.jit(jax.random.normal, static_argnums=1)(folded, shape)
        got = jax.jit(random.normal, static_argnums=1)(ours, shape)
        np.testing.assert_array_equal(got, expected)


def test_every_network_of_a_batch_has_its_own_noise():
    keys = jax.vmap(lambda n: random.fold_in(jax.random.key_data(jax.random.key(0)), n))
    batch = jax.vmap(lambda key: random.normal(key, (2, 3)))(keys(jnp.arange(4)))
    assert len({row.tobytes() for row in np.asarray(batch)}) == 4
