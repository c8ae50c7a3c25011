"""The options of a run, and of the command line that makes one."""

from sparl.config.recorded import NotImported, options_of
from sparl.config.run import RunConfig, Show

__all__ = [
    "NotImported",
    "RunConfig",
    "Show",
    "options_of",
]
