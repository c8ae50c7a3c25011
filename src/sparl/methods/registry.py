"""Methods by name: those of sparl, of other packages, and of files."""

from __future__ import annotations

from sparl.methods.common.method import Method
from sparl.plugins import Registry

METHODS: Registry[Method] = Registry("method", Method)
"""All methods by name."""


def name_of(method: Method) -> str:
    """The name by which a run folder records the method; see `Registry.spec_of`."""
    return METHODS.spec_of(type(method))
