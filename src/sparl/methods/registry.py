"""Methods by name: sparl's own, other packages' and those of files."""

from __future__ import annotations

from sparl.methods.common.method import Method
from sparl.plugins import Registry

METHODS: Registry[Method] = Registry("method", Method)


def name_of(method: Method) -> str:
    """What a run folder calls exactly this method by; see `Registry.spec_of`."""
    return METHODS.spec_of(type(method))
