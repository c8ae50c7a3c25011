"""`sparl features`: which inputs of an environment matter, among hundreds.

An input is kept if it helps to predict the reward, the end of an episode, or the change of another
kept input. The inputs that are left out then predict nothing that counts. Whether an input helps is
decided by the Lasso on standardised inputs and their squares, after the mean effect of each action
has been subtracted. lambda needs no choice: it is the largest lambda that selects anything in
`PERMUTATIONS` random permutations of the target. So noise is selected for about one target in a
hundred.

Some ends are met only by a good policy: a cart reaches the edge of its track only while the pole
stays up, and random pushes let the pole fall at once. So exploration goes in rounds, and each round
acts by a policy that was learned from the inputs of the rounds before (`steering.py`).

This is our own way from Lasso fitted-Q-iteration (2011.04018) to tasks that are not linear and have
no exploratory policy. It misses an input that matters only where these policies do not get. It also
misses one that matters only together with another input or with the action, so that neither it nor
its square predicts anything alone. And it keeps an input that goes along with a kept input without
causing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sparl import envs, validation
from sparl.envs import SelectInputs, Spaces, wrapped
from sparl.errors import BadEnvironment, BadValue
from sparl.linear_mdp.exploring import FewActions, one_sided_policy, random_policy
from sparl.linear_mdp.steering import Steering
from sparl.linear_mdp.transitions import Transitions, collect, concatenate

ROUNDS = 4
"""Rounds of exploration."""
PERMUTATIONS = 100
"""Permutations of a target by which lambda is chosen."""
CLIP = 3.0
"""Inputs are clipped to so many standard deviations."""

REWARD, END = "reward", "end"


@dataclass
class RelevantInput:
    """An input that matters."""

    input: int
    """Its entry in the observation, counted from 0."""
    predicts: dict[str, float] = field(default_factory=dict)
    """What it predicts, `reward`, `end` or `input I` (the change of that input), with its weight:
    the larger one of the Lasso's weights for the input and its square, in standard deviations."""

    @property
    def weight(self) -> float:
        """Its largest weight in anything that it predicts."""
        return max(self.predicts.values())


@dataclass(frozen=True)
class RelevantInputs:
    """The inputs of an environment that matter."""

    env: str
    noise_inputs: int
    inputs_in_all: int
    """Entries of the observation, noise included."""
    kept: tuple[RelevantInput, ...]
    """In the order of the inputs."""
    steps: int
    """Steps that were played to find them."""
    seed: int
    discrete: bool
    """Whether the environment's actions are."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """The entries of the observation that matter."""
        return tuple(kept.input for kept in self.kept)

    def spec(self) -> str:
        """The `EnvSpec`, as JSON, of the environment with only these inputs.

        `gymnasium.make(EnvSpec.from_json(text))` makes the environment.

        Raises:
            BadEnvironment: gymnasium cannot write the environment as JSON. Register it with a
                string as entry point.
        """
        return spec_of(self.env, self.noise_inputs, self.inputs)

    def command(self) -> list[str]:
        """The words of the command that trains on only these inputs."""
        agent = ["--agent", "dqn"] if self.discrete else []
        noise = ["--noise-inputs", str(self.noise_inputs)] if self.noise_inputs else []
        return ["sparl", "train", self.env, *agent, *noise, "--inputs", *map(str, self.inputs)]

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "env": self.env,
            "noise_inputs": self.noise_inputs,
            "inputs_in_all": self.inputs_in_all,
            "steps": self.steps,
            "seed": self.seed,
            "inputs": list(self.inputs),
            "kept": [
                {"input": kept.input, "weight": kept.weight, "predicts": kept.predicts}
                for kept in self.kept
            ],
        }


def spec_of(env: str, noise_inputs: int, inputs: Sequence[int]) -> str:
    """The `EnvSpec`, as JSON, of an environment with some of its inputs; see `RelevantInputs`."""
    with closing(wrapped(envs.make(env), noise_inputs)) as whole:
        spec = SelectInputs(whole, tuple(inputs)).spec
    try:
        assert spec is not None
        return spec.to_json()
    except (ValueError, TypeError) as error:
        raise BadEnvironment(
            f"gymnasium cannot write {env} as JSON ({str(error).rstrip('.')}). Register it with an "
            "entry point that is a string, module:Class, and name its id"
        ) from error


def find(
    env: str,
    noise_inputs: int = 0,
    steps: int = 30_000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> RelevantInputs:
    """The inputs of an environment that matter.

    It takes steps x inputs x 24 bytes of memory.

    Args:
        env: The environment's id.
        noise_inputs: Noise entries that are appended to the observation, as a test: they should be
            left out.
        steps: Steps that are played.
        seed: Determines the episodes and the policies.
        tell: Called with a line of progress after each round.

    Raises:
        BadValue: No input predicts the reward or the end of an episode. Where rewards are rare,
            more steps may help.
        BadEnvironment: No agent can act in the environment.
    """
    validation.at_least(ROUNDS, steps=steps)
    validation.at_least(0, noise_inputs=noise_inputs, seed=seed)
    with closing(wrapped(envs.make(env), noise_inputs)) as wrapped_env:
        env_spaces = envs.spaces_of(wrapped_env)
        kept = _search(wrapped_env, env_spaces, steps, seed, tell)
    if not kept:
        raise BadValue(
            f"in {steps} steps of {env} no input predicts the reward or the end of an episode. "
            "Where rewards are rare, more steps may meet one"
        )
    return RelevantInputs(
        env=env,
        noise_inputs=noise_inputs,
        inputs_in_all=env_spaces.observation_size,
        kept=tuple(kept[i] for i in sorted(kept)),
        steps=steps,
        seed=seed,
        discrete=env_spaces.discrete,
    )


def _search(
    env: gym.Env, spaces: Spaces, steps: int, seed: int, tell: Callable[[str], None]
) -> dict[int, RelevantInput]:
    """Plays round after round, each by what the rounds before it have found."""
    if spaces.discrete:
        choices = spaces.choices
    else:
        env = few = FewActions(env)
        choices = few.choices
    rng = np.random.default_rng([seed, 3])
    kept: dict[int, RelevantInput] = {}
    data, policy = None, random_policy(choices)
    for i in range(ROUNDS):
        count = steps * (i + 1) // ROUNDS - steps * i // ROUNDS
        new = collect(env, policy, steps=count, seed=seed, stream=f"features {i}")
        data = new if data is None else concatenate(data, new)
        kept = relevant_inputs(data, rng, kept)
        length = count / (new.episodes[-1] + 1)
        so_far = " ".join(str(i) for i in sorted(kept)) or "none"
        tell(f"round {i + 1}/{ROUNDS}, episodes of {length:.0f} steps: inputs {so_far}")
        if kept:
            greedy = Steering.fit(data, np.array(sorted(kept)), choices)
            policy = one_sided_policy(greedy, choices)
    return kept


def relevant_inputs(
    data: Transitions, rng: np.random.Generator, before: dict[int, RelevantInput] | None = None
) -> dict[int, RelevantInput]:
    """The inputs that matter in a data set, by their entry in the observation.

    Args:
        data: The transitions.
        rng: Permutes the targets.
        before: Inputs that mattered in earlier rounds; they stay, and their changes are targets.
    """
    kept = {i: RelevantInput(i, dict(earlier.predicts)) for i, earlier in (before or {}).items()}
    x, size = _predictors(data), data.observations.shape[1]
    targets: list[str | int] = [REWARD, END, *kept]
    while targets:
        target = targets.pop(0)
        weights = _lasso(x, _without_action_means(_values(data, target), data.actions), rng)
        weights = np.abs(weights).reshape(2, size).max(0)
        for i in map(int, np.flatnonzero(weights)):
            if i not in kept:
                kept[i] = RelevantInput(i)
                targets.append(i)
            name = target if isinstance(target, str) else f"input {target}"
            kept[i].predicts[name] = round(float(weights[i]), 4)
    return kept


def _values(data: Transitions, target: str | int) -> NDArray[np.float32]:
    """What a target is: the rewards, the ends, or the change of an input."""
    if isinstance(target, int):
        change = data.next_observations[:, target] - data.observations[:, target]
        return change.astype(np.float32)
    return (data.rewards if target == REWARD else data.terminated).astype(np.float32)


def _predictors(data: Transitions) -> NDArray[np.float32]:
    """Inputs and their squares, [n, 2 obs], with mean 0 for each action, and variance 1."""
    inputs = np.asarray(data.observations, np.float32)
    deviation = inputs.std(0)
    inputs = (inputs - inputs.mean(0)) / np.where(deviation > 0, deviation, 1)
    inputs, count = np.clip(inputs, -CLIP, CLIP), inputs.shape[1]
    # scikit-learn goes through it column by column.
    x = np.empty((len(inputs), 2 * count), np.float32, order="F")
    x[:, :count], x[:, count:] = inputs, inputs**2
    x[:] = _without_action_means(x, data.actions)
    deviation = x.std(0)
    x /= np.where(deviation > 1e-6, deviation, np.inf)
    return x


def _without_action_means(
    values: NDArray[np.float32], actions: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Values minus the mean over all transitions with the same action."""
    centred = values.copy()
    for action in np.unique(actions):
        rows = actions == action
        centred[rows] -= centred[rows].mean(0)
    return centred


def _lasso(
    x: NDArray[np.float32], y: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.floating]:
    """The Lasso's weights, in standard deviations of y; all 0 where y is constant."""
    from sklearn.linear_model import Lasso

    deviation = y.std()
    if deviation < 1e-6:
        return np.zeros(x.shape[1])
    y = y / deviation
    shuffled = np.stack([rng.permutation(y) for _ in range(PERMUTATIONS)], axis=1)
    alpha = float(np.abs(x.T @ shuffled).max()) / len(y)
    return Lasso(alpha, fit_intercept=False, tol=1e-3).fit(x, y).coef_
