"""Reads agents that Stable-Baselines3 saved with `model.save(FILE)`.

The file is a zip of PyTorch's state dicts (`policy.pth`, `*.optimizer.pth`,
`pytorch_variables.pth`) and of `data`, the model's other attributes as JSON. For an attribute that
JSON cannot hold, `data` has a pickle and a description in text. The pickle is never read; the text
is.

Of PPO, TD3, SAC and DQN the networks, targets, Adam's moments and SAC's temperature are taken over
unchanged, and hyperparameters where sparl has the same: they go on learning. `train_freq` is a
pickle, so from then on sparl makes one update of TD3, SAC and DQN per environment step. Of all
others the policy is taken over. The replay and the environment are not in such a file; what
VecNormalize knew is in a file of its own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.agents import DQN, SAC, TD3, Agent
from sparl.errors import BadFile
from sparl.interop import sb3_on_policy, sb3_policies
from sparl.interop.sb3_file import SB3File
from sparl.interop.sb3_networks import (
    Build,
    Tensors,
    assembled_of,
    dense,
    layers,
    mlp,
    moments,
    widths,
)
from sparl.interop.sb3_spaces import numbers_in
from sparl.interop.trained_agent import Members, TrainedAgent, TrainedPart
from sparl.layouts import Dense
from sparl.validation import shown

MOST_SEED = 2**32 - 1
"""Of NumPy and PyTorch; the Zoo of Stable-Baselines3 draws seeds up to it."""


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
    try:
        parts, agent = _read(file, learning_rate)
    except (OverflowError, RecursionError) as error:
        raise BadFile(f"{path} has a number out of bounds: {error}", file=path) from error
    seed = 0 if file.data.get("seed") is None else file.integer("seed", MOST_SEED)
    run = {"seed": seed}
    if "buffer_size" in file.data:
        run["buffer_size"] = file.integer("buffer_size")
    return TrainedAgent(agent, parts, run, file.spaces, tuple(file.notes))


def _read(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], Agent]:
    """An agent that goes on learning, where sparl has its algorithm; else what acts of it."""
    if why := sb3_policies.why_it_cannot_learn(file):
        return sb3_policies.acting(file, why)
    own = {"ppo": sb3_on_policy.ppo, "td3": _td3, "sac": _sac, "dqn": _dqn}[file.algorithm]
    return own(file, learning_rate)


def _td3(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], TD3]:
    policy = file.policy(r"(actor|actor_target)\.mu\.\d+|(critic|critic_target)\.qf[01]\.\d+")

    def actor(prefix: str) -> Build:
        return lambda tensors: {"actor": mlp(tensors, f"{prefix}.mu", file.activation, squash=True)}

    parts = {
        "actor": TrainedPart(
            actor("actor")(policy),
            actor("actor_target")(policy),
            moments(file, "actor.optimizer", "actor.", actor("actor")),
        ),
        "critics": _critics(file, policy),
    }
    config = file.configured(
        TD3,
        **_common(file, TD3, learning_rate),
        **widths(parts["actor"].members["actor"], parts["critics"].members["critic_0"]),
        policy_noise=file.number("target_policy_noise"),
        noise_clip=file.number("target_noise_clip"),
        policy_delay=file.integer("policy_delay"),
        exploration_noise=_exploration_noise(file),
    )
    return parts, config


def _sac(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], SAC]:
    policy = file.policy(r"actor\.(latent_pi\.\d+|mu|log_std)|(critic|critic_target)\.qf[01]\.\d+")

    def actor(tensors: Tensors) -> Members:
        heads = [dense(tensors, f"actor.{name}") for name in ("mu", "log_std")]
        head = Dense(
            jnp.concatenate([head.weight for head in heads]),
            jnp.concatenate([head.bias for head in heads]),
        )
        hidden = layers(tensors, "actor.latent_pi")
        return {"actor": assembled_of([*hidden, head], file.activation)}

    variables, fixed = file.variables, None
    if "log_ent_coef" in variables:
        logarithm = _scalar(file, variables, "log_ent_coef")
    elif "ent_coef_tensor" in variables:
        fixed = max(float(_scalar(file, variables, "ent_coef_tensor")), 1e-8)
        logarithm = np.asarray(math.log(fixed), np.float32)
    else:
        raise BadFile(f"{file.path} has no entropy coefficient in pytorch_variables.pth")

    def temperature(tensors: Tensors) -> Members:
        (value,) = tensors.values()
        return {"log_temperature": jnp.asarray(value, jnp.float32).reshape(())}

    coefficient = {"log_ent_coef": logarithm}
    parts = {
        "actor": TrainedPart(
            actor(policy), None, moments(file, "actor.optimizer", "actor.", actor)
        ),
        "critics": _critics(file, policy),
        "temperature": TrainedPart(
            temperature(coefficient),
            None,
            moments(file, "ent_coef_optimizer", "", temperature, coefficient),
        ),
    }
    aimed_at = file.data.get("target_entropy")
    learned = {
        "target_entropy": aimed_at if isinstance(aimed_at, float) else None,
        "initial_temperature": math.exp(logarithm),
    }
    config = file.configured(
        SAC,
        **_common(file, SAC, learning_rate),
        **widths(parts["actor"].members["actor"], parts["critics"].members["critic_0"]),
        **(learned if fixed is None else {"ent_coef": fixed}),
    )
    return parts, config


def _dqn(file: SB3File, learning_rate: float | None) -> tuple[dict[str, TrainedPart], DQN]:
    policy = file.policy(r"(q_net|q_net_target)\.q_net\.\d+")

    def q(prefix: str) -> Build:
        return lambda tensors: {"q": mlp(tensors, f"{prefix}.q_net", file.activation)}

    part = TrainedPart(
        q("q_net")(policy),
        q("q_net_target")(policy),
        moments(file, "policy.optimizer", "q_net.", q("q_net")),
    )
    exploring = file.number("exploration_fraction") * file.number("_total_timesteps")
    config = file.configured(
        DQN,
        **_common(file, DQN, learning_rate),
        **widths(part.members["q"]),
        double=False,
        max_grad_norm=file.number("max_grad_norm"),
        # Stable-Baselines3 counts environment steps, sparl updates; it makes one per step.
        target_update_interval=file.integer("target_update_interval"),
        epsilon_start=file.number("exploration_rate"),
        epsilon_end=file.number("exploration_final_eps"),
        epsilon_steps=max(0, round(exploring) - file.integer("num_timesteps")),
    )
    return {"q": part}, config


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
        return lambda tensors: {
            f"critic_{i}": mlp(tensors, f"{prefix}.qf{i}", file.activation) for i in range(2)
        }

    return TrainedPart(
        critics("critic")(policy),
        critics("critic_target")(policy),
        moments(file, "critic.optimizer", "critic.", critics("critic")),
    )


def _common(file: SB3File, kind: type[Agent], learning_rate: float | None) -> dict[str, Any]:
    """Gives the options that all these agents have."""
    rate = file.learning_rate(kind.learning_rate) if learning_rate is None else learning_rate
    return {
        "learning_rate": rate,
        "activation": file.activation,
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
