"""Which inputs of an environment matter, of hundreds: `sparl features`.

An input is kept if it helps to predict the reward, the end of an episode, or how a kept input
changes: what is left out then says nothing about anything that counts. "Helps" is the Lasso's
answer on standardised inputs and their squares, once what each action does on its own is taken
away. Nobody has to say how large lambda is: it is the largest that finds anything at all in
`PERMUTATIONS` random orders of what is to be predicted, so that noise gets in for about one target
in a hundred.

Ends that only a good policy comes to see (a cart that reaches the edge of its track, while random
pushes let the pole fall at once) need one: `explore` in rounds, and act in each by what was learned
with the inputs of the rounds before (`steering.py`).

This is our own way from Lasso fitted-Q-iteration (2011.04018) to tasks that are neither linear nor
have an exploratory policy. What it misses: an input that matters only beyond where these policies
get, or only together with another one or with the action, such that neither it nor its square says
anything alone. It also keeps whatever goes along with a kept input without causing anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sparl import envs, validation
from sparl.envs import SelectInputs, wrapped
from sparl.errors import BadEnvironment, BadValue
from sparl.linear_mdp.steering import Steering
from sparl.linear_mdp.transitions import Policy, Transitions, collect, joined

ROUNDS = 4
PERMUTATIONS = 100
FAR = 3.0
"""Standard deviations; what lies beyond counts as there."""
HOLD = (0.0, 0.8, 0.95)
"""With what probability an action is repeated before anything is known: one of these an episode.
Actions that are drawn anew in each step shake an environment and get it nowhere."""
CORNERS = 12
"""Actions that stand for all, where they have several numbers."""

REWARD, END = "reward", "end"


@dataclass
class Kept:
    """An input that matters."""

    input: int
    """Its entry in the observation, from 0."""
    predicts: dict[str, float] = field(default_factory=dict)
    """`reward`, `end` or `input I` (its change), with the weight it has in that: the larger of the
    Lasso's two, in standard deviations."""

    @property
    def weight(self) -> float:
        return max(self.predicts.values())


@dataclass(frozen=True)
class Found:
    """What `find` answers."""

    env: str
    noise_inputs: int
    inputs_in_all: int
    """Entries of the observation, those of noise included."""
    kept: tuple[Kept, ...]
    """In the order of the inputs."""
    steps: int
    seed: int
    discrete: bool

    @property
    def inputs(self) -> tuple[int, ...]:
        return tuple(kept.input for kept in self.kept)

    def spec(self) -> str:
        """The wrapper configuration: the `EnvSpec` of the environment with these inputs alone, as
        JSON. `gymnasium.make(EnvSpec.from_json(text))` makes it.

        Raises `BadEnvironment` where gymnasium cannot write it.
        """
        env = wrapped(envs.make(self.env), self.noise_inputs)
        spec = SelectInputs(env, self.inputs).spec
        try:
            assert spec is not None
            return spec.to_json()
        except (ValueError, TypeError) as error:
            raise BadEnvironment(
                f"gymnasium cannot write {self.env} as JSON: {error}. Register it with an entry "
                "point that is a string, module:Class"
            ) from error

    def command(self) -> list[str]:
        """The words of the command line that trains on these inputs alone."""
        agent = ["--agent", "dqn"] if self.discrete else []
        noise = ["--noise-inputs", str(self.noise_inputs)] if self.noise_inputs else []
        return ["sparl", "train", self.env, *agent, *noise, "--inputs", *map(str, self.inputs)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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


class FewActions(gym.ActionWrapper):
    """A few of an environment's continuous actions, as discrete ones: lowest, middle and highest;
    of several numbers, `CORNERS` random combinations of these."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._spaces = envs.spaces_of(env)
        size = self._spaces.action_size
        levels = np.array([-1.0, 0.0, 1.0], np.float32)
        several = np.random.default_rng(0).choice(levels, (CORNERS, size))
        self._actions = self._spaces.scaled(levels[:, None] if size == 1 else several)
        self.action_space = spaces.Discrete(len(self._actions))

    def action(self, action: Any) -> Any:
        return self._actions[int(action)]


def find(
    env: str,
    noise_inputs: int = 0,
    steps: int = 30_000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Found:
    """The inputs of an environment that matter, after so many steps in it.

    - `noise_inputs`: entries of noise put behind the others, to see whether they are left out.
    - `tell`: hears a line after each round.

    Memory: steps x inputs x 24 bytes. Raises `BadValue` where neither a reward nor an end could be
    told from any input, `BadEnvironment` for an environment that no agent could act in.
    """
    validation.at_least(ROUNDS, steps=steps)
    validation.at_least(0, noise_inputs=noise_inputs, seed=seed)
    made = wrapped(envs.make(env), noise_inputs)
    found = envs.spaces_of(made)
    if not found.discrete:
        made = FewActions(made)
    choices = found.choices or len(made._actions)  # pyright: ignore[reportAttributeAccessIssue]
    rng = np.random.default_rng([seed, 3])
    kept: dict[int, Kept] = {}
    data, policy = None, unknowing(choices)
    for i in range(ROUNDS):
        count = steps * (i + 1) // ROUNDS - steps * i // ROUNDS
        new = collect(made, policy, steps=count, seed=seed, stream=f"features {i}")
        data = new if data is None else joined(data, new)
        kept = needed(data, rng, kept)
        length = count / (new.episodes[-1] + 1)
        so_far = " ".join(str(i) for i in sorted(kept)) or "none"
        tell(f"round {i + 1}/{ROUNDS}, episodes of {length:.0f} steps: inputs {so_far}")
        if kept:
            policy = leaning(Steering.fit(data, np.array(sorted(kept)), choices), choices)
    made.close()
    if not kept:
        raise BadValue(
            f"in {steps} steps of {env} neither the reward nor the end of an episode could be told "
            "from any input. Where rewards are rare, more --steps may meet one"
        )
    inputs = tuple(kept[i] for i in sorted(kept))
    size = found.observation_size
    return Found(env, noise_inputs, size, inputs, steps, seed, found.discrete)


def needed(
    data: Transitions, rng: np.random.Generator, before: dict[int, Kept] | None = None
) -> dict[int, Kept]:
    """The inputs that a data set speaks for, by their number, with those of `before`."""
    kept = {i: Kept(i, dict(known.predicts)) for i, known in (before or {}).items()}
    x, size = _explaining(data), data.observations.shape[1]
    waiting: list[str | int] = [REWARD, END, *kept]
    while waiting:
        target = waiting.pop(0)
        weights = _lasso(x, _centred(_values(data, target), data.actions), rng)
        weights = np.abs(weights).reshape(2, size).max(0)
        for i in map(int, np.flatnonzero(weights)):
            if i not in kept:
                kept[i] = Kept(i)
                waiting.append(i)
            name = target if isinstance(target, str) else f"input {target}"
            kept[i].predicts[name] = round(float(weights[i]), 4)
    return kept


def unknowing(choices: int) -> Policy:
    """Acts at random; see `HOLD`."""

    def begin(rng: np.random.Generator) -> Callable[[NDArray[Any]], int]:
        hold, last = float(rng.choice(HOLD)), int(rng.integers(choices))

        def act(observation: NDArray[Any]) -> int:
            nonlocal last
            if rng.random() >= hold:
                last = int(rng.integers(choices))
            return last

        return act

    return begin


def leaning(best: Callable[[NDArray[Any]], int], choices: int) -> Policy:
    """Acts by `best`, but leans to one side: each episode has an action of its own, and a
    probability with which that is taken instead. So it gets to the edges. Where the probability
    stayed below 0.4, a cart's position was missed in two seeds of ten: it left its track too rarely
    while the pole was balanced well."""

    def begin(rng: np.random.Generator) -> Callable[[NDArray[Any]], int]:
        favourite, chance = int(rng.integers(choices)), rng.random()
        return lambda observation: favourite if rng.random() < chance else best(observation)

    return begin


def _values(data: Transitions, target: str | int) -> NDArray[np.float32]:
    if isinstance(target, int):
        change = data.next_observations[:, target] - data.observations[:, target]
        return change.astype(np.float32)
    return (data.rewards if target == REWARD else data.terminated).astype(np.float32)


def _explaining(data: Transitions) -> NDArray[np.float32]:
    """Inputs and their squares, [n, 2 obs], of mean 0 for each action, and of variance 1."""
    seen = np.asarray(data.observations, np.float32)
    deviation = seen.std(0)
    seen = np.clip((seen - seen.mean(0)) / np.where(deviation > 0, deviation, 1), -FAR, FAR)
    # In the order that scikit-learn goes through them.
    x = np.empty((len(seen), 2 * seen.shape[1]), np.float32, order="F")
    x[:, : seen.shape[1]], x[:, seen.shape[1] :] = seen, seen**2
    x[:] = _centred(x, data.actions)
    deviation = x.std(0)
    x /= np.where(deviation > 1e-6, deviation, np.inf)
    return x


def _centred(values: NDArray[np.float32], actions: NDArray[np.integer]) -> NDArray[np.float32]:
    """Without the mean of each action's rows."""
    found = values.copy()
    for action in np.unique(actions):
        rows = actions == action
        found[rows] -= found[rows].mean(0)
    return found


def _lasso(
    x: NDArray[np.float32], y: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.floating]:
    """The Lasso's weights for y in units of its standard deviation; all 0 where it is constant."""
    from sklearn.linear_model import Lasso

    deviation = y.std()
    if deviation < 1e-6:
        return np.zeros(x.shape[1])
    y = y / deviation
    shuffled = np.stack([rng.permutation(y) for _ in range(PERMUTATIONS)], axis=1)
    alpha = float(np.abs(x.T @ shuffled).max()) / len(y)
    return Lasso(alpha, fit_intercept=False, tol=1e-3).fit(x, y).coef_
