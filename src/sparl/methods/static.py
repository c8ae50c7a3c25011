"""Static sparsity: one random topology from the first step to the last.

It is the control of every method that changes its topology. On wide networks it is a strong one
(2506.17204).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparl.methods.common.unstructured import Unstructured


@dataclass(frozen=True)
class Static(Unstructured):
    """Random sparse networks with a fixed topology: the control of other sparse methods."""

    name: ClassVar[str] = "static"
