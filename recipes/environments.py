"""Environments of other packages, from the first step to the device.

    python recipes/environments.py                 # all that are installed
    python recipes/environments.py fetch 2048

Each is checked (`sparl check`), trained in for 5,000 steps, evaluated, and exported as C, which is
tested. What each needs besides sparl stands beside it below. One that is not installed, or cannot
be trained in, is named in the table with its reason. The table goes to `results/environments/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[1] / "results" / "environments" / "environments.csv"
STEPS = ("--steps", "5000", "--learning-starts", "1000", "--eval-every", "2500")
SMALL = ("--eval-episodes", "3", "--hidden", "64", "64", "--quiet")
COLUMNS = (
    "environment",
    "package",
    "observations",
    "actions",
    "step_us",
    "random",
    "trained",
    "outcome",
)


@dataclass(frozen=True)
class Case:
    """An environment, and what its command line says besides."""

    name: str
    env: str
    package: str
    options: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    """Options that `sparl check` has, too."""


CASES = (
    Case("fetch", "gymnasium_robotics:FetchReachDense-v4", "gymnasium-robotics"),
    Case("walker-stand", "shimmy:dm_control/walker-stand-v0", "shimmy, dm_control"),
    Case(
        *("highway", "highway-v0", "highway-env", ("--max-episode-steps", "40")),
        checked=("--env-kwargs", 'config={"action": {"type": "ContinuousAction"}}'),
    ),
    Case(
        "2048",
        "gymnasium_2048:gymnasium_2048/TwentyFortyEight-v0",
        "gymnasium-2048",
        ("--agent", "dqn"),
    ),
    Case("motor", "gym_electric_motor:Cont-CC-PermExDc-v0", "gym-electric-motor"),
    Case("panda", "panda_gym:PandaReachDense-v3", "panda-gym"),
    Case("quadrotor", "PyFlyt.gym_envs:PyFlyt/QuadX-Hover-v4", "PyFlyt"),
    Case(
        *("go1", "Go1JoystickFlatTerrain-v1", "envpool"),
        (
            *("--vectorization", "envpool", "--envs", "4", "--eval-max-steps", "500"),
            *("--actor-obs", "state", "--critic-obs", "privileged_state"),
        ),
    ),
)


def sparl(*arguments: str) -> Any:
    """Runs a command; gives the JSON that it prints, if any. Raises `CalledProcessError`."""
    command = [sys.executable, "-m", "sparl", *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Simulators print, too.
    return (
        json.loads(printed[printed.index("{\n") : printed.rindex("}") + 1])
        if "{\n" in printed
        else None
    )


def row(case: Case, folder: Path) -> dict[str, Any]:
    """The row of one environment."""
    found: dict[str, Any] = {"environment": case.env, "package": case.package}
    run = str(folder / case.name)
    try:
        if "envpool" not in case.options:
            checked = sparl("check", case.env, *case.checked, "--steps", "300", "--json")
            found |= {
                "observations": checked["observation_size"],
                "actions": f"{checked['action_size']} {checked['actions']}",
                "step_us": round(1e6 * checked["step_seconds"]),
                "random": rounded(checked["random_return"]),
            }
        sparl("train", case.env, *case.checked, *case.options, *STEPS, *SMALL, "--out", run)
        evaluated = sparl("eval", run, "--episodes", "3", "--json")
        exported = sparl("export", run, "--json")
        spaces = json.loads((Path(run) / "config.json").read_text())["spaces"]
        actions = len(spaces["low"]) or spaces["choices"]
        kind = "discrete" if spaces["choices"] else "continuous"
        size = 1
        for axis in spaces["observation_shape"]:
            size *= axis
        outcome = f"exported: {exported['bytes']} bytes of C, self-test passed"
        return found | {
            "observations": size,
            "actions": f"{actions} {kind}",
            "trained": rounded(evaluated["mean_return"]),
            "outcome": outcome,
        }
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "?").strip().splitlines()[-1]
        return found | {"outcome": f"{error.cmd[3]}: {last}"}


def rounded(value: float | None) -> str:
    """A return as the table shows it."""
    return "" if value is None else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"Of {', '.join(case.name for case in CASES)}.")
    names = parser.parse_args().names
    rows: dict[str, Any] = {}
    if OUT.exists():
        with OUT.open() as file:
            rows = {row["environment"]: row for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if not names or case.name in names:
                rows[case.env] = row(case, Path(folder))
                print(rows[case.env], flush=True)
                write([rows[case.env] for case in CASES if case.env in rows])


def write(rows: list[dict[str, Any]]) -> None:
    """Writes the table."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
