"""A learner's bits do not depend on the number of threads, and handlers do not block each other."""

import os
import subprocess
import sys

import pytest

# In processes of its own: how many threads XLA has is decided when it starts.
PROGRAM = """
import hashlib, os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, map(int, sys.argv[1:]))
import jax, jax.numpy as jnp, numpy as np

from sparl import kernels
from sparl.agents import TD3
from sparl.engine import Engine
from sparl.methods import RNM, TrainingProgress
from sparl.methods.common.method import frobenius
from sparl.replay import Columns
from sparl.topology import NofM, PerLayer

def network(rng, widths):
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        weight = (rng.normal(size=(outputs, inputs)) / inputs**0.5).astype(np.float32)
        places = None
        if outputs > 1:
            kept = NofM(1, 8).select(jnp.asarray(weight))
            places = kernels.places(*kept, inputs)
            weight = kernels.gather(jnp.asarray(weight), *kept)
        layers.append(kernels.Layer(jnp.asarray(weight), jnp.zeros(outputs), places))
    return layers

def circulant(rng, widths, group):
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        grid = jnp.asarray(rng.normal(size=(-(-outputs // group), -(-inputs // group))))
        places = kernels.places(*PerLayer(grid.size // 2).select(grid), grid.shape[1])
        weight = rng.normal(size=(len(places.columns), group)) / inputs**0.5
        weight = jnp.asarray(weight, jnp.float32)
        layers.append(kernels.Layer(weight, jnp.zeros(outputs), places, group, inputs))
    return layers

def update(layers, x, target):
    y, pull = jax.vjp(lambda values: kernels.network(
        [l._replace(weight=w, bias=b) for l, (w, b) in zip(layers, values)], x),
        [(l.weight, l.bias) for l in layers])
    (gradients,) = pull((y - target) / x.shape[1])
    return [l._replace(weight=l.weight - 0.1 * w, bias=l.bias - 0.1 * b)
            for l, (w, b) in zip(layers, gradients)], y

def bits(tree):
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in jax.tree.leaves(tree)))

rng = np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
state, x, target = network(rng, [23, 256, 256, 1]), normal(23, 256), normal(1, 256)
step = jax.jit(update)
ys = []
for _ in range(10):
    state, y = step(state, x, target)
    ys.append(y)
assert not jnp.allclose(ys[0], ys[-1])
print(bits((state, ys)).hexdigest())

sizes = [(9, 33, 1), (4, 120, 60, 1), (16, 8, 1), (40, 256, 1)] * 2
states = [network(rng, widths) for widths in sizes]
data = [(normal(w[0], 16 * (i + 1)), normal(1, 16 * (i + 1))) for i, w in enumerate(sizes)]
steps = jax.jit(lambda states: [update(s, *d) for s, d in zip(states, data)])
for _ in range(200):
    all_of_them = steps(states)
    states = [s for s, _ in all_of_them]
print(bits(all_of_them).hexdigest())

state = circulant(rng, [23, 256, 130, 1], 4)
for _ in range(10):
    state, y = step(state, x, target)
print(bits((state, y)).hexdigest())

engine = Engine(TD3(), RNM("1:8x4", interval=10), Columns(17, 6), seed=0)
for _ in range(25):
    rows = rng.normal(size=(256, engine.columns.width)).astype(np.float32)
    engine.update(rows)
    if engine.method.stage(engine.updates, 25):
        engine.restructure("reselect", TrainingProgress(engine.updates, 25))
print(bits(engine.arrays["parts"]).hexdigest())

print(bits([jax.jit(frobenius)(normal(256, 256)) for _ in range(20)]).hexdigest())
"""


def all_cores() -> list[str]:
    """Those of the session, of which this process may have one; none if they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    session = os.environ.get("SPARL_TEST_CORES")
    return session.split() if session else [str(core) for core in os.sched_getaffinity(0)]


@pytest.fixture(scope="module")
def hashes():
    """Of ten updates of one network, of 200 calls with eight networks next to each other, of ten
    updates of circulant blocks, of a learner after 25 updates and two restructurings, and of norms
    of matrices."""
    cores = all_cores()
    started = {
        name: subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *chosen], stdout=subprocess.PIPE, text=True
        )
        for name, chosen in {"all": cores, "one": cores[:1]}.items()
        if name == "all" or len(cores) > 1
    }
    try:
        found = {c: (p.communicate(timeout=300)[0].split(), p) for c, p in started.items()}
    finally:
        for process in started.values():
            process.kill()  # one whose threads wait for each other would stay
            process.communicate()
    assert all(process.returncode == 0 for _, process in found.values())
    return {cores: lines for cores, (lines, _) in found.items()}


def test_many_networks_at_once_do_not_deadlock(hashes):
    assert all(len(lines) == 5 for lines in hashes.values())


def test_bits_do_not_depend_on_the_number_of_threads(hashes):
    if "one" not in hashes:
        pytest.skip("one core alone, or no way to use fewer")
    assert hashes["one"] == hashes["all"]
