"""How a run's learner acts: on its newest weights, or on those from before an update that runs.

The memory of an update's weights is donated to it, so that weights to act by meanwhile are copied
before. Nothing of that waits for an update that still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.agents import Agent
from sparl.agents.common import learner_parts
from sparl.engine.inference import Forward
from sparl.engine.scales import Seen
from sparl.engine.update import Algorithm
from sparl.learner import Learner, Part
from sparl.replay import Columns

Weights = dict[str, tuple[Any, Any]]
"""By part: its values and its indices, of JAX or of NumPy."""


class ActingNetworks:
    """The networks that act, one behind the other, outside compiled code."""

    def __init__(self, algorithm: Algorithm, learner: Learner) -> None:
        self._networks = [
            (part, Forward(learner.structures[part], name))
            for part, name in learner_parts.acting(algorithm.agent)
        ]
        self.parts = tuple(part for part, _ in self._networks)
        """The parts that they are of."""

    def __call__(self, weights: Weights, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """[inputs, batch] to [outputs, batch]; waits for the update that gives these weights."""
        for name, network in self._networks:
            x = network(*weights[name], x)
        return x


class Acting(Seen):
    """The actions of a run's learner; `Engine` derives from it."""

    agent: Agent
    columns: Columns
    learner: Learner
    _acting: ActingNetworks
    _held: Weights | None = None
    """What `explore` acts by; None for the newest weights."""

    @property
    def acting(self) -> tuple[tuple[str, str], ...]:
        """The networks that act, one behind the other: (part, name) of each."""
        return learner_parts.acting(self.agent)

    def act(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """The best actions: [batch, obs] to [batch, act] in [-1, 1], or to choices [batch]."""
        return self.agent.act(self._best_forward, self.normalized(observation))

    def frozen(self) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
        """`act` as it is at this moment, by numbers of its own; waits for the newest update.

        Another thread may call it while updates and restructurings go on.
        """
        weights, acting, agent = jax.tree.map(np.array, self._best()), self._acting, self.agent
        normalization = self.normalization

        def act(observation: NDArray[np.float32]) -> NDArray[Any]:
            seen = observation if normalization is None else normalization(observation)
            return agent.act(lambda x: acting(weights, x), seen)

        return act

    def explore(
        self, observation: NDArray[np.float32], step: int, rng: np.random.Generator
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        """Actions to learn from, [batch, act] or choices [batch], for observations [batch, obs].

        They are by the weights that are held.
        """
        seen, part = self.normalized(observation), self.agent.noise_part
        network = self._explorer if part is None else partial(self._with_noise, part)
        return self.agent.explore(network, seen, self.columns.action_size, step, rng)

    def weights(self) -> Weights:
        """What explores after the learner's last update."""
        parts = {name: self.learner.parts[name] for name in self._acting.parts}
        return {name: (part.values, part.indices) for name, part in parts.items()}

    def hold(self) -> None:
        """Lets `explore` act by the weights of this moment, while updates make other ones.

        It does so until `hold` or `release` is called again, or until a restructuring, after which
        these weights no longer fit the layouts.
        """
        self._held = self.weights()

    def release(self) -> None:
        """Lets `explore` act by the newest weights."""
        self._held = None

    def _keep_held(self, donated: Mapping[str, Part]) -> None:
        """Copies what is held of parts whose memory an update is about to write over."""
        held = self._held or {}
        taken = {n: w for n, w in held.items() if n in donated and w[0] is donated[n].values}
        if taken:
            self._held = {**held, **_copied(taken)}

    def _best(self) -> Weights:
        """What acts without exploration: the average of the policy, if the agent has one."""
        weights = self.weights()
        if self.agent.averages_policy:
            name = self.agent.acting[0]
            weights[name] = self.learner.parts[name].target, weights[name][1]
        return weights

    def _forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._acting(self.weights(), x)

    def _best_forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._acting(self._best(), x)

    def _explorer(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._forward(x) if self._held is None else self._acting(self._held, x)

    def _with_noise(self, part: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The acting network's outputs, with a part's numbers behind them."""
        values = np.asarray(self.learner.parts[part].values)
        return np.concatenate([self._forward(x), np.tile(values[:, None], x.shape[1])])


@jax.jit
def _copied(weights: Weights) -> Weights:
    """The same in memory of their own."""
    return jax.tree.map(jnp.copy, weights)
