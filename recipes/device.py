"""What policies cost on a small device: bytes, flash, RAM and instructions by layout and type.

    python recipes/device.py

The networks are those for HalfCheetah-v5 (17 observations, two hidden layers of 256, 6 actions), as
training begins with them: what is stored where is what counts, not what was learned. Needs Debian's
gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm; a minute. Writes
`results/device/cortex_m4.csv`, and a table.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from drawing.cost import COSTS, DTYPES, outputs
from figures import make

from sparl.bench import device
from sparl.envs import Spaces
from sparl.exporters import CProgram, device_network
from sparl.layouts import BlockCirculant, Layout, RowSparse, grid
from sparl.networks import Network, build
from sparl.policy import Policy
from sparl.topology import Kept, NofM, Pattern, PerLayer

RESULTS = Path(__file__).resolve().parent.parent / "results" / "device"
SIZES = (17, 256, 256, 6)


def main() -> None:
    if device.missing(device.CORTEX):
        raise SystemExit(f"not installed: {', '.join(device.missing(device.CORTEX))}")
    rows = []
    for name, network in networks().items():
        policy = policy_of(network)
        for dtype in DTYPES:
            program = CProgram(policy, device_network(policy, dtype, policy.golden))
            rows.append({"policy": name, "dtype": dtype, "bytes": program.nbytes, **cost(program)})
            print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / COSTS, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    make(outputs(RESULTS))


def networks() -> dict[str, Network]:
    """One for every way of storing it."""
    dense = build(jax.random.key(0), SIZES, squash=True)
    first, hidden, head = dense.layers
    tenth = [PerLayer(round(0.1 * layer.weight.size)) for layer in dense.layers]

    def around(middle: Layout) -> Network:
        return dense.with_layers((first, middle, head))

    return {
        "dense": dense,
        "2:4": stored(dense, [NofM(2, 4)] * 3),
        "1:8": stored(dense, [NofM(1, 8)] * 3),
        "1:8, hidden layer only": around(packed(hidden, NofM(1, 8))),
        "10 % anywhere": stored(dense, tenth),
        "blocks of 4, hidden layer only": around(blocks(hidden, 4, 1.0)),
        "30 % of these blocks": around(blocks(hidden, 4, 0.3)),
        "25 neurons a layer": build(jax.random.key(0), (17, 25, 25, 6), squash=True),
    }


def stored(network: Network, patterns: Sequence[Pattern]) -> Network:
    layers = zip(network.layers, patterns, strict=True)
    return network.with_layers([packed(layer, pattern) for layer, pattern in layers])


def packed(layer: Any, pattern: Pattern) -> RowSparse:
    kept = pattern.select(jnp.abs(layer.weight))
    return RowSparse.of(layer.weight, layer.bias, pattern, kept)


def blocks(layer: Any, group: int, share: float) -> BlockCirculant:
    """So many of the blocks, drawn by lot."""
    shape = grid(layer.shape, group)
    mask = np.random.default_rng(0).permuted(np.arange(math.prod(shape)))
    mask = (mask < share * math.prod(shape)).reshape(shape)
    kept = Kept.of(jnp.asarray(mask), int(mask.sum()))
    return BlockCirculant.of(layer.weight, layer.bias, group, kept)


def policy_of(network: Network) -> Policy:
    spaces = Spaces((SIZES[0],), (SIZES[-1],), (-1.0,) * SIZES[-1], (1.0,) * SIZES[-1])
    golden = np.random.default_rng(0).normal(size=(8, SIZES[0])).astype(np.float32)
    return Policy(network, spaces, golden)


def cost(program: CProgram) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        program.write(Path(folder))
        return device.cortex_m4(Path(folder))


if __name__ == "__main__":
    main()
