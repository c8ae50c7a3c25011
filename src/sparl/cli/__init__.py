"""The command line: `sparl COMMAND`."""

from sparl.cli.main import main

__all__ = ["main"]
