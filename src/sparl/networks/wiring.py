"""How the layers of a network are connected: what each reads, and what becomes of its sums.

A network's *values* are numbered: 0 is its input, k what layer k - 1 gives. One description serves
chains, DenseNets, D2RL and residual towers, and every place that runs a network (JAX, NumPy, the
exports) follows it. What prunes neurons reads from it where a neuron's output is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from sparl.kernels import Activation, reference

Norm = Literal["layer", "batch"]
"""layer: of what a layer reads, before it. batch: of its sums, before the activation."""


@dataclass(frozen=True)
class Stage:
    """One layer's place in a network."""

    reads: tuple[int, ...]
    """The values that are its input, one behind the other."""
    activation: Activation | None = None
    norm: Norm | None = None
    adds: int | None = None
    """A value that is added to what it gives: a residual connection."""

    def shifted(self, by: dict[int, tuple[int, ...]]) -> Stage:
        """The stage with its values numbered otherwise, one perhaps in several pieces."""
        adds = None
        if self.adds is not None:
            (adds,) = by[self.adds]
        return replace(self, reads=tuple(n for value in self.reads for n in by[value]), adds=adds)


@dataclass(frozen=True)
class Wiring:
    """The stages in order, and which values the network gives, one behind the other."""

    stages: tuple[Stage, ...]
    gives: tuple[int, ...]

    @property
    def is_chain(self) -> bool:
        """Layers one after the other with ReLU between them."""
        return self == chain(len(self.stages))

    def segments(self) -> tuple[Wiring, list[tuple[int, ...]]]:
        """The network with every longest chain of layers as one stage, and the layers of each.

        In a chain nothing but the next layer reads what a layer gives, and there is no norm within
        it: the stage has the first layer's norm, and the last one's activation and addition.
        """
        used = [value for stage in self.stages for value in (*stage.reads, stage.adds)]
        used += self.gives
        chains: list[tuple[int, ...]] = [(0,)]
        for i, (before, stage) in enumerate(pairwise(self.stages), start=1):
            alone = stage.reads == (i,) and used.count(i) == 1
            if alone and stage.norm is None and before.norm != "batch" and before.adds is None:
                chains[-1] += (i,)
            else:
                chains.append((i,))
        by: dict[int, tuple[int, ...]] = {0: (0,)}
        by |= {chain[-1] + 1: (k,) for k, chain in enumerate(chains, start=1)}
        ends = [(self.stages[chain[0]], self.stages[chain[-1]]) for chain in chains]
        stages = tuple(
            replace(first, activation=last.activation, adds=last.adds).shifted(by)
            for first, last in ends
        )
        return Wiring(stages, tuple(n for value in self.gives for n in by[value])), chains

    def then(self, after: Wiring) -> Wiring:
        """This network, and `after` on what it gives."""
        count = len(self.stages)
        by = {0: self.gives} | {k: (count + k,) for k in range(1, len(after.stages) + 1)}
        return Wiring(
            (*self.stages, *(stage.shifted(by) for stage in after.stages)),
            tuple(n for value in after.gives for n in by[value]),
        )


@dataclass(frozen=True)
class Arrays:
    """What running a network takes besides layers and norms: functions of arrays, or of whatever
    stands for them."""

    concatenate: Callable[[list[Any]], Any]
    add: Callable[[Any, Any], Any]
    activations: dict[Activation, Callable[[Any], Any]]


IN_JAX = Arrays(jnp.concatenate, jnp.add, reference.ACTIVATIONS)


def _swish(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-np.maximum(x, -80.0)))  # where exp would overflow, x / exp(80) is 0


IN_NUMPY = Arrays(
    np.concatenate,
    np.add,
    {
        "relu": lambda x: np.maximum(x, 0.0),
        "swish": _swish,
        "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
        "tanh": np.tanh,
    },
)


def run(
    wiring: Wiring,
    x: Any,
    linear: Callable[[int, Any], Any],
    normalised: Callable[[int, Any], Any],
    arrays: Arrays,
) -> Any:
    """What a network gives for `x` [features, batch].

    `linear` is (number of a layer, its input) -> its sums, `normalised` the same for its norm.
    """
    values = [x]

    def joined(numbers: Sequence[int]) -> Any:
        if len(numbers) == 1:
            return values[numbers[0]]
        return arrays.concatenate([values[number] for number in numbers])

    for i, stage in enumerate(wiring.stages):
        y = joined(stage.reads)
        if stage.norm == "layer":
            y = normalised(i, y)
        y = linear(i, y)
        if stage.norm == "batch":
            y = normalised(i, y)
        if stage.activation is not None:
            y = arrays.activations[stage.activation](y)
        if stage.adds is not None:
            y = arrays.add(y, values[stage.adds])
        values.append(y)
    return joined(wiring.gives)


def chain(layers: int, activation: Activation = "relu") -> Wiring:
    """Layers one after the other: a plain MLP."""
    hidden = tuple(Stage((i,), activation) for i in range(layers - 1))
    return Wiring((*hidden, Stage((layers - 1,))), (layers,))


def densenet(layers: int, activation: Activation) -> Wiring:
    """Every layer reads all that was there before it, the newest first (2102.07920)."""
    reads = [tuple(range(i, -1, -1)) for i in range(layers)]
    hidden = tuple(Stage(read, activation) for read in reads[:-1])
    return Wiring((*hidden, Stage(reads[-1])), (layers,))


def d2rl(layers: int, activation: Activation) -> Wiring:
    """Every hidden layer but the first reads the network's input again (2010.09163)."""
    hidden = tuple(Stage((i, 0) if i else (0,), activation) for i in range(layers - 1))
    return Wiring((*hidden, Stage((layers - 1,))), (layers,))


def simba(blocks: int, activation: Activation) -> Wiring:
    """An embedding, residual blocks of two layers behind a layer norm, a last norm and the head
    (2410.09754)."""
    stages, stream = [Stage((0,))], 1
    for _ in range(blocks):
        inner = len(stages) + 1
        stages += [Stage((stream,), activation, "layer"), Stage((inner,), adds=stream)]
        stream = inner + 1
    return Wiring((*stages, Stage((stream,), norm="layer")), (len(stages) + 1,))


def feature_tower(layers: int, activation: Activation) -> Wiring:
    """A DenseNet without a head, with batch norms, that gives all it has (OFENet, 2003.01629)."""
    values = [tuple(range(i, -1, -1)) for i in range(layers + 1)]
    return Wiring(tuple(Stage(reads, activation, "batch") for reads in values[:-1]), values[-1])
