"""Which algorithm a file of Stable-Baselines3 is of, and whether sparl can compute its policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sparl.errors import BadValue
from sparl.kernels import Activation
from sparl.validation import shown

POLICIES = {
    "stable_baselines3.td3.policies": "td3",
    "stable_baselines3.sac.policies": "sac",
    "stable_baselines3.dqn.policies": "dqn",
    "sb3_contrib.tqc.policies": "tqc",
    "sb3_contrib.qrdqn.policies": "qrdqn",
}
"""Modules of policies, and their algorithms. One more has those of PPO, A2C and TRPO."""
ACTIVATIONS: dict[str, Activation] = {"ReLU": "relu", "Tanh": "tanh", "ELU": "elu", "SiLU": "swish"}
"""PyTorch's names of activation functions, and sparl's."""
ON_POLICY = ("ppo", "a2c", "trpo")
WITH_ACTOR = ("td3", "ddpg", "sac", "tqc")
"""Algorithms whose policies have an actor with an optimizer of its own."""


def algorithm_of(data: dict[str, Any], path: Path) -> str:
    """ppo, a2c, trpo, td3 (or ddpg, which is one), sac, tqc, dqn or qrdqn.

    Raises:
        BadValue: It is of another; the message says what to do.
    """
    module = str(data["policy_class"].get("__module__"))
    if module == "stable_baselines3.common.policies":
        if "cg_max_steps" in data:
            return "trpo"
        return "ppo" if "n_epochs" in data else "a2c"
    if module in POLICIES:
        return POLICIES[module]
    if module.startswith("sbx."):
        raise BadValue(
            f"{path} was saved by SBX, which keeps its networks as a pickle: reading it "
            "could run any code. Train with Stable-Baselines3, or with sparl"
        )
    raise BadValue(
        f"{path} is of another kind (its policy is from {shown(module)}); sparl imports the "
        "policies of PPO, A2C, TRPO, TD3, DDPG, SAC, TQC, DQN and QR-DQN, as Stable-Baselines3 has "
        "them"
    )


def activation_of(data: dict[str, Any], path: Path, algorithm: str) -> Activation:
    """The function between layers.

    Raises:
        BadValue: sparl does not have it.
    """
    usual = "Tanh" if algorithm in ON_POLICY else "ReLU"
    name = option(data, "activation_fn", f".activation.{usual}'>")
    torch_name = name.rpartition(".")[2].removesuffix("'>")
    if torch_name not in ACTIVATIONS or ".activation." not in name:
        raise BadValue(
            f"{path} has the activation function {name}; sparl's networks have "
            f"{', '.join(ACTIVATIONS)}. Train with activation_fn=torch.nn.ReLU, say"
        )
    return ACTIVATIONS[torch_name]


def refuse_other_networks(data: dict[str, Any], path: Path) -> None:
    """Raises `BadValue` for networks that compute something else than sparl's."""
    kind = str(data["observation_space"].get(":type:"))
    if not kind.endswith(".box.Box'>"):
        raise BadValue(
            f"{path} takes observations of {kind}; sparl takes a Box. Train with "
            "gymnasium.wrappers.FlattenObservation"
        )
    if _is_image(data["observation_space"]) and option(data, "normalize_images", "True") == "True":
        raise BadValue(
            f"{path} takes bytes of three axes from 0 to 255, which Stable-Baselines3 divides by "
            "255 before its network sees them. Divide them in a wrapper, and train with "
            "policy_kwargs={'normalize_images': False}"
        )
    extractor = option(data, "features_extractor_class", ".FlattenExtractor'>")
    if not extractor.endswith(".FlattenExtractor'>"):
        raise BadValue(
            f"{path} has the features extractor {extractor}; sparl's networks take "
            "what the environment gives. Wrap it to give features, and train on those"
        )


def _is_image(space: dict[str, Any]) -> bool:
    """Whether Stable-Baselines3 takes observations for an image, small as they may be."""
    # NumPy prints the middle of a large array as dots.
    low, high = (set(re.findall(r"-?\d+", str(space.get(name)))) for name in ("low", "high"))
    shape = space.get("_shape", space.get("shape"))
    of_bytes = space.get("dtype") == "uint8" and (low, high) == ({"0"}, {"255"})
    return of_bytes and isinstance(shape, list) and len(shape) == 3


def option(data: dict[str, Any], name: str, default: str) -> str:
    """One of the policy's options, as text."""
    return str(data["policy_kwargs"].get(name, default))
