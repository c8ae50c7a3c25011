"""One contender's acting, timed: what `sparl bench latency` runs in a process of its own.

    python -P caller.py NAME FOLDER CALLS      prints nanoseconds, a line per call

FOLDER has `task.json` (sizes of the dense network, action bounds), `observations.npy`, and what a
contender acts with. It is run by its path, and imports nothing of sparl or JAX before it is needed:
the process of another code is then no different from that of its own users. One thread each.
"""

# The other codes come with the extras `bench` and `onnx`, which need not be there to check types.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Act = Callable[[Any], Any]
"""One observation [obs] to an action."""


def sparl(folder: Path, task: dict[str, Any]) -> Act:
    from sparl.training import load_policy

    policy = load_policy(folder / "policy")
    return lambda observation: policy.predict(observation)[0]


def onnx(folder: Path, task: dict[str, Any], name: str = "policy.onnx") -> Act:
    from sparl.exporters.onnx import session

    running = session((folder / name).read_bytes())
    return lambda observation: running.run(["action"], {"observation": observation[None]})


def onnx_dense(folder: Path, task: dict[str, Any]) -> Act:
    return onnx(folder, task, "dense.onnx")


def torch(folder: Path, task: dict[str, Any]) -> Act:
    """A dense network of the same widths, eager, from NumPy to NumPy."""
    import itertools

    import torch
    from torch import nn

    torch.set_num_threads(1)
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(task["sizes"]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    layers[-1:] = [] if task["choices"] else [nn.Tanh()]
    network = nn.Sequential(*layers)

    def act(observation: Any) -> Any:
        with torch.inference_mode():
            outputs = network(torch.as_tensor(observation[None]))
            return (outputs.argmax(1) if task["choices"] else outputs).numpy()

    return act


def sb3(folder: Path, task: dict[str, Any]) -> Act:
    """`predict` of Stable-Baselines3's agent of the same widths: TD3, or DQN for choices."""
    import gymnasium as gym
    import numpy as np
    import torch
    from stable_baselines3 import DQN, TD3

    torch.set_num_threads(1)
    observations = gym.spaces.Box(-np.inf, np.inf, (task["sizes"][0],), np.float32)

    class Stage(gym.Env):
        observation_space = observations
        action_space = (
            gym.spaces.Discrete(task["choices"])
            if task["choices"]
            else gym.spaces.Box(np.float32(task["low"]), np.float32(task["high"]))
        )

    kind = DQN if task["choices"] else TD3
    agent = kind(
        "MlpPolicy",
        Stage(),
        policy_kwargs={"net_arch": task["sizes"][1:-1]},
        buffer_size=10,
        device="cpu",
    )
    return lambda observation: agent.predict(observation, deterministic=True)[0]


CONTENDERS = {"sparl": sparl, "onnx": onnx, "onnx-dense": onnx_dense, "torch": torch, "sb3": sb3}


def main(name: str, folder: str, calls: str) -> None:
    import numpy as np

    where = Path(folder)
    act = CONTENDERS[name](where, json.loads((where / "task.json").read_text()))
    observations = np.load(where / "observations.npy")
    taken = []
    for call in range(-max(20, int(calls) // 10), int(calls)):
        observation = observations[call % len(observations)]
        before = time.perf_counter_ns()
        act(observation)
        after = time.perf_counter_ns()
        if call >= 0:
            taken.append(after - before)
    print("\n".join(map(str, taken)))


if __name__ == "__main__":
    main(*sys.argv[1:])
