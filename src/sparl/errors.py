"""Errors that a user can put right: bad values, bad files, bad environments.

Every message names the value that is wrong and the way out. The command line prints the message
alone; where it prints a traceback, the fault is a bug of sparl.
"""


class SparlError(Exception):
    """Base of all errors that a user can put right; the message says how."""


class BadValue(SparlError, ValueError):
    """An option or argument that cannot be used."""


class BadEnvironment(SparlError):
    """An environment that cannot be made, or in which the chosen agent cannot act."""


class BadRun(SparlError):
    """A run folder that is missing, is in use, or belongs to another run."""


class BadCheckpoint(SparlError):
    """A saved file that is truncated, altered, or of another version."""


class Diverged(SparlError):
    """Training met a value that is not finite, and stopped."""


class EnvironmentFailed(SparlError):
    """The environment raised an exception while training stepped it."""
