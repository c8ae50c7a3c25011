"""Untrained policies with layers of every kind, and calls of what is exported from them."""

import ctypes
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from sparl.envs import Spaces
from sparl.layouts import BlockCirculant, Dense, RowSparse, grid
from sparl.networks import plain
from sparl.policy import Policy
from sparl.topology import Kept, NofM, PerLayer, PerRow


def layer_of(dense, bias, kind, mask):
    """A layer of a kind: "dense", a pattern, or (G, share), whose stored blocks `mask` marks."""
    if kind == "dense":
        return Dense(dense, bias)
    if isinstance(kind, tuple):
        return BlockCirculant.of(dense, bias, kind[0], Kept.of(jnp.asarray(mask), int(mask.sum())))
    return RowSparse.of(dense, bias, kind, kind.select(jnp.abs(dense)))


def policy_of(kinds, sizes, discrete=False, seed=0, golden=8):
    """An actor, or a network of values of discrete actions, with a layer per kind.

    The bounds of its actions are not symmetric.
    """
    rng = np.random.default_rng(seed)
    shapes = [(o, i) for i, o in itertools.pairwise(sizes)]
    dense = [
        (rng.uniform(-1, 1, (o, i)) * i**-0.5, rng.uniform(-1, 1, o) * i**-0.5) for o, i in shapes
    ]
    dense = [tuple(array.astype(np.float32) for array in layer) for layer in dense]
    masks = [
        rng.random(grid(shape, kind[0])) < kind[1] if isinstance(kind, tuple) else None
        for shape, kind in zip(shapes, kinds, strict=True)
    ]

    @jax.jit  # one compilation for all layers
    def layers(dense):
        return tuple(
            layer_of(*arrays, kind, mask)
            for arrays, kind, mask in zip(dense, kinds, masks, strict=True)
        )

    inputs, outputs = sizes[0], sizes[-1]
    low = tuple(np.linspace(-1.0, -0.2, outputs).tolist())
    spaces = (
        Spaces((inputs,), (), (), (), outputs, 1)
        if discrete
        else Spaces((inputs,), (outputs,), low, (2.0,) * outputs)
    )
    return Policy(plain(layers(dense), not discrete), spaces, observations(inputs, golden, seed))


def observations(size, count, seed=0):
    """[count, size], with features of very different ranges."""
    rng = np.random.default_rng([seed, 7])
    return (rng.normal(size=(count, size)) * np.geomspace(0.1, 3.0, size)).astype(np.float32)


# Every loop of exported code, with odd sizes, full and partial tiles, and every width of indices;
# 1, 2, 4 and 8 rows that share their columns.
KINDS = {
    "dense": (["dense"] * 3, [17, 40, 35, 6]),
    "n_of_m": ([NofM(1, 8, 2), NofM(3, 5, 4), NofM(2, 4), NofM(7, 16, 8)], [17, 41, 35, 26, 6]),
    "anywhere": ([PerRow(3), PerLayer(700), PerLayer(30)], [300, 40, 35, 6]),
    "blocks": ([(16, 0.5), (4, 0.4), (2, 1.0)], [17, 50, 70, 6]),
    "mixed": ([PerLayer(900), (8, 1.0), (2, 0.3), "dense"], [300, 20, 530, 30, 4]),
    "one layer": ([PerRow(2)], [9, 4]),
}


@functools.cache
def policy_like(name, discrete=False):
    """The policy of a name in KINDS."""
    kinds, sizes = KINDS[name]
    return policy_of(kinds, sizes, discrete)


def policy_in(spaces, kind="dense", seed=0):
    """A policy of one hidden layer in an environment with these spaces."""
    sizes = [spaces.observation_size, 12, spaces.action_size]
    like = policy_of([kind] * 2, sizes, spaces.discrete, seed)
    return Policy(like.network, spaces, like.golden)


class PolicyAct:
    """`policy_act` of an exported policy that was compiled on this machine."""

    def __init__(self, compiled, program):
        spaces = program.policy.spaces
        size = len(spaces.nvec) or (1 if spaces.discrete else spaces.action_size)
        whole = spaces.discrete or spaces.rounds
        self.action = np.zeros(size, np.int32 if whole else np.float32)
        self._frames = (
            [np.zeros(program.frames_bytes // 4, np.float32)] if spaces.frames > 1 else []
        )
        self._scratch = np.zeros(program.scratch_bytes // 4, np.float32)
        self._library, self._outputs = compiled.library, program.outputs

    def __call__(self, observation):
        """The action for one observation [obs]; None if the policy refuses the observation."""
        arrays = observation, self.action, *self._frames, self._scratch
        refused = self._library.policy_act(*map(_pointer, arrays))
        return None if refused else self.action.copy()

    def reset(self):
        """Begins an episode."""
        self._library.policy_reset(*map(_pointer, self._frames))

    @property
    def outputs(self):
        """What the network gave in the call before, [out]."""
        return self._scratch[-self._outputs :].copy()


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)
