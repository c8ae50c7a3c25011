"""What a method is: when and how layouts change. One file per paper.

A method knows networks, layouts and transport; it knows nothing of environments, and no agent
knows of it. See CONTRIBUTING.md for how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sparl.errors import BadValue
from sparl.layouts import Dense, Layout
from sparl.learner import AfterStep, BeforeStep, Learner, Role
from sparl.networks import Network, Networks
from sparl.topology import NofM, divergence

MethodState = dict[str, Any]
"""A dictionary of arrays: all that a method remembers. Their shapes follow from the layouts of the
networks: they are those that `Method.start` gives for networks so stored."""

RUNNING = "running"
"""The key of what an update may change of a method's state, for methods with `before_step`."""


class Returns(NamedTuple):
    """How training episodes went: means over ten of them, exploration included."""

    recent: float | Float[Array, ""] = 0.0
    """Of the newest ten; all three are 0 while there are fewer."""
    best: float | Float[Array, ""] = 0.0
    """The highest of all `recent` so far."""
    lowest: float | Float[Array, ""] = 0.0

    def hold(self, tolerance: float) -> bool | Bool[Array, ""]:
        """Whether `recent` falls short of the best by no more than `tolerance`, a share of what
        lies between the lowest and the best. A tolerance of 1 always holds."""
        return tolerance == 1 or self.recent >= self.best - tolerance * (self.best - self.lowest)


class TrainingProgress(NamedTuple):
    """Where a run stands."""

    update: int
    """Number of the update just made, from 1."""
    updates: int
    """Updates that the run makes in all."""
    returns: Returns = Returns()

    @property
    def progress(self) -> float:
        """Share of the run's updates that are made."""
        return self.update / self.updates


class Signals(NamedTuple):
    """What the training loop tells a method at a restructuring."""

    stage: Hashable
    """What `Method.plan` answered: static, known while compiling."""
    progress: Float[Array, ""]
    """Share of the run's updates that are made, in [0, 1]."""
    returns: Returns
    gradients: Callable[[], dict[str, Networks]]
    """The losses' gradients by *every* weight of each part's networks, dormant ones too, from the
    batch of the update just made: networks of `Dense` layers. Costs a dense update; what is not
    called is not computed."""


@dataclass(frozen=True)
class Method:
    """What every method is. As it stands, networks start and stay as the agent made them."""

    name: ClassVar[str] = ""
    """What it is called on the command line and in run folders."""
    internal: ClassVar[frozenset[str]] = frozenset()
    """Fields that are no options of the command line."""
    prunes: ClassVar[bool] = False
    """Whether it makes sense for networks that are trained already: what it leaves out of them at
    the start, or later, is what matters least. (SET and others start at random places.)"""

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """The dense networks of every part in their first layout, and the method's state.

        Args:
            networks: Of each part, by name.
            key: For what is drawn at random.
            roles: What each part is for; names of parts are the agent's own.
        """
        return networks, {}

    def stage(self, update: int, updates: int) -> Hashable | None:
        """What is to be done after update number `update` (from 1) of `updates`; None: nothing.

        Each different answer is compiled once, so there should be few. An answer after which
        arrays have other shapes has everything else compiled anew, too.
        """
        return None

    def plan(
        self, stage: Hashable, learner: Learner, state: MethodState, progress: TrainingProgress
    ) -> Hashable | None:
        """The stage once more, where what is to be done depends on more than the schedule.

        Called where `stage` answered, outside of compiled code: `learner`, `state` and
        `progress` hold numbers, and what the shapes of arrays shall depend on goes into the answer.
        """
        return stage

    @property
    def before_step(self) -> BeforeStep | None:
        """What goes before each optimizer step inside the compiled update, if anything.

        (part, its networks, gradients, running) -> (gradients, running), where `running` is what
        the method's state has under the key RUNNING: all of it that an update may change.
        """
        return None

    @property
    def after_step(self) -> AfterStep | None:
        """What follows each optimizer step inside the compiled update, if anything.

        (part, its networks, running, learning rate) -> networks.
        """
        return None

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """The learner in its next layouts (by `transport`), and figures for the log: numbers, or
        vectors to be drawn as histograms."""
        return learner, state, {}

    def warnings(self, figures: dict[str, Any]) -> list[str]:
        """What a user should know of a restructuring's figures, a sentence each."""
        return []

    def notes(self, networks: dict[str, Networks]) -> list[str]:
        """What a user should know before the run starts, a sentence each."""
        return []


@dataclass(frozen=True)
class RowWise(Method):
    """What methods of row-wise N:M sparsity share: the pattern, --pattern N:M or N:MxV."""

    internal: ClassVar[frozenset[str]] = frozenset({"n", "m", "v"})

    n: int = 2
    """Weights kept in every group."""
    m: int = 4
    """Inputs in a group."""
    v: int = 1
    """Neighbouring rows that keep the same columns."""

    def __post_init__(self) -> None:
        _ = self.pattern  # raises BadValue for one that is not possible

    @property
    def pattern(self) -> NofM:
        return NofM(self.n, self.m, self.v)


def check_window(begin: float, end: float) -> None:
    """Raises `BadValue` unless these shares of a run have time between them."""
    if not 0 <= begin < end <= 1:
        raise BadValue(f"begin is {begin} and end {end}: 0 <= begin < end <= 1 is needed")


def replace_layers(network: Network, new: dict[int, Layout]) -> Network:
    """`network` with the layers at the positions of `new` replaced."""
    return network.with_layers([new.get(i, layer) for i, layer in enumerate(network.layers)])


def scaled_to_norm(dense: Float[Array, "out in"], layer: Layout) -> Layout:
    """`layer` with its weights scaled up to the Frobenius norm of the dense matrix it is from."""
    if layer.kept == dense.size:
        return layer
    scale = frobenius(dense) / frobenius(layer.to_dense())
    scaled = jnp.where(layer.active() > 0, scale * dense, dense)
    return eqx.tree_at(lambda la: la.weight, layer, layer.pick(scaled))


def frobenius(matrix: Float[Array, "out in"]) -> Float[Array, ""]:
    """The norm, by way of the rows' norms: of one sum over everything XLA gives each thread a part,
    so that its last bit, and with it a whole run, would depend on their number."""
    return jnp.linalg.norm(jnp.linalg.norm(matrix, axis=1))


def figures(before: Networks, after: Networks) -> dict[str, jax.Array]:
    """For the log, of every network: mask bits that flipped (SAD) and weights kept."""
    found = {}
    for name, network in after.items():
        flips = [
            divergence(old.active(), new.active())
            for old, new in zip(before[name].layers, network.layers, strict=True)
            if not (isinstance(old, Dense) and isinstance(new, Dense))
        ]
        found[f"sad_{name}"] = sum(flips, jnp.zeros((), jnp.int32))
        found[f"kept_{name}"] = jnp.asarray(sum(layer.kept for layer in network.layers))
    return found
