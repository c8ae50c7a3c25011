"""What goes wrong through no fault of the code: bad values, bad files, bad environments.

Every message names the value and the way out. The command line prints the message alone; a
traceback means a bug of ours.
"""


class SparlError(Exception):
    """Something a user can put right; the message says how."""


class BadValue(SparlError, ValueError):
    """An option or argument that cannot be used."""


class BadEnvironment(SparlError):
    """An environment that cannot be made, or that the chosen agent cannot act in."""


class BadRun(SparlError):
    """A run folder that cannot be used as asked: missing, taken, or of another run."""


class BadCheckpoint(SparlError):
    """A saved file that is truncated, altered, or of another version."""


class Diverged(SparlError):
    """Training met a value that is not finite and stopped."""


class EnvironmentFailed(SparlError):
    """The environment raised while training stepped it."""
