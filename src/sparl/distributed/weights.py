"""The networks as they are sent to actors: only the stored weights of those that act.

Every weight update sends the flat values. The topology, which is layouts and indices, is sent only
after a restructuring has changed it. Targets, critics and Adam's moments are not sent. Of a
representation, only the branch that is used for acting is sent.
"""

from __future__ import annotations

import json
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.agents.common import learner_parts
from sparl.engine import Engine, Forward, HostNetwork
from sparl.learner import Structure
from sparl.networks import serialization
from sparl.replay import Columns


class Topology(NamedTuple):
    """How the acting networks are stored: everything but the values."""

    layouts: str
    """JSON: for each network, in their order, the descriptions of its layers."""
    indices: NDArray[np.int32]
    """The indices of all networks, in their order."""

    @property
    def nbytes(self) -> int:
        """The number of bytes that are sent."""
        return len(self.layouts.encode()) + self.indices.nbytes


class Weights(NamedTuple):
    """The values of the acting networks."""

    version: int
    """The number of updates after which they were read."""
    values: NDArray[np.float32]
    """The values of all networks, in their order."""
    topology_version: int
    """The number of changes of the topology so far."""


class Publisher:
    """Reads the newest weights of an engine, in the form in which they are sent."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._structures: list[Structure] = []
        self.topology = Topology("", np.zeros(0, np.int32))
        """The topology of the weights that `newest` gave last."""
        self._topology_version = 0

    def newest(self) -> Weights:
        """The newest weights; waits for the update that makes them."""
        learner, acting = self._engine.learner, self._engine.acting
        structures = [learner.structures[part] for part, _ in acting]
        values, indices = [], []
        for (part, name), structure in zip(acting, structures, strict=True):
            value_span, index_span = structure.spans(name)
            values.append(np.asarray(learner.parts[part].values)[value_span])
            indices.append(np.asarray(learner.parts[part].indices)[index_span])
        all_indices = np.concatenate(indices)
        same_indices = np.array_equal(all_indices, self.topology.indices)
        if structures != self._structures or not same_indices:
            self._structures = structures
            layouts = [self._engine.layouts[part][name] for part, name in acting]
            self.topology = Topology(json.dumps(layouts), all_indices)
            self._topology_version += 1
        return Weights(self._engine.updates, np.concatenate(values), self._topology_version)

    @property
    def dense_bytes(self) -> int:
        """The number of bytes of the acting networks as they were first made, all dense."""
        names = {name for _, name in self._engine.acting}
        shapes = [shape for name in names for shape in self._engine.originals[name]]
        return 4 * sum(outputs * inputs + outputs for outputs, inputs in shapes)


class ReceivedNetwork(NamedTuple):
    """One acting network without its values."""

    forward: Forward
    value_count: int
    indices: NDArray[np.int32]


class Received:
    """The acting networks on an actor's side."""

    def __init__(self, agent: Any, columns: Columns) -> None:
        """
        Args:
            agent: The agent's hyperparameters, from which the outlines of the networks follow.
        """
        parts = jax.eval_shape(
            lambda key: learner_parts.dense_parts(agent, key, columns), jax.random.key(0)
        )
        self._outlines = [{name: parts[part][name]} for part, name in learner_parts.acting(agent)]
        self._networks: list[ReceivedNetwork] = []
        self.network: HostNetwork = _nothing_received
        """All acting networks as one function."""

    def set_topology(self, topology: Topology) -> None:
        """Takes over another topology. `set_values` must follow."""
        layouts: list[Any] = json.loads(topology.layouts)
        self._networks, indices = [], topology.indices
        for layers, outline in zip(layouts, self._outlines, strict=True):
            (name,) = outline
            structure = Structure.of(serialization.blank_networks({name: layers}, outline))
            value_count, index_count = structure.sizes()
            network_indices, indices = np.split(indices, [index_count])
            forward = Forward(structure, name)
            self._networks.append(ReceivedNetwork(forward, value_count, network_indices))

    def set_values(self, values: NDArray[np.float32]) -> None:
        """Takes over the values of all networks, in their order."""
        if not self._networks:
            raise AssertionError("values came before the topology that they belong to")
        bound = []
        for network in self._networks:
            network_values, values = np.split(values, [network.value_count])
            bound.append(partial(network.forward, network_values, network.indices))
        self.network = lambda x: reduce(lambda y, network: network(y), bound, x)


def _nothing_received(x: NDArray[np.float32]) -> NDArray[np.float32]:
    raise AssertionError("an actor was to act before it had any weights")
