"""Random keys of seeds, and normal noise inside compiled updates without `jax.random`'s loop.

On the CPU, jax.random runs the rounds of its Threefry generator (Salmon et al., 2011) as a loop of
small XLA operations: about 135 us for the target noise of one TD3 update, a tenth of an update of
a sparse agent. Written out, the rounds become one fused pass. The numbers are the same, bit for
bit (a test compares them).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def key_of(seed: int) -> PRNGKeyArray:
    """A random key for a seed of any size, another one for each.

    `jax.random.key` looks at the lowest 32 bits alone; where there are more, they are folded in.

    Args:
        seed: At least 0.
    """
    low, high = seed & 0xFFFFFFFF, seed >> 32
    key = jax.random.key(low)
    while high:
        key = jax.random.fold_in(key, np.uint32(high & 0xFFFFFFFF))
        high >>= 32
    return key


def fold_in(key: UInt32[Array, " 2"], data: jax.Array) -> UInt32[Array, " 2"]:
    """`jax.random.fold_in` on the data of a key: another key for every number."""
    return jnp.stack(_threefry(key, jnp.uint32(0), data.astype(jnp.uint32)))


def normal(key: UInt32[Array, " 2"], shape: tuple[int, ...]) -> Float[Array, " ..."]:
    """`jax.random.normal` of the data of a key: standard normal numbers."""
    count = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    first, second = _threefry(key, jnp.zeros_like(count), count)
    # 23 random bits as the fraction of a float in [1, 2), then stretched over (-1, 1).
    bits = ((first ^ second) >> jnp.uint32(9)) | jnp.uint32(0x3F800000)
    low = np.nextafter(np.float32(-1), np.float32(0))
    uniform = jax.lax.bitcast_convert_type(bits, jnp.float32) - 1.0
    uniform = jnp.maximum(low, uniform * (np.float32(1) - low) + low)
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(uniform)


def _threefry(
    key: UInt32[Array, " 2"], first: jax.Array, second: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with 20 rounds."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(0x1BD11BDA))
    first, second = first + keys[0], second + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            first = first + second
            second = (second << jnp.uint32(rotation)) | (second >> jnp.uint32(32 - rotation))
            second = second ^ first
        first = first + keys[(group + 1) % 3]
        second = second + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return first, second
