"""How the layers of a network are connected: what each reads, and what happens to its sums.

A network's *values* are numbered: value 0 is its input, value k the output of layer k - 1. One
description serves chains, DenseNets, D2RL and residual towers. All code that runs a network (JAX,
NumPy, the exports) follows it, and neuron pruning reads from it where a neuron's output is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from sparl.kernels import Activation, reference
from sparl.networks.norms import Norm

Place = Literal["norms", "input_norms"]
"""What is normalised, by the name that the norms of all layers have in a `Network`: a layer's sums,
in front of its activation, or its inputs."""
NormPlace = Literal["before", "behind"]
"""Where the norm of a hidden layer is: in front of its activation or behind it."""


@dataclass(frozen=True)
class Stage:
    """One layer's place in a network."""

    reads: tuple[int, ...]
    """The values whose concatenation is its input."""
    activation: Activation | None = None
    norm: Norm | None = None
    """Of its sums."""
    input_norm: Norm | None = None
    adds: int | None = None
    """The value that is added to its output: a residual connection."""

    def renumbered(self, numbers: dict[int, tuple[int, ...]]) -> Stage:
        """The stage in a network whose values have other numbers.

        Args:
            numbers: The new numbers of each old value; several if the value is now in pieces.
        """
        adds = None
        if self.adds is not None:
            (adds,) = numbers[self.adds]
        reads = tuple(number for value in self.reads for number in numbers[value])
        return replace(self, reads=reads, adds=adds)


@dataclass(frozen=True)
class Wiring:
    """The connections of a whole network."""

    stages: tuple[Stage, ...]
    """One for each layer, in order."""
    gives: tuple[int, ...]
    """The values whose concatenation is the network's output."""

    @property
    def is_chain(self) -> bool:
        """Whether the layers follow one another with ReLU between them, and nothing else."""
        return self == chain(len(self.stages))

    def misfit(self, shapes: Sequence[tuple[int, int]]) -> str:
        """Why layers of these shapes, (out, in), cannot be connected so; empty where they can."""
        if len(shapes) != len(self.stages) or not shapes:
            return f"it has {len(shapes)} layers and {len(self.stages)} stages"
        widths = [shapes[0][1]]
        for i, ((outputs, inputs), stage) in enumerate(zip(shapes, self.stages, strict=True)):
            numbers = [*stage.reads, *(() if stage.adds is None else (stage.adds,))]
            if not stage.reads or not all(0 <= number <= i for number in numbers):
                return f"layer {i} reads the values {numbers}, and there are those up to {i}"
            read = sum(widths[number] for number in stage.reads)
            if read != inputs:
                return f"layer {i} has {inputs} inputs and reads {read}"
            if stage.adds is not None and widths[stage.adds] != outputs:
                return f"layer {i} has {outputs} outputs and adds {widths[stage.adds]}"
            widths.append(outputs)
        if not self.gives or not all(0 <= number <= len(shapes) for number in self.gives):
            return f"it gives the values {self.gives}, and there are those up to {len(shapes)}"
        return ""

    def segments(self) -> tuple[Wiring, list[tuple[int, ...]]]:
        """The wiring with every chain of layers joined to one stage.

        Within a chain only the next layer reads a layer's output, and there is no norm. The joined
        stage has the input norm of the chain's first layer, and the norm, the activation and the
        residual connection of its last layer. Every chain is as long as it can be.

        Returns:
            The wiring of the chains, and the layers of each chain.
        """
        uses = [value for stage in self.stages for value in (*stage.reads, stage.adds)]
        uses += self.gives
        chains: list[tuple[int, ...]] = [(0,)]
        for i, (previous, stage) in enumerate(pairwise(self.stages), start=1):
            only_reader = stage.reads == (i,) and uses.count(i) == 1
            nothing_between = (
                stage.input_norm is None and previous.norm is None and previous.adds is None
            )
            if only_reader and nothing_between:
                chains[-1] += (i,)
            else:
                chains.append((i,))
        numbers: dict[int, tuple[int, ...]] = {0: (0,)}
        numbers |= {chain[-1] + 1: (k,) for k, chain in enumerate(chains, start=1)}
        ends = [(self.stages[chain[0]], self.stages[chain[-1]]) for chain in chains]
        stages = tuple(
            replace(last, reads=first.reads, input_norm=first.input_norm).renumbered(numbers)
            for first, last in ends
        )
        gives = tuple(number for value in self.gives for number in numbers[value])
        return Wiring(stages, gives), chains

    def normed(self, norm: Norm | None, place: NormPlace, of_input: bool) -> Wiring:
        """The wiring with a norm for every hidden layer.

        Args:
            norm: The kind; None leaves the wiring as it is.
            place: In front of each hidden layer's activation, or behind it: there all that a later
                layer reads is normalised, for each layer anew.
            of_input: Whether layers that read the network's input normalise what they read.
        """
        if norm is None:
            return self
        last = len(self.stages) - 1

        def with_norms(i: int, stage: Stage) -> Stage:
            inputs = of_input if 0 in stage.reads else False
            inputs |= place == "behind" and i > 0
            sums = place == "before" and i < last
            return replace(
                stage,
                norm=norm if sums else stage.norm,
                input_norm=norm if inputs else stage.input_norm,
            )

        return replace(self, stages=tuple(map(with_norms, range(last + 1), self.stages)))

    def then(self, after: Wiring) -> Wiring:
        """The wiring of this network followed by `after`, whose input is this network's output."""
        count = len(self.stages)
        numbers = {0: self.gives} | {k: (count + k,) for k in range(1, len(after.stages) + 1)}
        return Wiring(
            (*self.stages, *(stage.renumbered(numbers) for stage in after.stages)),
            tuple(number for value in after.gives for number in numbers[value]),
        )


@dataclass(frozen=True)
class Arrays:
    """The array functions by which `run` runs a network, for one kind of array.

    The arrays may also be stand-ins, such as the names of an ONNX graph's nodes.
    """

    concatenate: Callable[[list[Any]], Any]
    add: Callable[[Any, Any], Any]
    activations: dict[Activation, Callable[[Any], Any]]


IN_JAX = Arrays(jnp.concatenate, jnp.add, reference.ACTIVATIONS)


def _swish(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x) without overflow: where exp would overflow, x / exp(80) is as good as 0."""
    return x / (1.0 + np.exp(-np.maximum(x, -80.0)))


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
    normalised: Callable[[Place, int, Any], Any],
    arrays: Arrays,
) -> Any:
    """The output of a network with this wiring.

    Args:
        wiring: The connections.
        x: The input, [features, batch].
        linear: (number of a layer, its input) -> its sums.
        normalised: (place, number of a layer, its sums or inputs) -> the same, normalised.
        arrays: The functions of the kind of array that `x` is.
    """
    values = [x]
    for i, stage in enumerate(wiring.stages):
        y = _concatenated(values, stage.reads, arrays)
        if stage.input_norm is not None:
            y = normalised("input_norms", i, y)
        y = linear(i, y)
        if stage.norm is not None:
            y = normalised("norms", i, y)
        if stage.activation is not None:
            y = arrays.activations[stage.activation](y)
        if stage.adds is not None:
            y = arrays.add(y, values[stage.adds])
        values.append(y)
    return _concatenated(values, wiring.gives, arrays)


def _concatenated(values: Sequence[Any], numbers: Sequence[int], arrays: Arrays) -> Any:
    if len(numbers) == 1:
        return values[numbers[0]]
    return arrays.concatenate([values[number] for number in numbers])


def chain(layers: int, activation: Activation = "relu") -> Wiring:
    """A plain MLP: layers one after the other."""
    hidden = tuple(Stage((i,), activation) for i in range(layers - 1))
    return Wiring((*hidden, Stage((layers - 1,))), (layers,))


def densenet(layers: int, activation: Activation) -> Wiring:
    """A DenseNet: every layer reads all values before it, the newest first (2102.07920)."""
    reads = [tuple(range(i, -1, -1)) for i in range(layers)]
    hidden = tuple(Stage(read, activation) for read in reads[:-1])
    return Wiring((*hidden, Stage(reads[-1])), (layers,))


def d2rl(layers: int, activation: Activation) -> Wiring:
    """D2RL: every hidden layer but the first reads the network's input again (2010.09163)."""
    hidden = tuple(Stage((i, 0) if i else (0,), activation) for i in range(layers - 1))
    return Wiring((*hidden, Stage((layers - 1,))), (layers,))


def simba(blocks: int, activation: Activation) -> Wiring:
    """SimBa: an embedding, residual blocks, a layer norm and the head (2410.09754).

    A block is a layer norm and two layers.
    """
    stages, residual_stream = [Stage((0,))], 1
    for _ in range(blocks):
        inner = len(stages) + 1
        stages += [
            Stage((residual_stream,), activation, input_norm="layer"),
            Stage((inner,), adds=residual_stream),
        ]
        residual_stream = inner + 1
    return Wiring((*stages, Stage((residual_stream,), input_norm="layer")), (len(stages) + 1,))


def feature_tower(layers: int, activation: Activation) -> Wiring:
    """A DenseNet with batch norms and no head, whose output is all its values (2003.01629)."""
    values = [tuple(range(i, -1, -1)) for i in range(layers + 1)]
    return Wiring(tuple(Stage(reads, activation, "batch") for reads in values[:-1]), values[-1])
