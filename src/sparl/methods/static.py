"""Static sparsity: one random topology from the first step to the last.

The control of every method that changes its topology; on wide networks a strong one (2506.17204).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparl.methods.common.unstructured import Unstructured


@dataclass(frozen=True)
class Static(Unstructured):
    """Random sparse networks whose places never change: the control of what moves them."""

    name: ClassVar[str] = "static"
