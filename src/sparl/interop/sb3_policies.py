"""Policies of Stable-Baselines3 whose algorithms sparl does not have, or not as they were used.

They act, and do not learn. Critics are left aside, and so is what they explored by (gSDE).
"""

from __future__ import annotations

import re
from typing import Any

import jax.numpy as jnp

from sparl.agents import Imported
from sparl.errors import BadFile
from sparl.interop import sb3_on_policy, sb3_spaces
from sparl.interop.sb3_file import SB3File
from sparl.interop.sb3_kind import ON_POLICY, option
from sparl.interop.sb3_networks import Tensors, assembled_of, dense, layers, widths
from sparl.interop.sb3_spaces import numbers_in
from sparl.interop.trained_agent import TrainedPart
from sparl.layouts import Dense
from sparl.networks import with_clipped_output
from sparl.validation import shown

CLIP_MEAN = 2.0
"""What gSDE clips means at, if it is not told otherwise."""


def why_it_cannot_learn(file: SB3File) -> str:
    """Why sparl cannot go on training an agent; empty where it can."""
    if file.algorithm not in ("ppo", "td3", "sac", "dqn"):
        return f"sparl has no {file.algorithm}"
    if file.data.get("use_sde"):
        return "it explores by gSDE, which sparl does not have"
    names = file.tensors("policy")
    if file.algorithm == "ppo":
        shared = any(str(name).startswith("mlp_extractor.shared_net") for name in names)
        return "its policy and its value have layers in common" if shared else ""
    critics = {found[1] for name in names if (found := re.match(r"critic\.(qf\d+)\.", str(name)))}
    if file.algorithm != "dqn" and len(critics) != 2:
        return f"it has {len(critics)} critic{'s' * (len(critics) != 1)}, and sparl's has two"
    return ""


def acting(file: SB3File, why: str) -> tuple[dict[str, TrainedPart], Imported]:
    """What acts of an agent.

    Args:
        file: The file.
        why: Why it cannot learn.
    """
    more: dict[str, Any] = {}
    if file.algorithm in ON_POLICY:
        found, more["squash"] = _on_policy(file)
    elif file.algorithm == "qrdqn":
        found = _mean_of_quantiles(file)
    elif file.algorithm in ("sac", "tqc"):
        found, more["clip_output"] = _squashed_gaussian(file)
        more["squash"] = True
    else:
        found = layers(
            file.policy(r"actor(_target)?\.mu\.\d+|critic(_target)?\.qf\d+\.\d+"), "actor.mu"
        )
        more["squash"] = True
    network = assembled_of(found, file.activation, more.get("squash", False))
    config = file.configured(
        Imported,
        **widths(network),
        **more,
        algorithm=file.algorithm,
        activation=file.activation,
        discrete=sb3_spaces.is_discrete(file.data),
    )
    if config.clip_output is not None:
        network = with_clipped_output(network, config.clip_output)
    file.notes.append(f"it is imported as a policy, which acts and is not trained on: {why}")
    return {"policy": TrainedPart({"policy": network})}, config


def _on_policy(file: SB3File) -> tuple[list[Dense], bool]:
    """The layers of PPO, A2C and TRPO, and whether tanh follows, as gSDE may have it."""
    policy, hidden = file.policy(sb3_on_policy.TENSORS), []
    for name in ("shared_net", "policy_net"):
        if any(tensor.startswith(f"mlp_extractor.{name}.") for tensor in policy):
            hidden += layers(policy, f"mlp_extractor.{name}")
    last, squash = dense(policy, "action_net"), option(file.data, "squash_output", "") == "True"
    return [*hidden, last if squash else sb3_on_policy.head(file)[0](last)], squash


def _squashed_gaussian(file: SB3File) -> tuple[list[Dense], float | None]:
    """The layers of SAC and TQC up to the mean, and what gSDE clips that at, if it does."""
    policy = file.policy(r"actor\.(latent_pi\.\d+|mu|mu\.0|log_std)|critic(_target)?\.qf\d+\.\d+")
    hidden = layers(policy, "actor.latent_pi")
    if "actor.mu.0.weight" not in policy:
        return [*hidden, dense(policy, "actor.mu")], None
    clip = file.data["policy_kwargs"].get("clip_mean", CLIP_MEAN)
    if not isinstance(clip, int | float) or not clip > 0:
        raise BadFile(f"{file.path} has clip_mean {clip}", field="clip_mean", value=clip)
    return [*hidden, dense(policy, "actor.mu.0")], float(clip)


def _mean_of_quantiles(file: SB3File) -> list[Dense]:
    """The layers of QR-DQN; the last gives the mean of every choice's quantiles."""
    policy: Tensors = file.policy(r"quantile_net(_target)?\.quantile_net\.\d+")
    *hidden, last = layers(policy, "quantile_net.quantile_net")
    choices = file.data["action_space"].get("n")
    count = int((numbers_in(choices) or (0.0,))[0])
    if count < 1 or last.out_features % count:
        raise BadFile(
            f"{file.path} has {last.out_features} quantiles of {shown(choices)} choices",
            value=choices,
        )
    weight = last.weight.reshape(-1, count, last.in_features)
    return [
        *hidden,
        Dense(jnp.mean(weight, axis=0), jnp.mean(last.bias.reshape(-1, count), axis=0)),
    ]
