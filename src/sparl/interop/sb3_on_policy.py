"""PPO of Stable-Baselines3, as an agent that goes on learning; and heads of on-policy agents.

Their policies act in the environment's own units, and sparl's in [-1, 1]: the last layer is scaled.
One that chooses several things at once has logits for each; sparl numbers all combinations, whose
logits are the sums of those of their parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from sparl.agents import PPO, Agent
from sparl.errors import BadFile, BadValue
from sparl.interop import sb3_spaces
from sparl.interop.sb3_file import SB3File
from sparl.interop.sb3_networks import Build, Tensors, assembled_of, dense, layers, moments, widths
from sparl.interop.trained_agent import FileSpaces, Members, TrainedPart
from sparl.layouts import Dense

TENSORS = r"mlp_extractor\.(shared_net|policy_net|value_net)\.\d+|action_net|value_net"
"""The names of the linear layers of such a policy."""
MOST_CHOICES = 4096
"""Combinations of several choices."""
CLIP_RANGE = 0.2
Head = Callable[[Dense], Dense]
"""The last layer as sparl has it."""


def ppo(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], Agent]:
    """An agent of PPO, whose policy and value have no layer in common."""
    policy = file.policy(TENSORS)
    to_head, is_scaled = head(file)

    def actor(tensors: Tensors) -> Members:
        hidden = layers(tensors, "mlp_extractor.policy_net")
        last = to_head(dense(tensors, "action_net"))
        return {"actor": assembled_of([*hidden, last], file.activation)}

    def critic(tensors: Tensors) -> Members:
        hidden = layers(tensors, "mlp_extractor.value_net")
        return {"critic": assembled_of([*hidden, dense(tensors, "value_net")], file.activation)}

    def log_std(shift: np.ndarray) -> Build:
        return lambda tensors: {"log_std": jnp.asarray(tensors["log_std"] - shift, jnp.float32)}

    def trained(members: Members, build: Build) -> TrainedPart:
        return TrainedPart(members, None, moments(file, "policy.optimizer", "", build))

    parts = {"critic": trained(critic(policy), critic)}
    # A scaled layer's moments would have to be scaled, too: they start afresh.
    parts["actor"] = TrainedPart(actor(policy)) if is_scaled else trained(actor(policy), actor)
    discrete = sb3_spaces.is_discrete(file.data)
    if not discrete:
        half = _bounds(file)[1]
        _refuse_other_size(file, np.size(policy.get("log_std", ())), len(half))
        members = log_std(np.log(half))(policy)
        parts["log_std"] = trained(members, log_std(np.zeros_like(half)))
    networks = parts["actor"].members["actor"], parts["critic"].members["critic"]
    rate = file.learning_rate(PPO.learning_rate) if learning_rate is None else learning_rate
    clips_values = file.data.get("clip_range_vf") is not None
    config = file.configured(
        PPO,
        **widths(*networks),
        **_batches(file),
        learning_rate=rate,
        activation=file.activation,
        weight_decay=file.weight_decay(),
        n_epochs=file.integer("n_epochs"),
        gamma=file.number("gamma"),
        gae_lambda=file.number("gae_lambda"),
        clip_range=file.schedule("clip_range", CLIP_RANGE),
        clip_range_value=file.schedule("clip_range_vf", CLIP_RANGE) if clips_values else None,
        entropy_bonus=file.number("ent_coef"),
        max_grad_norm=file.number("max_grad_norm"),
        normalize_advantages=bool(file.data.get("normalize_advantage", True)),
        distribution="categorical" if discrete else "gaussian",
    )
    return parts, config


def head(file: SB3File) -> tuple[Head, bool]:
    """What makes of a policy's last layer the one that sparl has, and whether it changes it.

    Raises:
        BadValue: The bounds of its actions are not known, or it has too many choices.
    """
    nvec = file.spaces.nvec
    if nvec is not None:
        combined = combinations(nvec, binary=_is_binary(file))

        def joined(last: Dense) -> Dense:
            _refuse_other_size(file, last.out_features, combined.shape[1])
            return Dense(combined @ last.weight, combined @ last.bias)

        return joined, True
    if sb3_spaces.is_discrete(file.data):
        return lambda last: last, False
    middle, half = _bounds(file)
    if not middle.any() and (half == 1).all():
        return lambda last: last, False

    def scaled(last: Dense) -> Dense:
        _refuse_other_size(file, last.out_features, len(half))
        weight = np.asarray(last.weight, np.float64) / half[:, None]
        bias = (np.asarray(last.bias, np.float64) - middle) / half
        return Dense(jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32))

    return scaled, True


def combinations(nvec: tuple[int, ...], binary: bool = False) -> jnp.ndarray:
    """Which logits each combination of several choices has, [combinations, logits], 1 or 0.

    Args:
        nvec: Choices of each number; the last changes fastest.
        binary: Whether there is one logit for each number, of the second of two choices.
    """
    if min(nvec, default=0) < 1:
        raise BadValue(f"its actions are numbers of {list(nvec)} choices: each needs one at least")
    if math.prod(nvec) > MOST_CHOICES:
        raise BadValue(
            f"its actions are one of {math.prod(nvec)} combinations; sparl numbers up to "
            f"{MOST_CHOICES}"
        )
    choices = np.indices(nvec).reshape(len(nvec), -1).T
    if binary:
        return jnp.asarray(choices, jnp.float32)
    of_each = [np.eye(count)[chosen] for count, chosen in zip(nvec, choices.T, strict=True)]
    return jnp.asarray(np.concatenate(of_each, axis=1), jnp.float32)


def _refuse_other_size(file: SB3File, size: int, wanted: int) -> None:
    if size != wanted:
        raise BadFile(f"{file.path} has an action of {wanted} numbers, and {size} of its network")


def _is_binary(file: SB3File) -> bool:
    return str(file.data["action_space"].get(":type:")).endswith("MultiBinary'>")


def _bounds(file: SB3File) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the bounds of every number of an action, and half their distance."""
    spaces: FileSpaces = file.spaces
    if spaces.low is None or spaces.high is None or len(spaces.low) != len(spaces.high):
        raise BadValue(
            f"{file.path} does not tell the bounds of its actions as numbers; sparl's have bounds"
        )
    low, high = np.asarray(spaces.low, np.float64), np.asarray(spaces.high, np.float64)
    if not (low < high).all():
        raise BadValue(f"{file.path} has actions between {spaces.low} and {spaces.high}")
    return (low + high) / 2, (high - low) / 2


def _batches(file: SB3File) -> dict[str, int]:
    """A rollout of all environments, and its minibatches, all of one size."""
    rollout = file.integer("n_steps") * file.integer("n_envs")
    batch = max(1, min(file.integer("batch_size"), rollout))
    if rollout % batch:
        file.notes.append(
            f"its rollouts had {rollout} steps, which {batch} does not divide: here they have "
            f"{rollout - rollout % batch}"
        )
    return {"rollout": rollout - rollout % batch, "batch_size": batch}
