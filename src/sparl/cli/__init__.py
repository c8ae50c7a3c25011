"""The command line: `sparl COMMAND`."""

from sparl.cli.dispatch import main

__all__ = ["main"]
