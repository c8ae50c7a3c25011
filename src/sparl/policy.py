"""A trained policy: what is left of an agent when training is over, and what a device needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.engine import Forward, HostNetwork
from sparl.envs import Spaces, narrowed, stack
from sparl.errors import BadFile, BadValue
from sparl.layouts import StraightThrough
from sparl.learner import Structure
from sparl.networks import Network, Normalization, network_as_html, select_ranges
from sparl.storage import StoredPolicy, policy_file

GOLDEN = 8
FEW = 16
"""Observations at once that the kernels take directly: dispatching a compiled call takes longer
than all that it computes for so few."""
TOLERANCE = 1e-4
"""Most that what a loaded policy's network gives may differ from its golden outputs: actions in
[-1, 1] units; values of choices as a share of the largest, if that is above 1."""


class Policy:
    """Acts like the agents of Stable-Baselines3: `action, state = policy.predict(observation)`."""

    def __init__(
        self,
        network: Network,
        spaces: Spaces,
        golden: NDArray[np.float32],
        normalization: Normalization | None = None,
    ) -> None:
        """A network that gives actions in [-1, 1], or values of choices where those are discrete.

        `golden`: observations [pairs, obs] whose outputs are stored along with the policy.
        `normalization`: what the network sees observations through, if it was trained so. All
        observations that the policy takes, golden ones too, are as the environment gives them.
        """
        self.network = network.with_layers(
            [la.packed() if isinstance(la, StraightThrough) else la for la in network.layers]
        )
        self.spaces = spaces
        self.golden = np.asarray(golden, np.float32)
        self.normalization = normalization

    def __getstate__(self) -> dict[str, Any]:
        """Without the bound kernel, which no other process can take; it is bound anew there."""
        return {name: value for name, value in vars(self).items() if name != "_direct"}

    def _repr_html_(self) -> str:
        """What each layer stores, as a notebook shows it."""
        seen, gives = self.spaces.observation_size, self.spaces.action_size
        return network_as_html(f"policy: {seen} observations, {gives} actions", self.network)

    def act(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """[batch, obs] to [batch, act] in [-1, 1], or to the best choices [batch]."""
        if len(observation) <= FEW and self._direct is not None:
            seen = np.asarray(self.normalized(observation), np.float32)
            outputs = self._direct(seen.T).T
        else:
            outputs = self.outputs(observation)
        return outputs.argmax(axis=-1) if self.spaces.discrete else outputs

    @cached_property
    def _direct(self) -> HostNetwork | None:
        """The network by the kernels, without XLA; None where they cannot run it."""
        networks = {"policy": self.network}
        structure = Structure.of(networks)
        forward = Forward(structure, "policy")
        if forward.direct is None:
            return None
        vectors = structure.flatten(networks), structure.flatten_indices(networks)
        return partial(forward, *map(np.asarray, vectors))

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network gives: [batch, obs] to actions [batch, act], or values of choices."""
        return np.asarray(_apply(self.network, self.normalized(observation)))

    def normalized(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Observations [batch, obs] as the network sees them."""
        return observation if self.normalization is None else self.normalization(observation)

    def select_inputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network's layers see of observations [batch, obs]."""
        return select_ranges(self.network.inputs, observation.T, np).T

    def narrowed(self) -> Policy:
        """The same policy of what its network sees, which is all that a device has to measure."""
        ranges = self.network.inputs
        if ranges is None:
            return self
        normalization = self.normalization
        if normalization is not None:
            mean, scale, clip = normalization
            seen = [np.asarray(select_ranges(ranges, array, np)) for array in (mean, scale)]
            normalization = Normalization(seen[0], seen[1], clip)
        network = replace(self.network, inputs=None)
        return Policy(
            network, narrowed(self.spaces, ranges), self.select_inputs(self.golden), normalization
        )

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The action for one observation, or the actions for a batch of them.

        Args:
            observation: As the environment gives it, or flattened; or a batch of them.
            state: What the call before gave, where the agent sees several frames: the frames. A
                policy of one frame gives it back as it was given.
            episode_start: Whether an episode starts with this observation, for each of a batch.
                With several frames its first observation fills them all, as `state` None does.
            deterministic: Must be True.

        Returns:
            Actions as the environment takes them, in its bounds, shape and type, and the state.

        Raises:
            BadValue: `deterministic` is False: how an agent explores is not part of its policy.
        """
        if not deterministic:
            raise BadValue(
                "deterministic is False, and a saved policy does not know how its agent explores: "
                "load the run folder, whose `predict` does"
            )
        return predict(self.act, self.spaces, observation, state, episode_start)

    def copied(self) -> Policy:
        """The same in memory of its own: that of a run's networks is used again by updates."""
        network = jax.tree.map(np.array, self.network)
        return Policy(network, self.spaces, self.golden, self.normalization)

    def save(self, folder: str | Path) -> None:
        """Writes the policy; the same policy always gives the same bytes."""
        stored = StoredPolicy(self.network, self.spaces, self.normalization, self.golden)
        policy_file.write(Path(folder), stored, self.outputs(self.golden))

    @classmethod
    def load(cls, folder: str | Path) -> Policy:
        """A policy that `save` wrote; checks it against its golden pairs.

        Raises:
            BadFile: Files that are missing, altered, of another format or not as `save` writes
                them, and a policy that does not act as it did when it was saved.
        """
        stored, outputs = policy_file.read(Path(folder))
        policy = cls(stored.network, stored.spaces, stored.golden, stored.normalization)
        with np.errstate(all="ignore"):
            error = np.abs(policy.outputs(policy.golden) - outputs).max(initial=0.0)
        if not error <= TOLERANCE * np.abs(outputs).max(initial=1.0):
            raise BadFile(
                f"{folder}: outputs differ from the golden ones by {error:.1e}",
                file=Path(folder) / policy_file.ARRAYS,
                field=policy_file.golden_output(policy.spaces),
                value=float(error),
            )
        return policy


@jax.jit
def _apply(network: Network, observation: Any) -> Any:
    """Outputs [batch, out]. Policies of the same shapes share what is compiled."""
    return network(observation.T).T


def predict(
    act: Callable[[NDArray[np.float32]], NDArray[Any]],
    spaces: Spaces,
    observation: Any,
    state: Any,
    episode_start: Any,
) -> tuple[Any, Any]:
    """What `Policy.predict` gives, of whatever acts.

    Args:
        act: [batch, obs] to [batch, act] in [-1, 1], or to numbers of discrete actions [batch].
    """
    if spaces.frames > 1:
        flat, state = stack(spaces, observation, state, episode_start)
    else:
        flat = spaces.flat(observation)
    actions = act(np.atleast_2d(flat))
    return spaces.to_env_action(actions[0] if flat.ndim == 1 else actions), state
