"""With what versions and on what machine a run began: what bit for bit depends on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from sparl import kernels

PACKAGES = ("sparl", "jax", "jaxlib", "equinox", "optax", "gymnasium", "mujoco", "numpy")
"""Packages whose versions are recorded."""
SET = "instruction set"


def here() -> dict[str, Any]:
    """The entries of config.json that tell it of this process."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "versions": versions | {"python": platform.python_version()},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "instruction_set": kernels.instruction_set(),
    }


def differing(known: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What is other here than in `known`: versions and the instruction set, by name both."""
    found = here()
    now = found["versions"] | {SET: found["instruction_set"]}
    return {n: (known[n], new) for n, new in now.items() if n in known and known[n] != new}
