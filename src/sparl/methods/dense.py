"""No sparsity: the agent of its paper, which is the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparl.methods.common.method import Method


@dataclass(frozen=True)
class Dense(Method):
    """Keep every weight of every network, from the first step to the last."""

    name: ClassVar[str] = "dense"
