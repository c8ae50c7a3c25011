"""What a trained Go1 does where the world is not as in training: pushes, payload, friction, delay.

    python recipes/go1/disturbed.py runs/go1 runs/go1-small
    python recipes/go1/disturbed.py runs/go1-any --commands any    # trained to go where it is told

The command is to walk ahead at 1 m/s. Each disturbance is a row; of every policy (a run folder, or
a policy) the error in m/s and the falls of the episodes are shown, and all of it is added to
`results/go1/disturbed.csv`, under the folder's name. Starts and pushes are the same for all
policies.
"""

from __future__ import annotations

import argparse
import csv
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from environment import COMMAND_STEPS, Commands, Go1
from gate import COMMANDS, walked
from numpy.typing import NDArray

import sparl

RESULTS = Path(__file__).resolve().parent.parent.parent / "results" / "go1" / "disturbed.csv"
COLUMNS = ("policy", "disturbance", "episodes", "error", "falls")
DISTURBANCES: dict[str, dict[str, Any]] = {
    "as trained": {},
    "pushed by 0.5 m/s": {"push": 0.5},
    "pushed by 1.0 m/s": {"push": 1.0},
    "2 kg on its back": {"payload": 2.0},
    "4 kg on its back": {"payload": 4.0},
    "friction 0.4": {"friction": 0.4},
    "friction 0.2": {"friction": 0.2},
    "actions 20 ms late": {"delay": 1},
    "actions 40 ms late": {"delay": 2},
    "motors at 0.7": {"strength": 0.7},
}
"""The robot weighs 12 kg, and the floor's friction is 0.8 in training."""


class Disturbed(Go1):
    """A Go1 that is always to walk ahead, in a world that is not that of training."""

    def __init__(
        self,
        commands: Commands,
        *,
        push: float = 0.0,
        payload: float = 0.0,
        friction: float | None = None,
        delay: int = 0,
        strength: float = 1.0,
    ) -> None:
        """
        Args:
            commands: Those of its training, which decide how far an action moves its hips.
            push: By how many m/s the trunk is thrown aside, any way, every five seconds.
            payload: In kg, on the trunk.
            friction: Of feet and floor, in place of the model's.
            delay: By how many steps of 20 ms actions come late.
            strength: Of the motors, a share of what they have: stiffness, damping and torque.
        """
        super().__init__(commands)
        self._push, self._delay = push, delay
        self.model.body("trunk").mass += payload
        if friction is not None:
            self.model.geom_friction[:, 0] = friction
        for part in (self.model.actuator_gainprm, self.model.actuator_biasprm):
            part *= strength
        self.model.actuator_forcerange *= strength
        self._late: deque[NDArray[np.float32]] = deque()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        seen = super().reset(seed=seed, options=options)
        self._late = deque([np.zeros(12, np.float32)] * self._delay)
        return seen

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        if self._push and self._steps % COMMAND_STEPS == COMMAND_STEPS // 2:
            way = self.np_random.uniform(0.0, 2.0 * np.pi)
            self.data.qvel[:2] += self._push * np.array([np.cos(way), np.sin(way)])
        self._late.append(action)
        return super().step(self._late.popleft())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, or policies")
    parser.add_argument("--commands", choices=COMMANDS, default="forward")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    (command,) = COMMANDS["forward"].values()
    new = not options.results.exists()
    with open(options.results, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for run in options.runs:
            policy = sparl.load(run, trust=True)
            for name, changes in DISTURBANCES.items():
                act = lambda seen, policy=policy: policy.predict(seen)[0]  # noqa: E731
                found = walked(
                    act, command, options.episodes, Disturbed(options.commands, **changes)
                )
                row = run.name, name, options.episodes, f"{found.error:.3f}", found.falls
                writer.writerow(row)
                file.flush()
                print(*row, sep="  ", flush=True)


if __name__ == "__main__":
    main()
