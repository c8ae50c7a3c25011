"""What the networks of a run hold, beside what they were made with."""

from __future__ import annotations

from typing import Any

from sparl.learner import Learner
from sparl.networks import Footprint, Networks, Shapes, accounting, serialization


class Sizes:
    """The sizes of a learner's networks; `Engine` derives from it."""

    learner: Learner
    originals: dict[str, Shapes]
    """Shapes of the dense networks that the agent made, by name."""

    @property
    def shapes(self) -> dict[str, Shapes]:
        """(out, in) of every layer, by network."""
        return serialization.shapes(self.outlines)

    @property
    def sparsity(self) -> float:
        """Share of the weights of all networks, targets included, that are left out or gone."""
        return accounting.sparsity(self.learner.outline(), self.originals)

    @property
    def footprint(self) -> Footprint:
        """What the networks, targets included, hold and move in an update."""
        return accounting.footprint(self.learner.outline(), self.originals)

    def report(self, average_compression_ratio: float | None = None) -> dict[str, Any]:
        """What the networks hold: see `accounting.report`."""
        networks = self.learner.all_networks()
        return accounting.report(networks, self.originals, average_compression_ratio)

    @property
    def outlines(self) -> dict[str, Networks]:
        """The networks by part, with shapes in place of arrays."""
        structures = self.learner.structures
        return {part: structures[part].outline() for part in self.learner.network_parts}
