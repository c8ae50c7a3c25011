"""Methods that prune only while the return of training holds."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Array, Bool

from sparl import validation
from sparl.methods.common.method import Method, Returns


@dataclass(frozen=True)
class Gated(Method):
    """The base of methods that look at training episodes before they prune on."""

    tolerance: float = 0.2
    """How far the recent return may fall short of the best while pruning goes on, as a share of the
    distance between the lowest and the best; 1 for no such limit."""
    gate_errors: float = 0.0
    """How far it may fall short in standard errors of means of ten episodes, 0 for no such limit:
    for tasks whose first returns are so low that tolerance allows anything."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.fractions(tolerance=self.tolerance)
        validation.at_least(0, gate_errors=self.gate_errors)

    @property
    def needs_episodes(self) -> bool:
        return self.tolerance < 1 or self.gate_errors > 0

    def holds(self, returns: Returns) -> bool | Bool[Array, ""]:
        """Whether the return is near enough to the best that pruning goes on."""
        return returns.hold(self.tolerance, self.gate_errors)
