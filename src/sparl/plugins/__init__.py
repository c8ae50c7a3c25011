"""Code of users and of other packages: agents, methods, environments and wrappers by name."""

from sparl.plugins.importing import (
    absolute,
    file_module,
    import_module,
    imported,
    module_of,
    refuse_while_loading,
    search,
    spec_of,
)
from sparl.plugins.registry import Registry

__all__ = [
    "Registry",
    "absolute",
    "file_module",
    "import_module",
    "imported",
    "module_of",
    "refuse_while_loading",
    "search",
    "spec_of",
]
