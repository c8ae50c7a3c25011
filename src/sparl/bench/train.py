"""`sparl bench train`: steps per second of whole training, beside Stable-Baselines3 and SBX.

Every measurement is a process of its own (`contender`), so that no contender inherits another's
threads or memory. Contenders take turns, because the speed of a machine drifts.
"""

from __future__ import annotations

import importlib.util
import itertools
import operator
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparl import envs
from sparl.bench import contender, report, timing
from sparl.errors import BadValue, SparlError
from sparl.topology import NofM

PEERS = {"sb3": "stable_baselines3", "sbx": "sbx"}
"""The other libraries, and the modules that they need."""

Measure = Callable[[str, str, int, int], float]
"""From (name, environment, width, steps) to steps per second."""


@dataclass(frozen=True)
class Train:
    """Train TD3 with every contender in turn and compare steps per second.

    All have two hidden layers, batches of 256, one update per environment step, the same learning
    rate and exploration, and all cores. Evaluation and compilation are not timed. The defaults
    take about three hours; one environment with width 256 takes ten minutes.
    """

    envs: tuple[str, ...] = ("HalfCheetah-v5", "Ant-v5")
    """Gymnasium ids."""
    widths: tuple[int, ...] = (256, 1024)
    """Widths of both hidden layers."""
    names: tuple[str, ...] = ("sb3", "sbx", "dense", "2:4", "1:4", "1:8")
    """Contenders: sb3 (Stable-Baselines3, always needed: ratios are to it), sbx (its JAX version),
    and sparl's dense and N:M."""
    steps: int = 3_000
    """Timed steps of one repetition, after 1500 to warm up."""
    repetitions: int = 5
    """How often the contenders take turns; figures are medians over these."""
    json: Path | None = None
    """File for the figures."""

    def check(self) -> None:
        """Checks the options before anything is measured.

        Raises:
            BadValue: An option has a value that is not possible; the message says which are.
        """
        report.check(self.json, widths=self.widths, steps=self.steps, repetitions=self.repetitions)
        for name in self.names:
            if name not in PEERS and name != "dense":
                if ":" not in name:
                    raise BadValue(f"no contender {name!r}: choose sb3, sbx, dense or N:M, as 2:4")
                NofM.parse(name)
        if "sb3" not in self.names:
            raise BadValue("--names must have sb3: every ratio is to it")
        for env in self.envs:
            environment = envs.make(env)
            discrete = envs.spaces_of(environment).discrete
            environment.close()
            if discrete:
                raise BadValue(f"{env} has discrete actions; all contenders train TD3")


def run(options: Train) -> None:
    """Measures and prints a table per setting; the JSON file is written anew after each."""
    options.check()
    refuse_missing(options.names)
    report.machine()
    settings = []
    for env, width in itertools.product(options.envs, options.widths):
        settings.append(compare(options, env, width, in_a_process))
        print(f"{env}, 2x{width}")
        report.table(
            ["", "steps/s", "ratio"],
            [
                [row["name"], f"{row['steps_per_second']:.0f}", f"{row['ratio_to_sb3']:.2f}"]
                for row in settings[-1]["rows"]
            ],
        )
        single = len(options.envs) == len(options.widths) == 1
        report.write(options.json, settings[0] if single else settings)


def compare(options: Train, env: str, width: int, measure: Measure) -> dict[str, Any]:
    """Measures all contenders in one setting and gives its figures for the JSON file."""
    turns = itertools.product(range(options.repetitions), options.names)
    speeds: dict[str, list[float]] = {name: [] for name in options.names}
    for _, name in report.in_turn(turns, lambda turn: f"{env} 2x{width} {turn[1]}"):
        speeds[name].append(measure(name, env, width, options.steps))
    rows = [
        {
            "name": name,
            "steps_per_second": statistics.median(repetitions),
            "ratio_to_sb3": timing.median_of(operator.truediv, repetitions, speeds["sb3"]),
            "all": repetitions,
        }
        for name, repetitions in speeds.items()
    ]
    return {"env": env, "width": width, "rows": rows}


def in_a_process(name: str, env: str, width: int, steps: int) -> float:
    """Runs `contender` as a process and gives the steps per second that it prints.

    Raises:
        SparlError: The process failed; the message has the last line of its error.
    """
    # -P keeps this folder out of sys.path, where its modules could hide others.
    command = [sys.executable, "-P", contender.__file__, name, env, str(width), str(steps)]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise SparlError(f"{name} failed on {env} (status {ended.returncode}): {last}")
    return float(ended.stdout.split()[-1])


def refuse_missing(names: tuple[str, ...]) -> None:
    """Refuses contenders that are not installed, instead of leaving them out silently.

    Raises:
        BadValue: Some are not installed; the message has the command that installs them.
    """
    missing = [
        name for name in names if name in PEERS and importlib.util.find_spec(PEERS[name]) is None
    ]
    if missing:
        others = " ".join(name for name in names if name not in missing)
        way_out = f", or go without: --names {others}" if "sb3" not in missing else ""
        raise BadValue(
            f"{' and '.join(missing)} cannot be measured, because not installed: "
            f'pip install "sparl[bench]"{way_out}'
        )
