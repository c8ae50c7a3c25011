"""The gate that a walking Go1 passes: errors in m/s and rad/s, and falls.

Each command is given for whole episodes of 20 s, of seeds that training does not use. The error is
that of the velocity's mean over a second, because a gait sways, and is taken after the first two
seconds. It needs nothing of sparl.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from environment import SUBSTEPS, TIMESTEP, Go1
from numpy.typing import NDArray

COMMANDS = {
    "forward": {"ahead at 1.0 m/s": (1.0, 0.0, 0.0)},
    "any": {
        "ahead at 1.0 m/s": (1.0, 0.0, 0.0),
        "sideways at 0.5 m/s": (0.0, 0.5, 0.0),
        "turning at 0.8 rad/s": (0.0, 0.0, 0.8),
    },
}
BOTH_WAYS = COMMANDS | {
    "any": COMMANDS["any"]
    | {"sideways at -0.5 m/s": (0.0, -0.5, 0.0), "turning at -0.8 rad/s": (0.0, 0.0, -0.8)}
}
"""The same and to the other side: a robot that goes to the left may not go to the right."""
ENOUGH = 0.25
"""The largest error that meets the gate, in m/s or rad/s."""
SECOND = round(1 / (SUBSTEPS * TIMESTEP))
SEED = 10_000


class Walked(NamedTuple):
    """What came of one command."""

    error: float
    """Of the velocity, in m/s; of the turning rate, in rad/s, where turning is the command."""
    mean: NDArray[np.float64]
    """The mean velocity: ahead, sideways, turning."""
    falls: int
    returned: float

    @property
    def is_enough(self) -> bool:
        return self.error <= ENOUGH and not self.falls


def walked(
    act: Callable[[Any], Any],
    command: tuple[float, float, float],
    episodes: int,
    env: Go1,
) -> Walked:
    """Plays episodes of one command."""
    errors, means, falls, returns = [], [], 0, []
    env.fixed_command = np.array(command)
    for episode in range(episodes):
        observation, _ = env.reset(seed=SEED + episode)
        velocities, ended, returned = [], False, 0.0
        while not ended:
            observation, reward, fallen, cut, info = env.step(act(observation))
            velocities.append(info["velocity"])
            ended, returned = fallen or cut, returned + reward
            falls += fallen
        returns.append(returned)
        sway = np.ones(SECOND) / SECOND
        late = np.array(velocities)[2 * SECOND :]
        if len(late) < SECOND:
            continue  # it fell at once, which counts as a fall
        smooth = np.stack([np.convolve(v, sway, "valid") for v in late.T], axis=1)
        off = smooth - env.fixed_command
        turns = command[2] != 0.0
        errors.append(np.abs(off[:, 2]).mean() if turns else np.hypot(*off[:, :2].T).mean())
        means.append(late.mean(0))
    nothing = [np.full(3, np.nan)]
    return Walked(
        float(np.mean(errors)) if errors else float("nan"),
        np.mean(means or nothing, axis=0),
        falls,
        float(np.mean(returns)),
    )
