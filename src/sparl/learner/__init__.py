"""An agent's whole state as a few flat vectors, and the way from one topology to another."""

from sparl.learner.state import Descend, Learner
from sparl.learner.structure import Part, Structure, holds_networks

__all__ = [
    "Descend",
    "Learner",
    "Part",
    "Structure",
    "holds_networks",
]
