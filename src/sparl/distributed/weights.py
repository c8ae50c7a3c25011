"""What actors are sent of the networks: what is stored of the part that acts, and no more.

The flat values go out with every weight update. Where they lie, the layouts and their indices, goes
out only when it has changed, which only a restructuring does. Targets, critics and Adam's moments
stay where they are used.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl import blueprint
from sparl.acting import Forward, HostNetwork
from sparl.engine import Engine
from sparl.learner import Structure
from sparl.networks import Networks


class Topology(NamedTuple):
    """How the acting part is stored: all of it but the values."""

    layouts: str
    """JSON: of each network of the part the description of each layer."""
    indices: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        return len(self.layouts.encode()) + self.indices.nbytes


class Weights(NamedTuple):
    """The acting part after `version` updates; `topology` counts the changes of that."""

    version: int
    values: NDArray[np.float32]
    topology: int


class Publisher:
    """The newest weights of an engine, as they are sent."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._structure: Structure | None = None
        self.topology = Topology("", np.zeros(0, np.int32))
        self.changes = 0

    def newest(self) -> Weights:
        """Waits for the update that makes them."""
        part = self._engine.agent.ACTING[0]
        found, structure = self._engine.learner.parts[part], self._engine.learner.structures[part]
        indices = np.array(found.indices)  # that buffer is an update's to reuse
        if structure != self._structure or not np.array_equal(indices, self.topology.indices):
            self._structure = structure
            self.topology = Topology(json.dumps(self._engine.layouts[part]), indices)
            self.changes += 1
        return Weights(self._engine.updates, np.asarray(found.values), self.changes)

    @property
    def dense_bytes(self) -> int:
        """What the values of the acting part would take, had it stayed as dense as it was made."""
        part = self._engine.agent.ACTING[0]
        shapes = [
            shape
            for name in self._engine.learner.structures[part].outline()
            for shape in self._engine.originals[name]
        ]
        return 4 * sum(outputs * inputs + outputs for outputs, inputs in shapes)


class Received:
    """The acting network on an actor's side."""

    def __init__(self, outline: Networks, name: str) -> None:
        self._outline, self._name = outline, name
        self._indices = np.zeros(0, np.int32)
        self._forward: Forward | None = None
        self.network: HostNetwork = _nothing_received

    def rearrange(self, topology: Topology) -> None:
        """Takes up another topology; values of it must follow."""
        layouts: dict[str, Any] = json.loads(topology.layouts)
        structure = Structure.of(blueprint.blanks(layouts, self._outline))
        self._forward, self._indices = Forward(structure, self._name), topology.indices

    def update(self, values: NDArray[np.float32]) -> None:
        if self._forward is None:
            raise AssertionError("values came before the topology that they belong to")
        self.network = self._forward.bound(values, self._indices)


def _nothing_received(x: NDArray[np.float32]) -> NDArray[np.float32]:
    raise AssertionError("an actor was to act before it had any weights")
