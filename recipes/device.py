"""What policies cost on a small device: bytes, flash, RAM and instructions by layout and type.

    python recipes/device.py                # on an emulated Cortex-M4F
    python recipes/device.py --here         # microseconds of an action on this machine

The networks are those for HalfCheetah-v5 (17 observations, two hidden layers of 256 or of 64, 6
actions), as training begins with them: what is stored where is what counts, not what was learned.
The first needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm; some
minutes. It writes `results/device/cortex_m4.csv`, the second `here.csv`; both write tables.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from drawing.cost import COSTS, DTYPES, HERE, HERE_DTYPES, outputs
from figures import make

from sparl.bench import device
from sparl.envs import Spaces
from sparl.exporters import CompiledPolicy, CProgram, Dtype, compiler, device_network
from sparl.layouts import BlockCirculant, Layout, RowSparse, grid
from sparl.networks import Network, build
from sparl.policy import Policy
from sparl.topology import Kept, NofM, Pattern, PerLayer

RESULTS = Path(__file__).resolve().parent.parent / "results" / "device"
OBSERVATION, ACTION = 17, 6
SHARING = (NofM(1, 8), NofM(1, 8, 4), NofM(1, 8, 8))
GOLDEN = 8
"""Observations of a self-test."""
TURNS = 9
"""How often policies take turns on this machine."""
Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--here", action="store_true", help="time actions on this machine")
    if parser.parse_args().here:
        write(HERE, here())
    else:
        write(COSTS, emulated())
    make(output for output in outputs(RESULTS) if not output.missing())


def emulated() -> Rows:
    """What each policy takes on a Cortex-M4F."""
    if device.missing(device.CORTEX):
        raise SystemExit(f"not installed: {', '.join(device.missing(device.CORTEX))}")
    rows = []
    for (name, network), dtype in itertools.product(networks().items(), DTYPES):
        program = program_of(network, dtype)
        rows.append({"policy": name, "dtype": dtype, "bytes": program.nbytes, **cost(program)})
        print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
    return rows


def here() -> Rows:
    """The microseconds of each policy's action on this machine, the median of some turns."""
    compiled_by = compiler()
    if compiled_by is None:
        raise SystemExit("this needs a C compiler: cc, gcc or clang")
    cases = list(itertools.product((networks() | wide()).items(), HERE_DTYPES))
    with tempfile.TemporaryDirectory() as name:
        compiled = []
        for i, ((_, network), dtype) in enumerate(cases):
            folder, program = Path(name) / str(i), program_of(network, dtype)
            folder.mkdir()
            library = folder / "policy.so"
            compiled.append(CompiledPolicy(program, program.write(folder), library, compiled_by))
        turns = [[policy.microseconds(GOLDEN) for policy in compiled] for _ in range(TURNS)]
    rows = []
    for ((name, network), dtype), times in zip(cases, zip(*turns, strict=True), strict=True):
        weights = sum(layer.kept for layer in network.layers)
        row = {"policy": name, "dtype": dtype, "weights": weights}
        rows.append(row | {"microseconds": statistics.median(times)})
    return rows


def write(name: str, rows: Rows) -> None:
    """Writes rows to a CSV file of the results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / name, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def networks() -> dict[str, Network]:
    """One for every way of storing it, and what sharing columns changes."""
    dense, small = (build(jax.random.key(0), (17, n, n, 6), squash=True) for n in (256, 64))
    tenth = [PerLayer(round(0.1 * layer.weight.size)) for layer in dense.layers]

    return {
        "dense": dense,
        "2:4": stored(dense, [NofM(2, 4)] * 3),
        "2:4x4": stored(dense, [NofM(2, 4, 4)] * 3),
        **{str(p): stored(dense, [p] * 3) for p in SHARING},
        **{f"{p}, hidden layer only": around(dense, p) for p in SHARING},
        "10 % anywhere": stored(dense, tenth),
        "blocks of 4, hidden layer only": hidden(dense, blocks(dense.layers[1], 4, 1.0)),
        "30 % of these blocks": hidden(dense, blocks(dense.layers[1], 4, 0.3)),
        "25 neurons a layer": build(jax.random.key(0), (17, 25, 25, 6), squash=True),
        "2x64: dense": small,
        **{f"2x64: {p}, hidden layer only": around(small, p) for p in SHARING},
    }


def wide() -> dict[str, Network]:
    """Layers that no device of today holds, to see whether time per weight stays."""
    dense = {n: build(jax.random.key(0), (17, n, n, 6), squash=True) for n in (512, 1024, 2048)}
    return {
        f"2x{n}: {p}, hidden layer only": around(network, p)
        for n, network in dense.items()
        for p in SHARING
    }


def around(network: Network, pattern: Pattern) -> Network:
    """A network whose hidden layer alone has a pattern."""
    return hidden(network, packed(network.layers[1], pattern))


def hidden(network: Network, middle: Layout) -> Network:
    """A network with another hidden layer."""
    first, _, head = network.layers
    return network.with_layers((first, middle, head))


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
    spaces = Spaces((OBSERVATION,), (ACTION,), (-1.0,) * ACTION, (1.0,) * ACTION)
    golden = np.random.default_rng(0).normal(size=(GOLDEN, OBSERVATION)).astype(np.float32)
    return Policy(network, spaces, golden)


def program_of(network: Network, dtype: Dtype) -> CProgram:
    policy = policy_of(network)
    return CProgram(policy, device_network(policy, dtype, policy.golden))


def cost(program: CProgram) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        program.write(Path(folder))
        return device.cortex_m4(Path(folder))


if __name__ == "__main__":
    main()
