"""Ray: connects to a cluster or starts one, and places processes on its machines."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sparl.errors import BadRun, BadValue

SETTLE = 15.0
"""Seconds that CPUs may take to become free again after an actor has ended."""

SHARED = Path("/dev/shm")
"""Where Ray keeps what processes share, if it can."""

notes: list[str] = []
"""What a user should know of the cluster, a sentence each."""


@contextmanager
def connected(address: str | None, actors: int) -> Iterator[None]:
    """A context in which a Ray cluster is connected that has a free CPU for each actor.

    A cluster that Ray is already connected to is used as it is, and stays connected.

    Args:
        address: The cluster's address. Without it, RAY_ADDRESS is used. Without that, a cluster of
            this machine alone is started; it ends with the context.
        actors: Number of actors.

    Raises:
        BadValue: There is no cluster at the address, or it has too few free CPUs.
        BadRun: No cluster can be started on this machine.
    """
    notes.clear()
    address = address or os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        _refuse_too_many(actors)
        yield
        return
    _start(address, actors)
    try:
        _refuse_too_many(actors)
        yield
    finally:
        ray.shutdown()


@contextmanager
def failures() -> Iterator[None]:
    """A context in which a failure of Ray itself, not of what it runs, is a `BadRun`."""
    try:
        yield
    except RayTaskError:
        raise
    except RayError as error:
        raise BadRun(f"Ray has failed: {' '.join(str(error).split())}") from error


def on_this_machine(kind: type) -> Any:
    """A Ray class whose process runs on this machine and takes no CPU of the cluster."""
    node = ray.get_runtime_context().get_node_id()
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=place)


def on_any_machine(kind: type) -> Any:
    """A Ray class whose processes take a CPU each, and are spread over the machines."""
    return ray.remote(kind).options(num_cpus=1, scheduling_strategy="SPREAD")


def _start(address: str | None, actors: int) -> None:
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BadValue(
                f"ray_address is {address!r}, where no Ray cluster answers: {error}. Start one on "
                "its first machine with `ray start --head`, which prints the address"
            ) from error
        return
    _start_local(max(os.cpu_count() or 1, actors), quiet)


def _start_local(places: int, quiet: dict[str, Any]) -> None:
    """Starts a cluster; Ray's CPUs are places for actors, and may be more than the cores."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # At Ray's usual niceness of 15, a busy learner would starve the actors of a small machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    with warnings.catch_warnings():
        # Python warns of a fork beside JAX's threads. It is safe: the child starts another program.
        warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)
        error = _why_not_shared()
        if error is not None:
            quiet["_plasma_directory"] = tempfile.gettempdir()
            notes.append(
                f"{SHARED} cannot be written ({error.strerror}): actors are sent their weights "
                f"through {tempfile.gettempdir()}, which is slower"
            )
        try:
            ray.init(address="local", num_cpus=places, include_dashboard=False, **quiet)
        except Exception as error:  # Ray's own, the system's, or a timeout
            ray.shutdown()
            raise BadRun(
                f"Ray could not be started here: {' '.join(str(error).split())}. Is there room in "
                f"{tempfile.gettempdir()}? Without actors a run needs no Ray"
            ) from error


def _why_not_shared() -> OSError | None:
    """What is raised where files cannot be made in `SHARED`; None elsewhere."""
    if not SHARED.is_dir():
        return None
    try:
        with tempfile.TemporaryFile(dir=SHARED) as file:
            file.write(bytes(4096))
    except OSError as error:
        return error
    return None


def _refuse_too_many(actors: int) -> None:
    deadline = time.monotonic() + SETTLE
    while actors > (free := int(ray.available_resources().get("CPU", 0))):
        if time.monotonic() < deadline and actors <= ray.cluster_resources().get("CPU", 0):
            time.sleep(0.1)
            continue
        raise BadValue(
            f"actors is {actors}: the Ray cluster has {free} free CPUs, and each actor takes one. "
            "Add machines (ray start --address=HEAD:PORT), or ask for fewer"
        )
