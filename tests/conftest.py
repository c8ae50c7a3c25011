"""One cache of compiled code for the whole session, for many tests make the same small agents; a
core for each process that runs tests; what tests share that choose an instruction set."""

import atexit
import gc
import os
import signal
import tempfile
from collections import OrderedDict
from functools import partial
from importlib import metadata

import pytest
import type_checks
from hypothesis import settings

MOST_MEMORY = 2 * 2**20
"""Kilobytes from which on a process that runs tests forgets what it has compiled."""

HAS_OLDER_EMITTER = metadata.version("jaxlib").startswith("0.10.")
"""Whether XLA has two ways to emit fused loops, and the option that chooses."""

# `python -m pytest tests/fuzz --hypothesis-profile=long`: see CONTRIBUTING.md.
settings.register_profile("long")

# Before anything imports jax. The processes that tests start read it, too, and those in which
# pytest runs the tests have it from the first one.
if "PYTEST_XDIST_WORKER" not in os.environ:
    cache = tempfile.TemporaryDirectory(prefix="sparl-tests-")
    atexit.register(cache.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    # Tests compile far more than they run. Functions are the same, with less of XLA's own tuning.
    # XLA's older way to emit fused loops takes half the time. XLA ends where it does not know a
    # flag, and another version may not know this one.
    quick = "--xla_backend_optimization_level=0"
    if HAS_OLDER_EMITTER:
        quick += " --xla_cpu_use_fusion_emitters=false"
    # Options of the environment come last and win.
    os.environ["XLA_FLAGS"] = f"{quick} {os.environ.get('XLA_FLAGS', '')}"
    # Where the user's key of run folders lies, which is not for tests.
    os.environ["XDG_STATE_HOME"] = os.path.join(cache.name, "state")
elif hasattr(os, "sched_setaffinity"):
    # Two processes that both start a thread for each core wait for each other. Tests of threads
    # start processes of their own, with all cores.
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    cores = sorted(os.sched_getaffinity(0))
    os.environ["SPARL_TEST_CORES"] = " ".join(map(str, cores))
    os.sched_setaffinity(0, {cores[worker % len(cores)]})


# Before anything imports sparl.
type_checks.install()


# Whoever runs the tests in the background may have let them ignore Ctrl-C; some send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """Forgets compiled code when there is much of it, so that small machines can run the tests."""
    import jax

    yield
    if "PYTEST_XDIST_WORKER" in os.environ and resident() > MOST_MEMORY:
        jax.clear_caches()
        gc.collect()


def resident() -> int:
    """Kilobytes of memory that this process has; 0 where that is unknown."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return int(file.read().partition("VmRSS:")[2].split()[0])
    except OSError:
        return 0


@pytest.fixture
def default_emitter(monkeypatch):
    """Updates compiled as users have them, for tests that two of them come to the same bits: how
    XLA's older emitter rounds depends on what else is in a function."""
    import jax

    if not HAS_OLDER_EMITTER:
        return
    options = {"xla_cpu_use_fusion_emitters": True}
    monkeypatch.setattr(jax, "jit", partial(jax.jit, compiler_options=options))
    monkeypatch.setattr("sparl.engine.compiled._recent", OrderedDict())


@pytest.fixture
def best_instruction_set():
    """Leaves the kernels with the best there is, whichever a test has chosen."""
    from sparl.kernels import native

    yield
    assert native.force_instruction_set("")
