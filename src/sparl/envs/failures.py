"""Whatever an environment raises, told with its name and with the seed that leads there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparl.errors import EnvironmentFailed, SparlError


@contextmanager
def failures_told(env: str, doing: str, seed: int) -> Iterator[None]:
    """A context in which an environment's errors become `EnvironmentFailed`; sparl's own pass.

    Args:
        env: Its name.
        doing: What it was stepped for: "in an evaluation", say.
        seed: Of the reset that began the episode.
    """
    try:
        yield
    except SparlError:
        raise
    except (Exception, SystemExit) as error:  # a closed window, usually
        raise EnvironmentFailed(
            f"{env} raised {type(error).__name__} {doing}: {error} (reset with seed {seed})"
        ) from error
