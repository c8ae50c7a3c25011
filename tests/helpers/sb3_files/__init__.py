"""Files of Stable-Baselines3 for tests, and altered ones."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ENVS = {
    "td3": "environments:Point-v0",
    "sac": "environments:Lander-v0",
    "dqn": "CartPole-v1",
}
POINT = "environments:Point-v0"
OTHERS = {
    "ppo": POINT,
    "ppo_discrete": "CartPole-v1",
    "ppo_sde": POINT,
    "ppo_choices": "environments:TwoChoices-v0",
    "a2c": "Pendulum-v1",
    "trpo": POINT,
    "ddpg": POINT,
    "td3_three": POINT,
    "sac_sde": POINT,
    "sac_tanh": POINT,
    "tqc": POINT,
    "qrdqn": "CartPole-v1",
}
"""Further agents with their environments; `predicted` has what they do."""
LEARNING = {"ppo": "ppo", "ppo_discrete": "ppo", "ppo_choices": "ppo", "sac_tanh": "sac"}
"""Those of them that go on learning, and by which agent of sparl."""
VECNORMALIZE = HERE / "vecnormalize.pkl"
"""What VecNormalize saved beside `ppo`."""


def saved(name: str) -> Path:
    """What `model.save` wrote."""
    return HERE / f"{name}.zip"


def computed(name: str) -> dict[str, np.ndarray]:
    """What that agent computes in Stable-Baselines3: see make.py."""
    with np.load(HERE / f"{name}.npz") as arrays:
        return dict(arrays)


def predicted(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Observations, and the actions that one of `OTHERS` gives to them in its library."""
    with np.load(HERE / "predicted.npz") as arrays:
        return arrays[f"{name}_seen"], arrays[name]


def rezipped(content: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """A zip with what `change` makes of every file in it; a file that becomes None is left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            changed = change(name, old.read(name))
            if changed is not None:
                new.writestr(name, changed)
    return out.getvalue()


def with_data(name: str, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A file whose attributes, `data`, `change` has altered in place."""

    def altered(entry: str, content: bytes) -> bytes:
        if entry != "data":
            return content
        data = json.loads(content)
        change(data)
        return json.dumps(data).encode()

    path = folder / "altered.zip"
    path.write_bytes(rezipped(saved(name).read_bytes(), altered))
    return path


def with_pickle(
    name: str, folder: Path, change: Callable[[bytes], bytes], entry: str = "policy.pth"
) -> Path:
    """A file with the pickle in one of PyTorch's files in it replaced."""

    def of_tensors(inner: str, content: bytes) -> bytes:
        return change(content) if inner.endswith("data.pkl") else content

    def altered(found: str, content: bytes) -> bytes:
        return rezipped(content, of_tensors) if found == entry else content

    path = folder / "altered.zip"
    path.write_bytes(rezipped(saved(name).read_bytes(), altered))
    return path
