"""The compiled functions of a learner as it is stored; another topology needs others."""

from __future__ import annotations

from collections.abc import Hashable

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.agents.common import ofenet
from sparl.engine.inference import Forward
from sparl.engine.restructure import restructure_function
from sparl.engine.update import Algorithm, evaluate_function, update_function
from sparl.learner import Learner, Structure


class Compiled:
    """Updates, restructurings, evaluation of rollouts, and the acting network."""

    def __init__(self, algorithm: Algorithm, learner: Learner) -> None:
        self.update = jax.jit(
            update_function(algorithm, learner), donate_argnums=0, static_argnames="due"
        )
        self.successors: dict[Hashable, dict[str, Structure]] = {}
        """By stage, how the parts are stored after its restructuring; filled by compiling it."""
        self.restructure = jax.jit(
            restructure_function(algorithm, learner, self.successors), static_argnames="stage"
        )
        self.evaluate = jax.jit(evaluate_function(algorithm, learner))
        self.called: set[Hashable] = set()
        """What was called before, and so needs no compilation."""
        self._acting = [
            (part, Forward(learner.structures[part], name))
            for part, name in ofenet.acting(algorithm.agent)
        ]

    def forward(self, learner: Learner, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The acting network: [inputs, batch] to [outputs, batch]; waits for its last update."""
        for name, network in self._acting:
            part = learner.parts[name]
            x = network(part.values, part.indices, x)
        return x
