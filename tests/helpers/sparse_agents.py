"""One small agent of each kind, for methods to make sparse."""

from __future__ import annotations

from typing import Any

from sparl.agents import DQN, SAC, TD3, CrossQ
from sparl.engine import Engine
from sparl.learner import Learner
from sparl.methods import Method
from sparl.networks import Network
from sparl.replay import Columns

SMALL: dict[str, Any] = {"hidden": (16, 24), "batch_size": 8, "learning_rate": 3e-2}
AGENTS = {
    "td3": (TD3(**SMALL), Columns(5, 3)),
    "sac": (SAC(**SMALL), Columns(5, 3)),
    "crossq": (CrossQ(**SMALL), Columns(5, 3)),
    "dqn": (DQN(**SMALL), Columns(5, 4, discrete=True)),
}
SPARSE: dict[str, Any] = {"sparsity": 0.8, "actor_sparsity": 0.7}


def engine_of(agent: str, method: Method) -> Engine:
    config, columns = AGENTS[agent]
    return Engine(config, method, columns, seed=1)


def online(learner: Learner) -> dict[str, tuple[str, Network]]:
    """Name of the network -> its part, and the network."""
    return {n: (part, net) for part in learner.network_parts
            for n, net in learner.networks(part).items()}  # fmt: skip
