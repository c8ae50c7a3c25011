"""What a policy takes as C in float32 on this machine: what exports and pruning are compared by."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sparl.errors import SparlError
from sparl.exporters.c import CProgram
from sparl.exporters.native_policy import CompiledPolicy, compiler
from sparl.exporters.network import device_network
from sparl.policy import Policy


class Measured(NamedTuple):
    """What a policy takes."""

    weights: int
    bytes: int
    """Of constants and indices in C; as sparl stores them where there is no C of it."""
    microseconds: float | None
    """Of one action; None without a C compiler that makes what this machine runs."""


def measured(policy: Policy) -> Measured:
    """Measures a policy as exported C."""
    policy = policy.narrowed()
    layers = policy.network.layers
    weights, stored = sum(la.kept for la in layers), sum(la.stored_bytes for la in layers)
    took = None
    with suppress(SparlError):  # there is no C of it, or nothing that makes it run here
        program = CProgram(policy, device_network(policy, "float32", None))
        stored = program.nbytes
        if (compiled_by := compiler()) is not None:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                made = program.write(folder), folder / "policy.so", compiled_by
                took = CompiledPolicy(program, *made).microseconds(len(policy.golden))
    return Measured(weights, stored, took)
