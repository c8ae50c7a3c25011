"""One cache of compiled code for the whole session: many tests make the same small agents."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before anything imports jax; the processes that tests start read it, too.
_CACHE = tempfile.TemporaryDirectory(prefix="sparl-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"


@pytest.fixture(scope="session", autouse=True)
def compiled_code() -> Iterator[Path]:
    with _CACHE as folder:
        yield Path(folder)
