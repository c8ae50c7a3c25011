"""Times the actions of one contender: `sparl bench latency` runs this file as a process.

    python -P caller.py NAME FOLDER CALLS      prints nanoseconds, one line per call

FOLDER contains `task.json` (sizes of the dense network, shape, bounds), `observations.npy`, and the
files that contenders act with. The file is run by its path and imports sparl and JAX only where
they are needed. So the process of another library is like that of its own users. Every contender
uses one thread.
"""

# The other libraries come with the extras `bench` and `onnx`; types are checked without them.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Act = Callable[[Any], Any]
"""From one observation [obs] to an action."""


def sparl(folder: Path, task: dict[str, Any]) -> Act:
    """`predict` of the policy itself."""
    from sparl.training import load_policy

    policy = load_policy(folder / "policy")
    return lambda observation: policy.predict(observation)[0]


def onnx(folder: Path, task: dict[str, Any], name: str = "policy.onnx") -> Act:
    """ONNX Runtime with the exported policy."""
    from sparl.exporters.onnx import session

    onnx_session = session((folder / name).read_bytes())
    return lambda observation: onnx_session.run(["action"], {"observation": observation[None]})


def onnx_dense(folder: Path, task: dict[str, Any]) -> Act:
    """ONNX Runtime with a dense network of the same widths."""
    return onnx(folder, task, "dense.onnx")


def torch(folder: Path, task: dict[str, Any]) -> Act:
    """PyTorch, eager, with a dense network of the same widths, from NumPy to NumPy."""
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
    """`predict` of Stable-Baselines3's TD3, or DQN for discrete actions, of the same widths."""
    import gymnasium as gym
    import numpy as np
    import torch
    from stable_baselines3 import DQN, TD3

    torch.set_num_threads(1)
    observations = gym.spaces.Box(-np.inf, np.inf, (task["sizes"][0],), np.float32)

    class Spaces(gym.Env):
        observation_space = observations
        action_space = (
            gym.spaces.Discrete(task["choices"])
            if task["choices"]
            else gym.spaces.Box(np.float32(task["low"]), np.float32(task["high"]))
        )

    kind = DQN if task["choices"] else TD3
    agent = kind(
        "MlpPolicy",
        Spaces(),
        policy_kwargs={"net_arch": task["sizes"][1:-1]},
        buffer_size=10,
        device="cpu",
    )
    return lambda observation: agent.predict(observation, deterministic=True)[0]


SHAPED = ("sparl", "onnx", "onnx-dense")
"""Contenders that take observations in their own shape, several frames at once."""
CONTENDERS = {"sparl": sparl, "onnx": onnx, "onnx-dense": onnx_dense, "torch": torch, "sb3": sb3}


def main(name: str, folder: str, calls: str) -> None:
    """Prints the nanoseconds of each call; a tenth as many calls, at least 20, warm up before."""
    import numpy as np

    path = Path(folder)
    task = json.loads((path / "task.json").read_text())
    act = CONTENDERS[name](path, task)
    observations = np.load(path / "observations.npy")
    if name in SHAPED:
        observations = observations.reshape(-1, *task["shape"])
    nanoseconds = []
    for call in range(-max(20, int(calls) // 10), int(calls)):
        observation = observations[call % len(observations)]
        before = time.perf_counter_ns()
        act(observation)
        after = time.perf_counter_ns()
        if call >= 0:
            nanoseconds.append(after - before)
    print("\n".join(map(str, nanoseconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
