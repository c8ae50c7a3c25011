"""What the kernels reach of what one core can do.

    python recipes/roofline.py            # three minutes, on an idle machine with a C++ compiler

`ceilings.cpp` measures the core: its multiply-adds, and its loads out of each cache. Then equal
layers, one behind the other, are timed with one thread, dense and packed: their values, the
gradient by the inputs, and that by the weights. Each has an *intensity*: floating-point operations
for a byte that its inner loop moves between cache and registers. The figures go to
`results/speed/roofline.json`, and from there into a picture.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from figures import RESULTS, make, registry

from sparl import kernels
from sparl.bench import layers, report, timing
from sparl.engine import malloc
from sparl.layouts import Dense, Layout
from sparl.learner import Structure
from sparl.networks import plain

WIDTHS, BATCH = (256, 1024), 256
DEPTHS = (1, 3)
"""Layers in a call. Figures are of the difference, so that what a call costs by itself is out."""
PATTERNS = ("1:1", "2:4", "1:8", "1:8x4", "1:8x8")
REPETITIONS = 15
PASSES = ("values", "by inputs", "by weights")
VECTORS = {"avx512": 16, "avx2+fma": 8}
"""Floats in a register."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--core", type=int, default=max(report.cores()), help="which one computes")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    os.sched_setaffinity(0, {asked.core})  # before JAX counts its threads
    malloc.keep_freed()  # as agents do
    machine = report.machine()
    if (vector := VECTORS.get(machine["instruction_set"])) is None:
        raise SystemExit(f"no figures for the kernels' path {machine['instruction_set']!r}")
    rows = [
        row
        for width, pattern in report.in_turn(product(WIDTHS, PATTERNS), str)
        for row in measure(width, pattern, vector)
    ]
    path = asked.results / "speed" / "roofline.json"
    found = {"machine": machine, "batch": BATCH, "ceilings": ceilings(), "rows": rows}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    make(output for output in registry(asked.results) if path in output.data)


def ceilings() -> dict[str, Any]:
    """Compiles and runs `ceilings.cpp`."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None:
        raise SystemExit("no C++ compiler was found: install one, or name it in CXX")
    source = Path(__file__).with_name("ceilings.cpp")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "ceilings")
        subprocess.run([compiler, "-O3", "-march=native", str(source), "-o", program], check=True)
        return json.loads(subprocess.check_output([program], encoding="utf-8"))


def measure(width: int, pattern: str, vector: int) -> list[dict[str, Any]]:
    """Gives a row for each pass of square layers.

    A gradient's time is that of a call with it less that of the same call without; all are of
    several layers less one.
    """
    keys = jax.random.split(jax.random.key(width), 4)
    weight = jax.random.normal(keys[0], (width, width)) * (2 / width) ** 0.5
    dense = Dense(weight, jax.random.normal(keys[1], (width,)))
    layer = layers.layer_of(dense, layers.parse(pattern, width))
    x, dy = (jax.random.normal(key, (width, BATCH)) for key in keys[2:])
    contenders = {
        (depth, name): call for depth in DEPTHS for name, call in calls(layer, depth, x, dy).items()
    }
    # The least of each call: on a shared machine medians of differences are mostly noise.
    least = {key: min(took) for key, took in timing.in_blocks(contenders, REPETITIONS).items()}
    few, many = DEPTHS
    seconds = {
        name: least[many, name] - least[few, name]
        for name in ("values", "taped", "by inputs", "all")
    }
    seconds["by weights"] = seconds["all"] - seconds["by inputs"]
    seconds["by inputs"] -= seconds["taped"]
    gflop = 2e-9 * (many - few) * layer.macs * BATCH
    return [
        {
            "width": width,
            "pattern": "dense" if pattern == "1:1" else pattern,
            "pass": name,
            "gflops": gflop / seconds[name],
            "flop_per_byte": intensity(pattern, name, vector),
        }
        for name in PASSES
    ]


def calls(layer: Layout, depth: int, x: jax.Array, dy: jax.Array) -> dict[str, timing.Call]:
    """Gives compiled calls of the kernels by what they compute.

    Args:
        layer: Each of the layers.
        depth: How many there are.
        x: Inputs [in, batch].
        dy: Gradients of the outputs [out, batch].
    """
    network = {"": plain(depth * (layer,))}
    structure = Structure.of(network)
    values, indices = structure.flatten(network), structure.flatten_indices(network)

    def forms(values: Any, indices: Any) -> list[kernels.Layer]:
        built = structure.networks(values, indices)[""].layers
        return [layer.kernel_form() for layer in built]

    def apply(trained: Any, parts: list[kernels.Layer], x: jax.Array) -> jax.Array:
        whole = [p._replace(weight=w, bias=b) for p, (w, b) in zip(parts, trained, strict=True)]
        return kernels.network(whole, x)

    def trained(parts: list[kernels.Layer]) -> Any:
        return [(part.weight, part.bias) for part in parts]

    def only_values(values: Any, indices: Any, x: jax.Array, dy: jax.Array) -> Any:
        return kernels.network(forms(values, indices), x)

    def taped(values: Any, indices: Any, x: jax.Array, dy: jax.Array) -> Any:
        parts = forms(values, indices)
        return jax.vjp(lambda x: apply(trained(parts), parts, x), x)

    def by_inputs(values: Any, indices: Any, x: jax.Array, dy: jax.Array) -> Any:
        y, pull_back = taped(values, indices, x, dy)
        return y, pull_back(dy)

    def everything(values: Any, indices: Any, x: jax.Array, dy: jax.Array) -> Any:
        parts = forms(values, indices)
        y, pull_back = jax.vjp(lambda t, x: apply(t, parts, x), trained(parts), x)
        gradients, dx = pull_back(dy)
        flat = [array.reshape(-1) for pair in gradients for array in pair]
        return y, jnp.concatenate(flat), dx

    named = {"values": only_values, "taped": taped, "by inputs": by_inputs, "all": everything}
    return {name: partial(jax.jit(one), values, indices, x, dy) for name, one in named.items()}


def intensity(pattern: str, name: str, vector: int) -> float:
    """Gives floating-point operations for a byte that an inner loop moves.

    As the loops are written in `path.h`, `shared_rows.h` and `gradients.h`: in a turn they take
    some rows, and columns or registers full of samples beside each other.

    Args:
        pattern: 1:1, N:M or N:MxV.
        name: Of `PASSES`.
        vector: Floats in a register.
    """
    sums, four, loaded = (16 if vector == 16 else 8), 4, 4 * vector
    dense, share = pattern == "1:1", int(pattern.partition("x")[2] or 1)
    if name == "by weights":
        rows = 4 if dense else min(4, share)
        columns = 8 if rows == 1 else sums // 4
        return 2 * rows * columns * vector / ((rows + columns) * loaded)
    rows = sums // 2 if dense else min(sums // 2, share)
    # A tile has 32 samples; a packed row alone holds as many of them as registers allow.
    held = min(32 // vector, sums // 2) if rows == 1 else 2
    moved = held * loaded + rows * four + (0 if dense else four)
    if share > 1 and name == "by inputs":
        moved += held * loaded  # sums go back to where they came from
    return 2 * rows * held * vector / moved


if __name__ == "__main__":
    main()
