"""`sparl bench train`: steps per second of whole training, beside other libraries.

Every measurement is a process of its own (`contender`), so that no contender inherits another's
threads or memory. Contenders take turns, because the speed of a machine drifts. Processor time
drifts less than steps per second, and does not hide behind idle cores.
"""

from __future__ import annotations

import importlib.util
import itertools
import operator
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sparl import envs
from sparl.bench import contender, report, timing
from sparl.bench.contender import Speed
from sparl.errors import BadValue, SparlError
from sparl.topology import NofM


class Peer(NamedTuple):
    """Another library."""

    module: str
    agents: tuple[str, ...]
    """Those that it has of ours."""


PEERS = {
    "sb3": Peer("stable_baselines3", ("td3", "sac")),
    "sbx": Peer("sbx", ("td3", "sac", "crossq")),
    "rltools": Peer("rltools", ("td3", "sac")),
}
INSTALL = {"rltools": '"rltools[mkl]" and a C++ compiler with the headers of Python'}
"""What brings a peer that the extra `bench` does not."""
NAMES = {
    "td3": ("sb3", "sbx", "dense", "2:4", "1:4", "1:8"),
    "sac": ("sb3", "sbx", "dense", "2:4", "1:4", "1:8"),
    "crossq": ("sbx", "dense", "1:8@512"),
}
"""Agents, and their contenders where none are named. The first is what ratios are to."""
ONE_THREAD = dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment variables of a run that has one core."""


@dataclass(frozen=True)
class Train:
    """Train with every contender in turn and compare steps per second.

    All contenders of an agent have two hidden layers, batches of 256, one update per environment
    step, the same learning rate and exploration, and all cores. Evaluation and compilation are not
    timed. The defaults take about three hours; one environment with width 256 takes ten minutes.
    """

    agents: tuple[str, ...] = ("td3",)
    """td3, sac or crossq."""
    envs: tuple[str, ...] = ("HalfCheetah-v5", "Ant-v5")
    """Gymnasium ids."""
    widths: tuple[int, ...] = (256, 1024)
    """Widths of both hidden layers."""
    names: tuple[str, ...] = ()
    """Contenders: sb3 (Stable-Baselines3), sbx (its JAX version), rltools (C++, one thread), and
    sparl's dense and N:M; 1:8@512 has critics of 2x512 at 1:8 beside a dense actor. If not given:
    sb3 sbx dense 2:4 1:4 1:8, for crossq sbx dense 1:8@512. Ratios are to sb3, for crossq to
    sbx."""
    pairs: bool = False
    """Measure each contender as two runs side by side, too, with a core each."""
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
        for agent in self.agents:
            if agent not in NAMES:
                raise BadValue(f"no agent {agent!r} here: choose of {', '.join(NAMES)}")
        for name in self.names:
            if name not in PEERS:
                _check_own(name)
        for agent in self.agents:
            if NAMES[agent][0] not in self.contenders(agent):
                raise BadValue(
                    f"--names must have {NAMES[agent][0]}: every ratio of {agent} is to it"
                )
        if self.pairs and len(report.cores()) < 2:
            raise BadValue("--pairs needs two cores, and this process may use one")
        for env in self.envs:
            environment = envs.make(env)
            discrete = envs.spaces_of(environment).discrete
            environment.close()
            if discrete:
                raise BadValue(f"{env} has discrete actions; all agents here have continuous ones")

    def contenders(self, agent: str) -> tuple[str, ...]:
        """Gives the names that are measured of an agent: those asked for that have it."""
        names = self.names or NAMES[agent]
        return tuple(n for n in names if n not in PEERS or agent in PEERS[n].agents)


class Setting(NamedTuple):
    """What all contenders of a table train."""

    agent: str
    env: str
    width: int

    def __str__(self) -> str:
        return f"{self.agent} {self.env} 2x{self.width}"


def run(options: Train) -> None:
    """Measures and prints a table per setting; the JSON file is written anew after each."""
    options.check()
    refuse_missing(options)
    machine = report.machine()
    print(report.told(machine))
    settings = []
    product = itertools.product(options.agents, options.envs, options.widths)
    for setting in itertools.starmap(Setting, product):
        rows = compare(options, setting)
        settings.append(setting._asdict() | {"machine": machine, "rows": rows})
        print(setting)
        _print(rows, NAMES[setting.agent][0])
        report.write(options.json, settings if _several(options) else settings[0])


def compare(options: Train, setting: Setting) -> list[dict[str, Any]]:
    """Measures all contenders of a setting in turn.

    Returns:
        A row of figures for each contender, and with `pairs` another for two runs of it. Ratios
        are medians of those within a turn: to the peer and to our dense with as many runs, and of
        two runs to one of the peer.
    """
    names, counts = options.contenders(setting.agent), (1, 2) if options.pairs else (1,)
    contenders = list(itertools.product(names, counts))
    speeds: dict[tuple[str, int], list[Speed]] = {each: [] for each in contenders}
    turns = list(itertools.product(range(options.repetitions), contenders))
    for _, (name, runs) in report.in_turn(turns, lambda turn: f"{setting} {_label(*turn[1])}"):
        speeds[name, runs].append(measure(name, setting, options.steps, runs))
    per_second = {k: [s.steps_per_second for s in turns] for k, turns in speeds.items()}

    def ratio(contender: tuple[str, int], base: tuple[str, int]) -> dict[str, float]:
        if base not in per_second:
            return {}
        label = f"ratio_to_{'one_' if base[1] < contender[1] else ''}{base[0]}"
        return {label: timing.median_of(operator.truediv, per_second[contender], per_second[base])}

    peer = NAMES[setting.agent][0]
    return [
        {
            "name": name,
            "runs": runs,
            "steps_per_second": statistics.median(per_second[name, runs]),
            "core_us_per_step": statistics.median(s.core_us for s in speeds[name, runs]),
        }
        | ratio((name, runs), (peer, runs))
        | ratio((name, runs), ("dense", runs))
        | (ratio((name, runs), (peer, 1)) if runs > 1 else {})
        | {"all": per_second[name, runs]}
        for name, runs in contenders
    ]


def measure(name: str, setting: Setting, steps: int, runs: int) -> Speed:
    """Gives the speed of a contender, of so many runs side by side together.

    Two runs have a core each; one has all. Runs begin together and are equally long, so that they
    are side by side while they are timed, but for the end of the slower one.

    Raises:
        SparlError: A process failed; the message has the last line of its error.
    """
    if runs == 1:
        return in_a_process(name, setting, steps)
    with ThreadPoolExecutor(runs) as pool:
        cores = report.cores()[:runs]
        speeds = list(pool.map(lambda core: in_a_process(name, setting, steps, core), cores))
    return Speed(
        sum(speed.steps_per_second for speed in speeds),
        statistics.mean(speed.core_us for speed in speeds),
    )


def in_a_process(name: str, setting: Setting, steps: int, core: int | None = None) -> Speed:
    """Runs `contender` as a process, on one core if it is given, and gives what it prints.

    Raises:
        SparlError: The process failed; the message has the last line of its error.
    """
    # -P keeps this folder out of sys.path, where its modules could hide others.
    command = [sys.executable, "-P", contender.__file__, name, *map(str, (*setting, steps))]
    own = {} if core is None else ONE_THREAD
    ended = subprocess.run(
        command if core is None else [*command, str(core)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | own,
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise SparlError(f"{name} failed on {setting} (status {ended.returncode}): {last}")
    steps_per_second, core_us = ended.stdout.split()[-2:]
    return Speed(float(steps_per_second), float(core_us))


def refuse_missing(options: Train) -> None:
    """Refuses contenders that are not installed, instead of leaving them out silently.

    Raises:
        BadValue: Some are not installed; the message has the command that installs them.
    """
    names = dict.fromkeys(n for agent in options.agents for n in options.contenders(agent))
    missing = [n for n in names if n in PEERS and not importlib.util.find_spec(PEERS[n].module)]
    if missing:
        what = " ".join(dict.fromkeys(INSTALL.get(name, '"sparl[bench]"') for name in missing))
        others = " ".join(name for name in names if name not in missing)
        needed = {NAMES[agent][0] for agent in options.agents}
        way_out = f", or go without: --names {others}" if needed.isdisjoint(missing) else ""
        raise BadValue(
            f"{' and '.join(missing)} cannot be measured, because not installed: pip install "
            f"{what}{way_out}"
        )


def _check_own(name: str) -> None:
    """Raises `BadValue` where a name is none of sparl's contenders."""
    pattern, at, width = name.partition("@")
    if pattern != "dense" and ":" not in pattern:
        raise BadValue(
            f"no contender {name!r}: choose {', '.join(PEERS)}, dense or N:M, as 2:4; with critics "
            "of another width 1:8@512"
        )
    if at and (not width.isdecimal() or not int(width)):
        raise BadValue(f"{name!r} has no width of critics behind its @: 1:8@512 has 512")
    if pattern != "dense":
        NofM.parse(pattern)


def _several(options: Train) -> bool:
    return max(map(len, (options.agents, options.envs, options.widths))) > 1


def _label(name: str, runs: int) -> str:
    return name if runs == 1 else f"{name}, {runs} runs"


def _print(rows: list[dict[str, Any]], peer: str) -> None:
    """Prints the rows of a setting."""
    ratios = [f"ratio_to_{peer}", "ratio_to_dense", f"ratio_to_one_{peer}"]
    ratios = [ratio for ratio in ratios if any(ratio in row for row in rows)]
    report.table(
        ["", "steps/s", "core us/step", *(r.removeprefix("ratio_to_") for r in ratios)],
        [
            [
                _label(row["name"], row["runs"]),
                f"{row['steps_per_second']:.0f}",
                f"{row['core_us_per_step']:.0f}",
                *(f"{row[ratio]:.2f}" if ratio in row else "" for ratio in ratios),
            ]
            for row in rows
        ],
    )
