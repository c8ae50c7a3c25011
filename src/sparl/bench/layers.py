"""`sparl bench layers`: one layer with ReLU, forward and backward, for each sparsity pattern."""

from __future__ import annotations

import itertools
import operator
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from sparl import kernels
from sparl.bench import report, timing
from sparl.errors import BadValue
from sparl.kernels import GROUPS
from sparl.layouts import BlockCirculant, Dense, Layout, RowSparse, projected
from sparl.learner import Structure
from sparl.networks import plain
from sparl.topology import NofM, Pattern, PerLayer

PEAK_SIZES = (256, 512, 1024)
"""Sizes of the square matrices whose product gives the peak of a dense layer."""


@dataclass(frozen=True)
class Layers:
    """Time one layer, y = relu(W x + b), dense and packed in turn.

    A packed layer runs through sparl's kernels, the dense one through XLA. `both` is one call
    that gives y and all gradients (of W, b and x); `backward` is `both` minus `forward`.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    """Inputs and outputs of the layer."""
    batches: tuple[int, ...] = (1, 64, 256, 1024)
    """Samples in one call."""
    patterns: tuple[str, ...] = (
        *("1:1", "2:4", "1:4", "1:8", "1:16", "50%", "75%", "90%", "95%"),
        *("G4", "G8", "G4-70%"),
    )
    """N:M keeps N of every M weights in a row, N:MxV the same columns in V neighbouring rows. P%
    leaves out P percent of the layer's weights, anywhere. GN has circulant blocks of N x N; GN-P%
    leaves out P percent of the blocks. 1:1 is the dense layer again: the distance of its ratio from
    1 is the noise of the run."""
    repetitions: int = 7
    """How often the contenders of one size take turns; figures are medians over these."""
    json: Path | None = None
    """File for the figures."""

    def check(self) -> None:
        """Checks the options before anything is measured.

        Raises:
            BadValue: An option has a value that is not possible; the message says which are.
        """
        report.check(
            self.json, widths=self.widths, batches=self.batches, repetitions=self.repetitions
        )
        for pattern in self.patterns:
            parse(pattern, 1)


def run(options: Layers) -> None:
    """Measures, prints a table and writes the JSON file."""
    options.check()
    machine = report.machine()
    peak = dense_peak(options.repetitions)
    sizes = itertools.product(options.widths, options.batches)
    rows = [
        row
        for width, batch in report.in_turn(sizes, lambda size: f"width {size[0]} batch {size[1]}")
        for row in measure(width, batch, options.patterns, options.repetitions, peak)
    ]
    report.table(
        ["width", "batch", "pattern", "forward", "backward", "both", "dense", "ratio", "GF/s", "%"],
        [
            [str(row["width"]), str(row["batch"]), row["pattern"]]
            + [f"{row[f'{key}_us']:.1f}" for key in ("forward", "backward", "both", "dense_both")]
            + [f"{row['ratio_both']:.2f}", f"{row['useful_gflops']:.1f}"]
            + [f"{100 * row['share_of_peak']:.0f}"]
            for row in rows
        ],
    )
    print(
        "Times in us. dense: `both` of the dense layer. ratio: dense / both. GF/s: useful Gflop/s "
        "of `both`;\nfor blocks as if every entry were multiplied. %: of the "
        f"{peak:.0f} Gflop/s of XLA's best dense product here."
    )
    report.write(options.json, {"dense_peak_gflops": peak, "machine": machine, "rows": rows})


@dataclass(frozen=True)
class Blocks:
    """Circulant blocks of `group` rows and columns, of which a share `kept` is stored."""

    group: int
    kept: float


def parse(text: str, width: int) -> Pattern | Blocks:
    """Gives the pattern of a square layer.

    Args:
        text: N:M, P%, GN or GN-P%.
        width: Inputs and outputs of the layer.

    Raises:
        BadValue: `text` is no pattern; the message lists the forms.
    """
    match = re.fullmatch(r"(?:G(\d+))?(?:(^|-)(\d+(?:\.\d+)?)%)?", text)
    if match is None or not text:
        if ":" in text:
            return NofM.parse(text)
        raise BadValue(
            f"pattern {text!r} is neither N:M, as 2:4, nor a sparsity, as 90%, nor blocks, as G4 "
            "or G4-70%"
        )
    group, _, percent = match.groups()
    left_out = 0.0 if percent is None else float(percent) / 100
    if percent is not None and not 0 < left_out < 1:
        raise BadValue(f"pattern {text!r}: a sparsity is above 0% and below 100%, as 90%")
    if group is None:
        return PerLayer(max(1, round((1 - left_out) * width * width)))
    if int(group) not in GROUPS:
        raise BadValue(f"pattern {text!r}: blocks are of {', '.join(map(str, GROUPS))}")
    return Blocks(int(group), 1 - left_out)


def measure(
    width: int, batch: int, patterns: tuple[str, ...], repetitions: int, peak: float
) -> list[dict[str, Any]]:
    """Gives the figures of one size, a row per pattern.

    All patterns and the dense layer take turns.

    Args:
        width: Inputs and outputs of the layer.
        batch: Samples in one call.
        patterns: As `parse` takes them.
        repetitions: Turns, over which figures are medians.
        peak: Gflop/s of XLA's best dense product, which shares are of.
    """
    keys = jax.random.split(jax.random.key(width), 4)
    weight = jax.random.normal(keys[0], (width, width)) / width**0.5
    dense = Dense(weight, jax.random.normal(keys[1], (width,)))
    x, dy = (jax.random.normal(key, (width, batch)) for key in keys[2:])
    layers = {pattern: layer_of(dense, parse(pattern, width)) for pattern in patterns}
    contenders = {"dense both": calls(dense, x, dy)[1]}
    for pattern, layer in layers.items():
        contenders[f"{pattern} forward"], contenders[f"{pattern} both"] = calls(layer, x, dy)
    seconds = timing.in_blocks(contenders, repetitions)
    rows = []
    for pattern, layer in layers.items():
        forward, both = seconds[f"{pattern} forward"], seconds[f"{pattern} both"]
        # Three products: the values, and the gradients of weights and of inputs.
        gflops = 3 * 2e-9 * layer.macs * batch / statistics.median(both)
        rows.append(
            {
                "width": width,
                "batch": batch,
                "pattern": pattern,
                "forward_us": 1e6 * statistics.median(forward),
                "backward_us": 1e6 * timing.median_of(operator.sub, both, forward),
                "both_us": 1e6 * statistics.median(both),
                "dense_both_us": 1e6 * statistics.median(seconds["dense both"]),
                "ratio_both": timing.median_of(operator.truediv, seconds["dense both"], both),
                "useful_gflops": gflops,
                "share_of_peak": gflops / peak,
            }
        )
    return rows


def layer_of(dense: Dense, pattern: Pattern | Blocks) -> Layout:
    """Gives a layer that keeps the largest weights its pattern allows; 1:1 stays dense."""
    if pattern == NofM(1, 1):
        return dense
    if isinstance(pattern, Blocks):
        norms = jnp.linalg.norm(projected(dense.weight, pattern.group), axis=-1)
        kept = PerLayer(max(1, round(pattern.kept * norms.size))).select(norms)
        return BlockCirculant.of(dense.weight, dense.bias, pattern.group, kept)
    return RowSparse.of(dense.weight, dense.bias, pattern, pattern.select(jnp.abs(dense.weight)))


def calls(layer: Layout, x: jax.Array, dy: jax.Array) -> tuple[timing.Call, timing.Call]:
    """Gives two compiled calls: forward alone, and forward with all gradients.

    The dense layer gets the arrays that suit XLA best, W and b. A packed layer gets flat vectors,
    as a learner stores them.

    Args:
        layer: Dense or packed.
        x: Inputs [in, batch].
        dy: Gradients of the outputs [out, batch].
    """
    network = {"": plain((layer,))}
    structure = Structure.of(network)
    is_dense = isinstance(layer, Dense)
    values = (layer.weight, layer.bias) if is_dense else structure.flatten(network)
    indices = structure.flatten_indices(network)

    def parts(values: Any, indices: Any) -> tuple[tuple[jax.Array, jax.Array], Any]:
        if is_dense:
            return values, None
        form = structure.networks(values, indices)[""].layers[0].kernel_form()
        return (form.weight, form.bias), form

    def apply(trained: tuple[jax.Array, jax.Array], form: Any, x: jax.Array) -> jax.Array:
        if is_dense:
            return jax.nn.relu(Dense(*trained).apply(x))
        layer = form._replace(weight=trained[0], bias=trained[1])
        return kernels.network([layer], x, kernels.Connections.chain(1, relu_last=True))

    def forward(values: Any, indices: Any, x: jax.Array) -> jax.Array:
        return apply(*parts(values, indices), x)

    def both(values: Any, indices: Any, x: jax.Array, dy: jax.Array) -> tuple[Any, ...]:
        trained, form = parts(values, indices)
        y, pull_back = jax.vjp(lambda trained, x: apply(trained, form, x), trained, x)
        gradient, dx = pull_back(dy)
        return y, gradient if is_dense else jnp.concatenate([g.reshape(-1) for g in gradient]), dx

    forward, both = jax.jit(forward), jax.jit(both)
    return lambda: forward(values, indices, x), lambda: both(values, indices, x, dy)


def dense_peak(repetitions: int) -> float:
    """Gives the Gflop/s of XLA's best square product: what a dense layer can reach here."""
    product = jax.jit(jnp.matmul)

    def call(size: int) -> timing.Call:
        square = jnp.ones((size, size))
        return lambda: product(square, square)

    seconds = timing.in_blocks({str(size): call(size) for size in PEAK_SIZES}, repetitions)
    return max(2e-9 * size**3 / min(seconds[str(size)]) for size in PEAK_SIZES)
