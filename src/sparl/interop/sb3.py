"""Reads TD3, SAC and DQN agents that Stable-Baselines3 saved with `model.save(FILE)`.

The file is a zip of PyTorch's state dicts (`policy.pth`, `*.optimizer.pth`,
`pytorch_variables.pth`) and of `data`, the model's other attributes as JSON. For an attribute that
JSON cannot hold, `data` has a pickle and a description in text. The pickle is never read; the text
is.

Networks, targets, Adam's moments and SAC's temperature are taken over unchanged, and
hyperparameters where sparl has the same. Two things differ from then on: sparl makes one update per
environment step, whatever `train_freq` was, and DQN's gradients are not clipped by their norm. The
replay, the environment and the statistics of VecNormalize are not in such a file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.agents import DQN, SAC, TD3
from sparl.errors import BadFile, BadValue
from sparl.interop.sb3_file import SB3File, numbers_in
from sparl.interop.trained_agent import Members, Moments, TrainedAgent, TrainedPart
from sparl.layouts import Dense
from sparl.networks import Network, plain
from sparl.validation import shown

Tensors = dict[str, NDArray[Any]]
"""A state dict: `actor.mu.0.weight` [out, in], `actor.mu.0.bias` [out], …"""

Build = Callable[[Tensors], Members]
"""Builds networks from a state dict; also from moments, which are aligned with the weights."""


def read(path: Path, learning_rate: float | None = None) -> TrainedAgent:
    """Gives the agent in a file that `model.save` wrote.

    Args:
        path: The zip.
        learning_rate: Replaces the learning rate of the file; needed where that is a schedule.

    Raises:
        BadFile: The file is missing, truncated or altered, or is not from Stable-Baselines3.
        BadValue: sparl has no equal of this agent. The message says why and what can be done.
    """
    file = SB3File(path)
    reader = {"td3": _td3, "sac": _sac, "dqn": _dqn}[file.algorithm]
    try:
        parts, agent = reader(file, learning_rate)
    except (OverflowError, RecursionError) as error:
        raise BadFile(f"{path} has a number out of bounds: {error}", file=path) from error
    seed = 0 if file.data.get("seed") is None else file.integer("seed")
    run = {"buffer_size": file.integer("buffer_size"), "seed": seed}
    return TrainedAgent(agent, parts, run, file.spaces, tuple(file.notes))


def _td3(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], TD3]:
    policy = file.policy(r"(actor|actor_target)\.mu\.\d+|(critic|critic_target)\.qf[01]\.\d+")

    def actor(prefix: str) -> Build:
        return lambda tensors: {"actor": _mlp(tensors, f"{prefix}.mu", squash=True)}

    parts = {
        "actor": TrainedPart(
            actor("actor")(policy),
            actor("actor_target")(policy),
            _moments(file, "actor.optimizer", "actor.", actor("actor")),
        ),
        "critics": _critics(file, policy),
    }
    config = _configured(
        file,
        TD3,
        **_common(file, learning_rate),
        **_widths(parts["actor"].members["actor"], parts["critics"].members["critic_0"]),
        policy_noise=file.number("target_policy_noise"),
        noise_clip=file.number("target_noise_clip"),
        policy_delay=file.integer("policy_delay"),
        exploration_noise=_exploration_noise(file),
    )
    return parts, config


def _sac(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], SAC]:
    policy = file.policy(r"actor\.(latent_pi\.\d+|mu|log_std)|(critic|critic_target)\.qf[01]\.\d+")

    def actor(tensors: Tensors) -> Members:
        heads = [_dense(tensors, f"actor.{name}") for name in ("mu", "log_std")]
        head = Dense(
            jnp.concatenate([head.weight for head in heads]),
            jnp.concatenate([head.bias for head in heads]),
        )
        return {"actor": plain((*_mlp(tensors, "actor.latent_pi").layers, head))}

    variables = file.tensors("pytorch_variables")
    if "log_ent_coef" in variables:
        logarithm = _scalar(file, variables, "log_ent_coef")
    elif "ent_coef_tensor" in variables:
        fixed = float(_scalar(file, variables, "ent_coef_tensor"))
        logarithm = np.log(np.asarray(max(fixed, 1e-8), np.float32))
        file.notes.append(
            f"the entropy coefficient was fixed at {fixed:.3g}: sparl starts from it and learns it"
        )
    else:
        raise BadFile(f"{file.path} has no entropy coefficient in pytorch_variables.pth")

    def temperature(tensors: Tensors) -> Members:
        (value,) = tensors.values()
        return {"log_temperature": jnp.asarray(value, jnp.float32).reshape(())}

    coefficient = {"log_ent_coef": logarithm}
    parts = {
        "actor": TrainedPart(
            actor(policy), None, _moments(file, "actor.optimizer", "actor.", actor)
        ),
        "critics": _critics(file, policy),
        "temperature": TrainedPart(
            temperature(coefficient),
            None,
            _moments(file, "ent_coef_optimizer", "", temperature, coefficient),
        ),
    }
    target_entropy = file.data.get("target_entropy")
    config = _configured(
        file,
        SAC,
        **_common(file, learning_rate),
        **_widths(parts["actor"].members["actor"], parts["critics"].members["critic_0"]),
        target_entropy=target_entropy if isinstance(target_entropy, float) else None,
        initial_temperature=math.exp(logarithm),
    )
    return parts, config


def _dqn(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], DQN]:
    policy = file.policy(r"(q_net|q_net_target)\.q_net\.\d+")

    def q(prefix: str) -> Build:
        return lambda tensors: {"q": _mlp(tensors, f"{prefix}.q_net")}

    part = TrainedPart(
        q("q_net")(policy),
        q("q_net_target")(policy),
        _moments(file, "policy.optimizer", "q_net.", q("q_net")),
    )
    exploring = file.number("exploration_fraction") * file.number("_total_timesteps")
    config = _configured(
        file,
        DQN,
        **_common(file, learning_rate),
        **_widths(part.members["q"]),
        double=False,
        # Stable-Baselines3 counts environment steps, sparl updates; it makes one per step.
        target_update_interval=file.integer("target_update_interval"),
        epsilon_start=file.number("exploration_rate"),
        epsilon_end=file.number("exploration_final_eps"),
        epsilon_steps=max(0, round(exploring) - file.integer("num_timesteps")),
    )
    return {"q": part}, config


def _configured(file: SB3File, kind: Any, **options: Any) -> Any:
    """The agent's configuration; options that it refuses are the file's fault."""
    try:
        return kind(**options)
    except BadValue as error:
        raise BadFile(
            f"{file.path} is not as sparl can take it: {error}", file=file.path
        ) from error


def _scalar(file: SB3File, variables: Tensors, name: str) -> NDArray[Any]:
    """A variable that is one finite number."""
    value = variables[name]
    if not isinstance(value, np.ndarray) or value.size != 1 or not np.isfinite(value).all():
        raise BadFile(
            f"pytorch_variables.pth of {file.path} has {name} {shown(value)}, which should be one "
            "number",
            file=file.path,
            field=name,
            value=value,
        )
    return value.reshape(())


def _critics(file: SB3File, policy: Tensors) -> TrainedPart:
    def critics(prefix: str) -> Build:
        return lambda tensors: {f"critic_{i}": _mlp(tensors, f"{prefix}.qf{i}") for i in range(2)}

    return TrainedPart(
        critics("critic")(policy),
        critics("critic_target")(policy),
        _moments(file, "critic.optimizer", "critic.", critics("critic")),
    )


def _mlp(tensors: Tensors, prefix: str, squash: bool = False) -> Network:
    """Builds a network of linear layers `PREFIX.0`, `PREFIX.2`, … with ReLUs between them."""
    numbers = sorted(
        int(name.removeprefix(f"{prefix}.").removesuffix(".weight"))
        for name in tensors
        if name.startswith(f"{prefix}.") and name.endswith(".weight")
    )
    if not numbers or numbers != list(range(0, 2 * len(numbers), 2)):
        raise BadValue(
            f"{prefix} has its linear layers at {numbers}; sparl imports linear layers with a ReLU "
            "after each (0, 2, 4, …), and at least one hidden layer"
        )
    return plain([_dense(tensors, f"{prefix}.{number}") for number in numbers], squash)


def _dense(tensors: Tensors, name: str) -> Dense:
    try:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    except KeyError as error:
        raise BadFile(f"the policy lacks {error}") from error
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise BadFile(
            f"{name} has weights {weight.shape} and biases {bias.shape}",
            field=name,
            value=weight.shape,
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise BadFile(f"{name} has numbers that are not finite", field=name)
    return Dense(jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32))


def _widths(acting: Network, critic: Network | None = None) -> dict[str, Any]:
    """Gives the options `hidden` and, where it differs, `critic_hidden`."""
    networks = [acting] if critic is None else [acting, critic]
    widths = []
    for network in networks:
        layers = network.layers
        if len(layers) == 1:
            raise BadValue(
                "a network of the file has no hidden layer; networks of sparl have at least one"
            )
        if any(a.out_features != b.in_features for a, b in itertools.pairwise(layers)):
            raise BadFile(f"layers do not fit together: {[la.shape for la in layers]}")
        widths.append(tuple(layer.out_features for layer in layers[:-1]))
    options: dict[str, Any] = {"hidden": widths[0]}
    return options if len(set(widths)) == 1 else options | {"critic_hidden": widths[1]}


def _moments(
    file: SB3File, name: str, prefix: str, build: Build, tensors: Tensors | None = None
) -> Moments | None:
    """Gives Adam's moments of the tensors under `prefix`; None if the file has none."""
    states = file.adam(name)
    if states is None:
        return None
    all_tensors = file.tensors("policy") if tensors is None else tensors
    names = [tensor for tensor in all_tensors if tensor.startswith(prefix)]
    try:
        first = build({tensor: states[i]["exp_avg"] for i, tensor in enumerate(names)})
        second = build({tensor: states[i]["exp_avg_sq"] for i, tensor in enumerate(names)})
        steps = int(states[0]["step"])
        if not 0 <= steps < 2**31:
            raise ValueError(f"{steps} steps")
        return Moments(steps, first, second)
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise BadFile(f"{name}.pth of {file.path} has other moments than Adam's") from error


def _common(file: SB3File, learning_rate: float | None) -> dict[str, Any]:
    """Gives the options that all agents have."""
    return {
        "learning_rate": file.learning_rate() if learning_rate is None else learning_rate,
        "weight_decay": file.weight_decay(),
        "batch_size": file.integer("batch_size"),
        "gamma": file.number("gamma"),
        "tau": file.number("tau"),
        "n_step": file.integer("n_steps") if "n_steps" in file.data else 1,
    }


def _exploration_noise(file: SB3File) -> float:
    """Gives the standard deviation of Gaussian noise; sparl's default for another kind of noise."""
    noise = file.data.get("action_noise")
    if isinstance(noise, dict) and str(noise.get(":type:")).endswith(".NormalActionNoise'>"):
        sigma = numbers_in(noise.get("_sigma"))
        if sigma and len(set(sigma)) == 1:
            return sigma[0]
    kind = "no noise" if noise is None else "noise other than one Gaussian for all actions"
    default = TD3.exploration_noise
    file.notes.append(
        f"it explored with {kind}; here it explores with a standard deviation of {default}"
    )
    return default
