"""Ray: found or refused, a cluster joined or started, and processes placed on its machines."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sparl.errors import BadValue

SETTLE = 15.0
"""Seconds that CPUs may take to be free again after an actor that had them."""


@contextmanager
def connected(address: str | None, actors: int) -> Iterator[None]:
    """A cluster with room for so many actors: that at `address`, or at RAY_ADDRESS, or one of this
    machine alone, which ends with the context. One that Ray is already connected to is used as it
    is.

    Raises `BadValue` for an address where there is none, and where there are too few CPUs.
    """
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


def here(kind: type) -> Any:
    """That class as one of a process on this machine, which counts as no CPU of the cluster's."""
    node = ray.get_runtime_context().get_node_id()
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=place)


def anywhere(kind: type) -> Any:
    """That class as one of a process with a CPU of its own, spread over the machines."""
    return ray.remote(kind).options(num_cpus=1, scheduling_strategy="SPREAD")


def _start(address: str | None, actors: int) -> None:
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BadValue(
                f"no Ray cluster answers at {address!r} (--ray-address): {error}. On its first "
                "machine: ray start --head; it says the address"
            ) from error
        return
    _start_local(max(os.cpu_count() or 1, actors), quiet)


def _start_local(places: int, quiet: dict[str, Any]) -> None:
    """With so many CPUs: those of Ray are places for actors, and may be more than the cores."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # At Ray's own niceness of 15 a busy learner leaves actors next to nothing of a small machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    with warnings.catch_warnings():
        # Of a fork beside JAX's threads: what is forked becomes another program at once.
        warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)
        ray.init(address="local", num_cpus=places, include_dashboard=False, **quiet)


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
