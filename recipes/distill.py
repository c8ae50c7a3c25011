"""Students of agents that others trained: how small a network keeps 95 % of the return.

    git clone https://github.com/DLR-RM/rl-trained-agents
    python recipes/distill.py --agents rl-trained-agents

Teachers are agents of the RL Zoo (MIT), imported from Stable-Baselines3's files. A student's widths
are halved while it keeps 95 % of its teacher's return above that of random actions, over the same
episodes. The smallest that does is exported as int8 C: its bytes, its return in the environment,
and its cost on an emulated Cortex-M4F. Results go to `results/distillation/`. Stop it, and the same
command goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any, NamedTuple

from drawing import students
from figures import make

import sparl
from sparl.bench import device

ROOT = Path(__file__).resolve().parent.parent
UNTIL = 0.95


class Teacher(NamedTuple):
    """An agent of the Zoo."""

    file: str
    """Its zip, anywhere below the folder of agents."""
    env: str
    """Today's version of its environment."""
    hidden: tuple[int, int]
    """Widths that the search begins with."""
    wrappers: tuple[str, ...] = ()
    """What its environment was in."""
    normalized: bool = False
    """Whether it was trained with VecNormalize."""


TEACHERS = (
    Teacher("ppo*CartPole-v1.zip", "CartPole-v1", (8, 8)),
    Teacher("ppo*LunarLander-v2.zip", "LunarLander-v3", (16, 16)),
    Teacher(
        "ppo*Walker2d-v3.zip",
        "Walker2d-v5",
        (32, 32),
        (f"{ROOT / 'recipes' / 'time_feature.py'}:TimeFeature",),
        normalized=True,
    ),
    Teacher("sac*HalfCheetah-v3.zip", "HalfCheetah-v5", (32, 32)),
)
COLUMNS = (
    *("env", "teacher", "teacher_return", "random_return", "teacher_weights", "teacher_bytes"),
    *("hidden", "kept", "return", "weights", "bytes", "chosen"),
    *("int8_bytes", "int8_return", "flash", "ram", "instructions"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=Path, required=True, help="folder of the Zoo's agents")
    parser.add_argument("--only", nargs="+", help="environments; all if not given")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "distillation")
    asked = parser.parse_args()
    for teacher in TEACHERS:
        if asked.only is None or teacher.env in asked.only:
            record(teacher, rows(teacher, asked.agents, asked.runs / teacher.env), asked.results)
    make(students.outputs(asked.results))
    print((asked.results / "table.md").read_text())


def rows(teacher: Teacher, agents: Path, runs: Path) -> list[dict[str, Any]]:
    """Imports, distills and exports; gives a row for each student."""
    file = next(iter(sorted(agents.rglob(teacher.file))), None)
    if file is None:
        raise SystemExit(f"{agents} has no {teacher.file}")
    imported = runs / "teacher"
    if not imported.exists():
        statistics = f"{file.stem}_vecnormalize.pkl"
        given: dict[str, Any] = {"wrappers": teacher.wrappers}
        if teacher.normalized:
            given["vecnormalize"] = next(agents.rglob(statistics))
        sparl.import_sb3(file, teacher.env, steps=2_000, out=imported, **given)
    found = sparl.distill(
        imported,
        hidden=teacher.hidden,
        until=UNTIL,
        steps=200_000,
        eval_episodes=20,
        episodes=50,
        out=runs / "students",
    )
    exported = sparl.export(found.chosen.folder, dtype="int8", episodes=50)
    cost: dict[str, Any] = {}
    if not device.missing(device.CORTEX):
        cost = device.cortex_m4(Path(found.chosen.folder) / "export" / "c-int8")
    return [
        {
            "env": teacher.env,
            "teacher": file.stem,
            "teacher_return": found.teacher_return,
            "random_return": found.random_return,
            "teacher_weights": found.teacher_weights,
            "teacher_bytes": found.teacher_bytes,
            "hidden": " ".join(map(str, student.hidden)),
            "kept": student.kept,
            "return": student.mean_return,
            "weights": student.weights,
            "bytes": student.bytes,
            "chosen": int(student == found.chosen),
        }
        | (
            {
                "int8_bytes": exported["bytes"],
                "int8_return": exported["returns"]["exported"],
                **{name: cost.get(name, "") for name in ("flash", "ram", "instructions")},
            }
            if student == found.chosen
            else {}
        )
        for student in found.students
    ]


def record(teacher: Teacher, found: list[dict[str, Any]], results: Path) -> None:
    """Puts rows in the place of the teacher's older ones."""
    path = results / students.STUDENTS
    older: list[dict[str, Any]] = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            older = [row for row in csv.DictReader(file) if row["env"] != teacher.env]
    results.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*older, *found])


if __name__ == "__main__":
    main()
