"""The protocol of methods: when and how layouts change. Each method is one file for one paper.

A method knows networks, layouts and transport. It knows nothing of environments, and no agent
knows of it. docs/guides/write-a-method.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sparl import validation
from sparl.errors import BadValue
from sparl.layouts import Dense, Layout
from sparl.learner import AfterStep, BeforeStep, Learner, Role
from sparl.networks import Network, Networks
from sparl.topology import NofM, divergence

MethodState = dict[str, Any]
"""All that a method remembers: a dictionary of arrays.

Their shapes must follow from the layouts of the networks: `Method.start` gives the same shapes for
networks with these layouts.
"""

RUNNING = "running"
"""The key of the part of a method's state that an update may change (by `before_step`)."""


class Returns(NamedTuple):
    """What a method sees of training: mean returns of ten episodes each, exploration included.

    All fields are 0 while there are fewer than ten episodes.
    """

    recent: float | Float[Array, ""] = 0.0
    """The mean of the newest ten episodes."""
    best: float | Float[Array, ""] = 0.0
    """The highest value of `recent` so far."""
    lowest: float | Float[Array, ""] = 0.0
    """The lowest value of `recent` so far."""
    error: float | Float[Array, ""] = 0.0
    """The standard error of the difference of two such means, by how episodes in a row differ."""

    def hold(self, tolerance: float, errors: float = 0.0) -> bool | Bool[Array, ""]:
        """Whether the recent return is near the best.

        Args:
            tolerance: How far it may fall short, as a share of the distance between the lowest and
                the best. With 1 there is no such limit.
            errors: How far it may fall short, in standard errors; 0 for no such limit.
        """
        short = self.best - self.recent
        near = tolerance == 1 or short <= tolerance * (self.best - self.lowest)
        return near & (short <= errors * self.error) if errors else near


class TrainingProgress(NamedTuple):
    """How far a run has come."""

    update: int
    """The number of the update just made, counted from 1."""
    updates: int
    """The number of updates in the whole run."""
    returns: Returns = Returns()

    @property
    def progress(self) -> float:
        """The share of the run's updates that are made."""
        return self.update / self.updates


class Signals(NamedTuple):
    """What a method may use at a restructuring, besides the learner and its own state."""

    stage: Hashable
    """The answer of `Method.plan`. It is static: it is known while compiling."""
    progress: Float[Array, ""]
    """The share of the run's updates that are made, in [0, 1]."""
    returns: Returns
    """How training episodes went."""
    gradients: Callable[[], dict[str, Networks]]
    """Gives the losses' gradients by *every* weight, dormant ones too, for each part: networks of
    `Dense` layers. They are of the batch of the update just made. A call costs a dense update;
    without a call nothing is computed."""


@dataclass(frozen=True)
class Method(validation.Options):
    """The base of all methods; as it stands, networks stay as the agent made them."""

    name: ClassVar[str] = ""
    """Its name on the command line and in run folders."""
    internal: ClassVar[frozenset[str]] = frozenset()
    """Names of fields that are no options of the command line."""
    prunes: ClassVar[bool] = False
    """Whether it can prune networks that are already trained: it leaves out the weights that matter
    least. (SET and others start at random places, so they cannot.)"""
    finishes: ClassVar[bool] = False
    """Whether it prunes along a schedule and is done when the run ends: what it left then stays in
    a run that learns on in another environment."""
    reshapes: ClassVar[bool] = False
    """Whether every restructuring gives arrays of other shapes, so that each is compiled to be run
    once. It is compiled with less effort then."""
    shapes_by_seed: ClassVar[bool] = False
    """Whether shapes of arrays depend on what a run has learned, and not on the schedule alone:
    then seeds cannot learn in lockstep."""

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Gives the networks their first layouts.

        Args:
            networks: The dense networks of each part, by name.
            key: The key of everything that is drawn at random.
            roles: What each part is for; the names of parts are the agent's own.

        Returns:
            The networks in their first layouts, and the method's first state.
        """
        return networks, {}

    def stage(self, update: int, updates: int) -> Hashable | None:
        """What the method does after an update.

        Each different answer is compiled once, so there should be few. If arrays have other shapes
        after a restructuring, everything else is compiled again, too.

        Args:
            update: The number of the update, counted from 1.
            updates: The number of updates in the whole run.

        Returns:
            A name of what is to be done, or None for nothing.
        """
        return None

    def plan(
        self, stage: Hashable, learner: Learner, state: MethodState, progress: TrainingProgress
    ) -> Hashable | None:
        """Refines the stage, where what is to be done depends on more than the schedule.

        It is called after each `stage` that is not None, outside of compiled code, so `learner`,
        `state` and `progress` hold concrete numbers. The answer must contain everything that the
        shapes of arrays will depend on.

        Returns:
            The stage that `restructure` sees, or None for nothing.
        """
        return stage

    @property
    def needs_episodes(self) -> bool:
        """Whether it looks at episodes of training, which a run from logs alone does not have."""
        return False

    @property
    def before_step(self) -> BeforeStep | None:
        """A function that runs before each optimizer step in the compiled update, or None.

        (part, its networks, gradients, running) -> (gradients, running). `running` is the entry
        RUNNING of the method's state, the only one that an update may change.
        """
        return None

    @property
    def after_step(self) -> AfterStep | None:
        """A function that runs after each optimizer step in the compiled update, or None.

        (part, its networks, running, learning rate) -> networks.
        """
        return None

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Gives the learner its next layouts (by `transport`). This function is compiled.

        Returns:
            The learner, the method's new state, and figures for the log: numbers, or vectors that
            are drawn as histograms.
        """
        return learner, state, {}

    def warnings(self, figures: dict[str, Any]) -> list[str]:
        """Sentences on what a user should know about the figures of a restructuring."""
        return []

    def notes(
        self, networks: dict[str, Networks], roles: Mapping[str, Role], updates: int | None
    ) -> list[str]:
        """Sentences on what a user should know before the run starts.

        Args:
            networks: All networks, dense, by part.
            roles: What the networks of each part are for.
            updates: Of the whole run, if known.
        """
        return []


@dataclass(frozen=True)
class RowWise(Method):
    """The base of methods of row-wise N:M sparsity."""

    pattern: str = "2:4"
    """N:M: of every M weights in a row, N are kept. N:MxV: V neighbouring rows keep the same
    ones."""

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, str):
            raise BadValue(f"pattern is {self.pattern!r}: write it as a text, '2:4' or '1:8x4'")
        super().__post_init__()
        object.__setattr__(self, "pattern", str(self.n_of_m))

    @property
    def n_of_m(self) -> NofM:
        """What `pattern` names."""
        return NofM.parse(self.pattern)

    @classmethod
    def upgraded_options(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """Earlier versions recorded N, M and V, each as a field."""
        if "n" not in recorded or "m" not in recorded:
            return recorded
        left = {name: value for name, value in recorded.items() if name not in ("n", "m", "v")}
        return {"pattern": "{n}:{m}x{v}".format(**{"v": 1} | recorded)} | left


def check_window(begin: float, end: float) -> None:
    """Checks that there is time between two shares of a run.

    Raises:
        BadValue: They are not in [0, 1], or `begin` is not below `end`.
    """
    if not 0 <= begin < end <= 1:
        raise BadValue(f"begin is {begin} and end {end}: 0 <= begin < end <= 1 is needed")


def replace_layers(network: Network, new: dict[int, Layout]) -> Network:
    """A copy of the network with other layers at the positions that `new` names."""
    return network.with_layers([new.get(i, layer) for i, layer in enumerate(network.layers)])


def scaled_to_norm(dense: Float[Array, "out in"], layer: Layout) -> Layout:
    """Scales a sparse layer so that it has the Frobenius norm of its dense matrix.

    Args:
        dense: The matrix that the layer keeps a part of.
        layer: A layer that keeps some of these weights.
    """
    if layer.kept == dense.size:
        return layer
    scale = frobenius(dense) / frobenius(layer.to_dense())
    # Zeros stay zeros: the scale of a layer that has nothing else is no number.
    scaled = jnp.where((layer.active() > 0) & (dense != 0), scale * dense, dense)
    return eqx.tree_at(lambda la: la.weight, layer, layer.pick(scaled))


def frobenius(matrix: Float[Array, "out in"]) -> Float[Array, ""]:
    """The Frobenius norm, to the same bit with any number of threads.

    It is the norm of the rows' norms. XLA would share one sum over all entries among the threads,
    so that its last bit, and with it the whole run, would depend on their number.
    """
    return jnp.linalg.norm(jnp.linalg.norm(matrix, axis=1))


def figures(before: Networks, after: Networks) -> dict[str, jax.Array]:
    """The figures that most methods log at a restructuring.

    Returns:
        For every network `sad_NETWORK`, the number of mask bits that flipped, and `kept_NETWORK`,
        the number of weights that are kept.
    """
    numbers = {}
    for name, network in after.items():
        flips = [
            divergence(old.active(), new.active())
            for old, new in zip(before[name].layers, network.layers, strict=True)
            if not (isinstance(old, Dense) and isinstance(new, Dense))
        ]
        numbers[f"sad_{name}"] = sum(flips, jnp.zeros((), jnp.int32))
        numbers[f"kept_{name}"] = jnp.asarray(sum(layer.kept for layer in network.layers))
    return numbers
