"""What every agent is: hyperparameters, and an algorithm as pure functions over networks.

An agent is a frozen dataclass. Its fields are the options of the command line, their docstrings the
help; its methods are the paper's mathematics. It never learns how the layers of a network are
stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax
from jaxtyping import Array, Float
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.common import of_networks
from sparl.agents.common.annealing import Anneal, annealing
from sparl.agents.common.schedule import UpdateSchedule
from sparl.kernels import Activation
from sparl.learner import AgentState, Constraint, Role
from sparl.networks import Kind, Network, Networks, NormPlace, all_by_batch, build
from sparl.replay import Batch, Replay

Actions = Literal["continuous", "discrete"]
"""What an agent acts by: numbers in [-1, 1], or one choice out of several."""
Acting = Callable[[Any], Any]
"""The acting network on NumPy arrays, [inputs, batch] to [outputs, batch]."""


@dataclass(frozen=True)
class Agent(validation.Options, ABC):
    """Hyperparameters that every agent has, and what every agent can do."""

    name: ClassVar[str] = ""
    """What it is called on the command line and in run folders."""
    actions: ClassVar[Actions | Literal["both"]]
    acting: ClassVar[tuple[str, str]] = ("actor", "actor")
    """The part, and the network in it, that acts."""
    roles: ClassVar[Mapping[str, Role]]
    """Of every part that holds networks."""
    with_target: ClassVar[frozenset[str]] = frozenset()
    """The parts that have target networks."""
    metrics: ClassVar[Mapping[str, str]]
    """What `update` tells, with the name of each in TensorBoard."""
    needs_teacher: ClassVar[bool] = False
    """Whether it learns what another policy does, and nothing by itself."""
    first_phase: ClassVar[str] = "random"
    """What `first_actions` are, in a word."""
    adam_epsilon: ClassVar[float] = 1e-8
    """Keeps Adam from dividing by 0."""

    network: Kind = "mlp"
    """How layers are connected. mlp: one after the other. densenet: each reads all before it
    (2102.07920). d2rl: each reads the observation again (2010.09163). simba: residual blocks behind
    layer norms (2410.09754)."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers, of every network; of a simba one for each block, all alike."""
    activation: Activation = "relu"
    """Between layers; swish is also known as SiLU."""
    norm: Literal["none", "batch", "layer"] = "none"
    """Normalises hidden layers. batch: each feature over samples, by the batch in the losses that
    train a network and by running statistics elsewhere (1502.03167). layer: each sample over
    features (1607.06450)."""
    norm_place: NormPlace = "before"
    """Whether these norms are before or behind activations."""
    norm_input: bool = True
    """Whether the networks' inputs have such a norm, too."""
    renorm_from: int | None = None
    """Updates after which batch norms are renormalised: in losses, too, they come close to what
    running statistics give (1702.03275). None: never."""
    learning_rate: float = 3e-4
    """Adam's step size. A learned representation has an Adam of its own, with 3e-4."""
    beta1: float = 0.9
    """Adam's memory of gradients, for networks; a learned temperature has 0.9."""
    learning_rate_schedule: Anneal = "constant"
    """How learning rates go over the run: constant, or down along a line or a cosine."""
    learning_rate_end: float = 0.0
    """Share of the learning rates that such a schedule ends with."""
    learning_rate_by_density: bool = False
    """Divide Adam's step of a sparse layer's weights by the share of them that the layer keeps
    (SµPar, 2405.15743)."""
    weight_decay: float = 0.0
    """Times the weights, added to their gradient before Adam (L2, not AdamW's decay)."""
    decoupled_weight_decay: float = 0.0
    """AdamW's: times learning rate and weights, taken off them in every step (1711.05101)."""
    max_grad_norm: float | None = None
    """Longest gradient of a part (all its networks together); a longer one is scaled down."""
    batch_size: int = 256
    """Transitions in one update."""
    gamma: float = 0.99
    """Discount of future rewards."""
    learning_starts: int = 10_000
    """Steps of uniformly random actions, without updates, before learning begins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(learning_rate=self.learning_rate, batch_size=self.batch_size)
        if self.max_grad_norm is not None:
            validation.positive(max_grad_norm=self.max_grad_norm)
        of_networks.check(self)
        validation.fractions(
            gamma=self.gamma, beta1=self.beta1, learning_rate_end=self.learning_rate_end
        )
        validation.at_least(
            0,
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.decoupled_weight_decay,
            learning_starts=self.learning_starts,
        )

    # What an agent brings.

    @abstractmethod
    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, dict[str, Any]]:
        """All parts: dense networks by name, which one optimizer trains together.

        A part may hold a few bare arrays instead, as SAC's temperature: they are trained and saved,
        and methods never see them.

        Args:
            action_size: Numbers of an action; the number of choices where actions are discrete.
        """

    @abstractmethod
    def update(
        self, state: AgentState, batch: Batch, key: jax.Array
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        """One update, pure and compiled.

        Returns:
            The state with the parts in `state.due` moved, and metrics. An off-policy agent's have
            `td_error`, the absolute TD errors [batch], among them.
        """

    @abstractmethod
    def act(
        self, network: Acting, observation: NDArray[np.float32]
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        """The best actions: [batch, obs] to [batch, act] in [-1, 1], or to choices [batch]."""

    @abstractmethod
    def explore(
        self,
        network: Acting,
        observation: NDArray[np.float32],
        action_size: int,
        step: int,
        rng: np.random.Generator,
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        """Actions to learn from at an environment step, as `act` gives them: see there."""

    @property
    @abstractmethod
    def schedule(self) -> UpdateSchedule:
        """When updates are made."""

    @abstractmethod
    def batches(
        self, replay: Replay, updates: int, step: int, rng: np.random.Generator, evaluate: Any
    ) -> NDArray[np.float32]:
        """The rows of the next `updates` updates, [updates, batch, width].

        Args:
            evaluate: Gives, for rows [n, width], what `OnPolicyAgent.evaluate` says of them.
        """

    # What it may change.

    def due(self, update: int) -> frozenset[str]:
        """What update number `update` (from 0) changes: names of parts, and further words.

        `update` is compiled once for every set that occurs, and finds it in `state.due`.
        """
        return frozenset(self.roles)

    def policy(self, networks: Networks) -> Network:
        """What is saved of the acting part's networks: gives actions, or values of choices."""
        return networks[self.acting[1]]

    def learning_rate_of(self, part: str) -> float:
        """Adam's step size for a part, before it is annealed."""
        return self.learning_rate

    def optimizer(self, part: str) -> optax.GradientTransformation:
        """Adam (1412.6980), with decay of the weights where it is asked for.

        L2's is added to the gradient, so Adam's moments see it: as PyTorch's Adam has it, and so
        the papers whose codes use that one (DS-TD3, 2106.04217). AdamW's goes by them.
        """
        rate, decay = self.learning_rate_of(part), self.decoupled_weight_decay
        constants: Any = {"b1": self.beta1, "eps": self.adam_epsilon}
        step = optax.adam(rate, **constants)
        if decay:
            step = optax.adamw(rate, **constants, weight_decay=decay)
        if not self.weight_decay:
            return step
        return optax.chain(optax.add_decayed_weights(self.weight_decay), step)

    def first_actions(self, observation: NDArray[np.float32], draw: Callable[[], Any]) -> Any:
        """Actions before learning starts, as `explore` gives them: `draw` gives a random one."""
        return np.stack([draw() for _ in observation])

    def check_run(self, run: Any) -> None:
        """Raises `BadValue` for options of the run that do not go with this agent."""

    def continued(self, step: int) -> Agent:
        """The same for a run that begins with what another has learned until a step."""
        renorm_from, made = self.renorm_from, self.schedule.planned(step)
        renorm_from = None if renorm_from is None else max(0, renorm_from - made)
        starts = max(0, self.learning_starts - step)
        return replace(self, learning_starts=starts, renorm_from=renorm_from)

    def for_actions(self, actions: Actions) -> Agent:
        """The same agent where actions are such; raises `BadValue` if an option is for others."""
        return self

    @property
    def scales_rewards(self) -> bool:
        """Whether batches have rewards divided by the running deviation of the discounted return,
        in `update` and in an on-policy agent's `evaluate`."""
        return False

    @property
    def averages_policy(self) -> bool:
        """Whether evaluations and saved policies have the acting part's target, a slow average."""
        return False

    @property
    def noise_part(self) -> str | None:
        """The part of bare arrays whose numbers stand behind the acting network's outputs in
        `explore`; None where that network says all."""
        return None

    @property
    def constraint(self) -> Constraint | None:
        """What a part's networks are brought to at the start and behind every step, if anything."""
        return None

    @property
    def extras(self) -> tuple[str, ...]:
        """Columns that `batches` puts behind the rows of a rollout, as `batch.extras` has them."""
        return ()

    @property
    def ofenet(self) -> Any:
        """The representation that is learned beside the agent, if there is one."""
        return None

    # What follows from it.

    @property
    def target_parts(self) -> frozenset[str]:
        """The parts that have a second vector of weights, which follows the first slowly."""
        return self.with_target | ({self.acting[0]} if self.averages_policy else set())

    @property
    def anneal(self) -> Callable[[Any], Any] | None:
        """Share of a run that is over -> what learning rates are multiplied by."""
        return annealing(self.learning_rate_schedule, self.learning_rate_end)

    @property
    def updates_before(self) -> int:
        """Updates of the representation alone, before the agent's begin."""
        return self.ofenet.updates if self.ofenet else 0

    @property
    def rows_per_update(self) -> int:
        """Transitions that an update takes: a representation has a batch of its own."""
        return self.batch_size * (2 if self.ofenet else 1)

    def build(self, key: jax.Array | None, sizes: Sequence[int], squash: bool = False) -> Network:
        """A dense network from `sizes`: inputs, hidden widths, outputs."""
        norm = None if self.norm == "none" else self.norm
        wired = (self.network, self.activation, norm, self.norm_place, self.norm_input)
        return build(key, sizes, squash, *wired)

    def by_batch(
        self, state: AgentState, networks: Networks, inputs: jax.Array, samples: int | None = None
    ) -> tuple[Float[Array, "members out samples"], Networks]:
        """The outputs for `inputs` [in, batch] in training mode: batch norms go by the batch.

        Returns:
            The outputs (with `samples`, of the first ones alone), and the networks with that batch
            in their running statistics, for `state.with_statistics`.
        """
        renormalise: Any = False
        if self.renorm_from is not None:
            assert state.updates is not None
            renormalise = state.updates >= self.renorm_from
        return all_by_batch(networks, inputs, renormalise, samples)
