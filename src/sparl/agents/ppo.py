"""PPO: proximal policy optimisation with clipped ratios (Schulman et al., 1707.06347).

An on-policy actor-critic for discrete and for continuous actions. A rollout is collected by the
present policy; advantages are estimated by GAE (1506.02438); then several epochs of minibatches
ascend the clipped objective (eq. 7), and the critic descends the squared error of its value.

The details are those that the reference implementations share (2005.12729; "The 37 implementation
details of PPO", ICLR blog track 2022): two networks with tanh, orthogonal weights, biases of 0 and
a small head of the policy; Adam with an epsilon of 1e-5; advantages normalised in each minibatch; a
Gaussian whose deviations do not depend on the state, and whose actions are clipped to the bounds
where the environment is stepped, while their log-probabilities are those of what was drawn; a
time limit bootstraps. Observations are normalised by the run (`normalize_observations`,
`clip_observations`).

Our reading, where it differs from these codes:
- Actor, critic and deviations are parts with an Adam each. Adam's step does not depend on the scale
  of a loss, so the critic's weight in a joint loss has no equal here. `max_grad_norm` holds for
  each part by itself.
- A rollout's observations and rewards are normalised by the statistics at its end, and its old
  log-probabilities are computed with these. The reference codes normalise every step when it comes.

Arrays are feature-major, [features, batch]. Actions are in [-1, 1], whatever the environment's
bounds, and so are means and deviations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.agent import Acting, Actions, Agent
from sparl.agents.common.deterministic import best_actions
from sparl.agents.common.distribution import draw, log_probability
from sparl.agents.common.initial_weights import orthogonal
from sparl.agents.common.of_networks import check_widths
from sparl.agents.common.on_policy import OnPolicyAgent
from sparl.errors import BadValue
from sparl.kernels import Activation
from sparl.learner import AgentState
from sparl.networks import Networks
from sparl.replay import Batch, Rollout

Distribution = Literal["auto", "categorical", "gaussian"]
SMALL_HEAD = 0.01
"""Gain of the policy's last layer: the first policy is nearly the same in every state."""
MOST_REWARD = 10.0
"""Normalised rewards are clipped to within this of 0."""


@dataclass(frozen=True)
class PPO(OnPolicyAgent):
    """Proximal policy optimisation, on-policy, for discrete and continuous actions (1707.06347).

    The defaults are the paper's for MuJoCo (its table 3). Continuous control wants normalised
    observations and rewards: normalize_observations, clip_observations 10, normalize_rewards.
    """

    name: ClassVar[str] = "ppo"
    actions: ClassVar[Actions | Literal["both"]] = "both"
    roles: ClassVar[Any] = {"actor": "actor", "critic": "critic"}
    adam_epsilon: ClassVar[float] = 1e-5
    rollout_option: ClassVar[str] = "rollout"
    metrics: ClassVar[Any] = {
        "value_loss": "train/value_loss",
        "value": "train/value",
        "policy_loss": "train/policy_gradient_loss",
        "entropy": "train/entropy",
        "approx_kl": "train/approx_kl",
        "clip_fraction": "train/clip_fraction",
        "std": "train/std",
        "reward_scale": "train/reward_scale",
    }

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers, of the policy's network and of the value's."""
    critic_hidden: tuple[int, ...] = ()
    """Widths of the value's network; the policy's if not given."""
    activation: Activation = "tanh"
    """Between layers; swish is also known as SiLU."""
    max_grad_norm: float | None = 0.5
    """Longest gradient of a part (policy, value, deviations); a longer one is scaled down."""
    batch_size: int = 64
    """Transitions in one update; a rollout is a multiple of it."""
    learning_starts: int = 0
    """Steps of uniformly random actions, without updates, before learning begins."""
    rollout: int = 2048
    """Environment steps, of all environments together, between two times of learning."""
    n_epochs: int = 10
    """Passes over a rollout."""
    gae_lambda: float = 0.95
    """Of the advantages (1506.02438): 0 is one step and the critic's value, 1 all rewards."""
    clip_range: float = 0.2
    """How far from 1 the ratio of new and old probability is followed: epsilon of the paper."""
    clip_range_value: float | None = None
    """The same for the change of a value since the rollout; not clipped if not given."""
    entropy_bonus: float = 0.0
    """Weight of the policy's entropy in what it maximises."""
    normalize_advantages: bool = True
    """Bring the advantages of every minibatch to mean 0 and deviation 1."""
    normalize_rewards: bool = False
    """Divide rewards by the running deviation of the discounted return, and clip them at 10."""
    initial_std: float = 1.0
    """Standard deviation of continuous actions in the beginning, in [-1, 1] units."""
    distribution: Distribution = "auto"
    """What actions are drawn from: categorical for discrete ones, gaussian for continuous ones.
    auto: what the environment's actions need."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(
            critic_hidden=min(self.critic_hidden, default=1),
            rollout=self.rollout,
            n_epochs=self.n_epochs,
            clip_range=self.clip_range,
            initial_std=self.initial_std,
        )
        if self.clip_range_value is not None:
            validation.positive(clip_range_value=self.clip_range_value)
        validation.at_least(0, entropy_bonus=self.entropy_bonus)
        validation.fractions(gae_lambda=self.gae_lambda)
        check_widths(self.network, self.critic_hidden)
        if self.rollout % self.batch_size:
            raise BadValue(
                f"rollout is {self.rollout}: it must be a multiple of batch_size, {self.batch_size}"
            )
        if self.norm == "batch":
            raise BadValue(
                "norm is batch: a probability would change with the others of its minibatch, and "
                "ratios would tell that. Choose layer or none"
            )
        if self.normalize_advantages and self.batch_size < 2:
            raise BadValue(
                f"batch_size is {self.batch_size}: one advantage has no deviation to be divided "
                "by. Take more, or set normalize_advantages to False"
            )

    def for_actions(self, actions: Actions) -> Agent:
        wanted = "categorical" if actions == "discrete" else "gaussian"
        if self.distribution not in ("auto", wanted):
            raise BadValue(
                f"distribution is {self.distribution}, and actions are {actions}: leave it out"
            )
        return replace(self, distribution=wanted)

    @property
    def rollout_steps(self) -> int:
        return self.rollout

    @property
    def rollout_unit(self) -> int:
        return self.batch_size

    @property
    def epochs(self) -> int:
        return self.n_epochs

    @property
    def extras(self) -> tuple[str, ...]:
        return "log_prob", "value", "advantage"

    @property
    def scales_rewards(self) -> bool:
        return self.normalize_rewards

    @property
    def noise_part(self) -> str | None:
        return "log_std" if self.is_gaussian else None

    @property
    def is_gaussian(self) -> bool:
        """Whether actions are continuous; it is known when an engine has the agent."""
        return self.distribution == "gaussian"

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, dict[str, Any]]:
        """`actor`, `critic`, and `log_std` where actions are continuous.

        The actor gives a logit for each choice, or the mean of each number of an action.
        """
        keys = jax.random.split(key, 4)
        outputs = (*self.hidden, action_size), (*(self.critic_hidden or self.hidden), 1)
        actor, critic = (self.build(None, (observation_size, *sizes)) for sizes in outputs)
        parts: dict[str, dict[str, Any]] = {
            "actor": {"actor": orthogonal(keys[2], actor, SMALL_HEAD)},
            "critic": {"critic": orthogonal(keys[3], critic, 1.0)},
        }
        if self.is_gaussian:
            log_std = jnp.full(action_size, math.log(self.initial_std), jnp.float32)
            parts["log_std"] = {"log_std": log_std}
        return parts

    def due(self, update: int) -> frozenset[str]:
        return super().due(update) | ({"log_std"} if self.is_gaussian else set())

    def act(
        self, network: Acting, observation: NDArray[np.float32]
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        return best_actions(network, observation, discrete=not self.is_gaussian)

    def explore(
        self,
        network: Acting,
        observation: NDArray[np.float32],
        action_size: int,
        step: int,
        rng: np.random.Generator,
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        """Actions drawn from the policy; continuous ones may be beyond [-1, 1]."""
        outputs = network(observation.T).T
        if not self.is_gaussian:
            return draw(outputs, rng)
        mean, log_std = np.split(outputs, 2, axis=1)
        return (mean + np.exp(log_std) * rng.standard_normal(mean.shape)).astype(np.float32)

    def evaluate(self, state: AgentState, batch: Batch) -> dict[str, jax.Array]:
        critic, actor = state.online("critic")["critic"], state.online("actor")["actor"]
        log_prob, _ = log_probability(actor(batch.observation.T), self.log_std(state), batch.action)
        reward = batch.reward
        if self.normalize_rewards:
            reward = jnp.clip(reward, -MOST_REWARD, MOST_REWARD)
        return {
            "log_prob": log_prob,
            "value": critic(batch.observation.T)[0],
            "next_value": critic(batch.next_observation.T)[0],
            "reward": reward,
        }

    def targets(self, rollout: Rollout) -> dict[str, NDArray[np.float32]]:
        evaluated = rollout.evaluated
        rollout = replace(rollout, reward=evaluated["reward"])
        return evaluated | {"advantage": rollout.advantages(self.gamma, self.gae_lambda)}

    def update(
        self, state: AgentState, batch: Batch, key: UInt32[Array, " 2"]
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        """One minibatch: the critic's step, the policy's, and that of its deviations."""
        old: Any = batch.extras
        observation, value_target = batch.observation.T, old["value"] + old["advantage"]
        advantage = old["advantage"]
        if self.normalize_advantages:
            deviation = jnp.std(advantage, ddof=1) + 1e-8
            advantage = (advantage - jnp.mean(advantage)) / deviation

        def value_loss(networks: Networks) -> tuple[jax.Array, jax.Array]:
            value = networks["critic"](observation)[0]
            loss = (value - value_target) ** 2
            if (most := self.clip_range_value) is not None:
                clipped = old["value"] + jnp.clip(value - old["value"], -most, most)
                loss = jnp.maximum(loss, (clipped - value_target) ** 2)
            return 0.5 * jnp.mean(loss), value

        def policy_loss(
            outputs: Float[Array, "out batch"], log_std: Float[Array, " act"] | None
        ) -> tuple[jax.Array, dict[str, jax.Array]]:
            log_prob, entropy = log_probability(outputs, log_std, batch.action)
            change = log_prob - old["log_prob"]
            ratio, most = jnp.exp(change), self.clip_range
            clipped = jnp.clip(ratio, 1.0 - most, 1.0 + most)
            gain = jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))
            told = {
                "policy_loss": -gain,
                "entropy": entropy,
                # An estimate that is never negative (Schulman, "Approximating KL divergence").
                "approx_kl": jnp.mean((ratio - 1.0) - change),
                "clip_fraction": jnp.mean(jnp.abs(ratio - 1.0) > most),
            }
            return -gain - self.entropy_bonus * entropy, told

        def actor_loss(networks: Networks) -> tuple[jax.Array, Any]:
            outputs = networks["actor"](observation)
            loss, told = policy_loss(outputs, self.log_std(state))
            return loss, (outputs, told)

        def deviations_loss(members: dict[str, jax.Array]) -> tuple[jax.Array, None]:
            return policy_loss(outputs, members["log_std"])[0], None

        moved, loss, value = state.step("critic", value_loss)
        metrics = {"value_loss": loss, "value": jnp.mean(value)}
        # The losses of both parts of the policy read `state`, the policy before either step.
        moved, _, (outputs, told) = moved.step("actor", actor_loss)
        if self.is_gaussian:
            metrics["std"] = jnp.mean(jnp.exp(state.online("log_std")["log_std"]))
            moved, _, _ = moved.step("log_std", deviations_loss)
        return moved, metrics | told

    def log_std(self, state: AgentState) -> Float[Array, " act"] | None:
        """The logarithms of the deviations; None where actions are discrete."""
        return state.online("log_std")["log_std"] if self.is_gaussian else None
