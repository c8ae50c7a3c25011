"""The compiled functions of a learner as it is stored.

Functions are kept for a while. So another seed of the same run in this process, or the same run
resumed, compiles nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any

import jax

from sparl import kernels
from sparl.engine.restructure import restructure_function
from sparl.engine.update import (
    Algorithm,
    Due,
    Moving,
    UpdateInputs,
    evaluate_function,
    update_function,
)
from sparl.learner import Learner, Role, Structure
from sparl.methods import Method

KEPT = 16
"""Most that is kept of what was compiled lately."""
_recent: OrderedDict[Hashable, Any] = OrderedDict()


class Functions:
    """Updates, restructurings, and evaluation of rollouts."""

    def __init__(self, algorithm: Algorithm, learner: Learner) -> None:
        # They may outlive the run: its arrays must not.
        learner = replace(learner, parts={})
        update = update_function(algorithm, learner)
        self.update = jax.jit(update, donate_argnums=0, static_argnames="due")

        def updates_of_seeds(moving: Moving, inputs: UpdateInputs, due: tuple[Due, ...]) -> Any:
            return jax.vmap(lambda moved, read: update(moved, read, due))(moving, inputs)

        self.updates_of_seeds = jax.jit(updates_of_seeds, donate_argnums=0, static_argnames="due")
        """`update`, where all arrays have a leading axis of seeds."""
        self.successors: dict[Hashable, dict[str, Structure]] = {}
        """By stage, how the parts are stored after its restructuring; filled by compiling it."""
        # A restructuring that is run once is not worth the compiler's effort.
        quickly = {"xla_backend_optimization_level": 0} if algorithm.method.reshapes else None
        self.restructure = jax.jit(
            restructure_function(algorithm, learner, self.successors),
            static_argnames="stage",
            compiler_options=quickly,
        )
        self.evaluate = jax.jit(evaluate_function(algorithm, learner))
        self.called: set[Hashable] = set()
        """What was called before, and so needs no compilation."""


def functions(algorithm: Algorithm, learner: Learner) -> Functions:
    """Those of a learner that is stored so."""
    structures = tuple(learner.structures.items())
    return _kept((algorithm, structures), lambda: Functions(algorithm, learner))


def start_function(method: Method, roles: Mapping[str, Role]) -> Callable[..., Any]:
    """The method's first layouts and its state, of networks and a key."""
    return _kept(
        (method, tuple(roles.items())),
        lambda: jax.jit(lambda networks, key: method.start(networks, key, roles)),
    )


def _kept(key: Hashable, make: Callable[[], Any]) -> Any:
    """What was made for an equal key, if this process did so lately; else what is made now."""
    key = (key, kernels.usable())
    try:
        found = _recent.pop(key, None)
    except TypeError:  # an agent or a method of the user's with a field that has no hash
        return make()
    _recent[key] = found = found or make()
    if len(_recent) > KEPT:
        _recent.popitem(last=False)
    return found
