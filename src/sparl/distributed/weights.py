"""What actors are sent of the networks: what is stored of those that act, and no more.

The flat values go out with every weight update. Where they lie, the layouts and their indices, goes
out only when it has changed, which only a restructuring does. Targets, critics and Adam's moments
stay where they are used, and of a representation all but the branch that acting goes through.
"""

from __future__ import annotations

import json
from functools import reduce
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.agents.common import ofenet
from sparl.engine import Engine, Forward, HostNetwork
from sparl.learner import Structure
from sparl.networks import serialization
from sparl.replay import Columns


class Topology(NamedTuple):
    """How the acting networks are stored: all of it but the values."""

    layouts: str
    """JSON: of each network, in their order, the description of each layer."""
    indices: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        return len(self.layouts.encode()) + self.indices.nbytes


class Weights(NamedTuple):
    """The acting networks after `version` updates; `topology` counts the changes of that."""

    version: int
    values: NDArray[np.float32]
    topology: int


class Publisher:
    """The newest weights of an engine, as they are sent."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._structures: list[Structure] = []
        self.topology = Topology("", np.zeros(0, np.int32))
        self.changes = 0

    def newest(self) -> Weights:
        """Waits for the update that makes them."""
        learner, acting = self._engine.learner, self._engine.acting
        structures = [learner.structures[part] for part, _ in acting]
        values, indices = [], []
        for (part, name), structure in zip(acting, structures, strict=True):
            of_values, of_indices = structure.spans(name)
            values.append(np.asarray(learner.parts[part].values)[of_values])
            indices.append(np.asarray(learner.parts[part].indices)[of_indices])
        joined = np.concatenate(indices)
        if structures != self._structures or not np.array_equal(joined, self.topology.indices):
            self._structures = structures
            layouts = [self._engine.layouts[part][name] for part, name in acting]
            self.topology = Topology(json.dumps(layouts), joined)
            self.changes += 1
        return Weights(self._engine.updates, np.concatenate(values), self.changes)

    @property
    def dense_bytes(self) -> int:
        """What the values of the acting networks would take, had they stayed as they were made."""
        names = {name for _, name in self._engine.acting}
        shapes = [shape for name in names for shape in self._engine.originals[name]]
        return 4 * sum(outputs * inputs + outputs for outputs, inputs in shapes)


class Received:
    """The acting networks on an actor's side."""

    def __init__(self, agent: Any, columns: Columns) -> None:
        """`agent`: its hyperparameters, from which the networks' outlines follow."""
        sizes = columns.observation_size, columns.action_size
        parts = jax.eval_shape(
            lambda key: ofenet.dense_parts(agent, key, *sizes),
            jax.random.key(0),
        )
        self._outlines = [{name: parts[part][name]} for part, name in ofenet.acting(agent)]
        self._networks: list[tuple[Forward, int, NDArray[np.int32]]] = []
        """Of each: how to run it, how many values it has, and its indices."""
        self.network: HostNetwork = _nothing_received

    def rearrange(self, topology: Topology) -> None:
        """Takes up another topology; values of it must follow."""
        layouts: list[Any] = json.loads(topology.layouts)
        self._networks, indices = [], topology.indices
        for layers, outline in zip(layouts, self._outlines, strict=True):
            (name,) = outline
            structure = Structure.of(serialization.blanks({name: layers}, outline))
            value_count, index_count = structure.sizes()
            own, indices = np.split(indices, [index_count])
            self._networks.append((Forward(structure, name), value_count, own))

    def update(self, values: NDArray[np.float32]) -> None:
        if not self._networks:
            raise AssertionError("values came before the topology that they belong to")
        bound = []
        for forward, count, indices in self._networks:
            own, values = np.split(values, [count])
            bound.append(forward.bound(own, indices))
        self.network = lambda x: reduce(lambda y, network: network(y), bound, x)


def _nothing_received(x: NDArray[np.float32]) -> NDArray[np.float32]:
    raise AssertionError("an actor was to act before it had any weights")
