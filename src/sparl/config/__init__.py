"""The options of a run, and of the command line that makes one."""

from sparl.config.run import RunConfig

__all__ = [
    "RunConfig",
]
