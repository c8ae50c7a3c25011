"""Runs of students, judged beside their teacher and beside chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import envs, launch, validation
from sparl.config import RunConfig, Show
from sparl.distillation.dagger import DAgger, digest_of, forget_teachers
from sparl.errors import BadRun, BadValue
from sparl.methods import Method
from sparl.networks import accounting
from sparl.policy import Policy
from sparl.storage import RunFolder, files
from sparl.storage.run_folder import RecordedConfig
from sparl.training import Callback, Evaluator, load_policy, return_text

REPORT_FILE = "distillation.json"
"""In the folder of students: what they came to."""
LARGEST_FACTOR = 8
"""How much wider than it was asked for a student may become, to keep the share of return."""
ANOTHER_SEED = 1
"""Added to a run's: the episodes that decide are not those that a run is stopped by."""
Act = Callable[[NDArray[np.float32]], NDArray[Any]]
"""[batch, obs] to actions, as of `Policy.act`."""


@dataclass(frozen=True)
class Student:
    """A student at its end."""

    folder: str
    hidden: tuple[int, ...]
    mean_return: float
    kept: float
    """(its return - that of chance) / (the teacher's - that of chance)."""
    weights: int
    bytes: int
    """Of the policy in float32, indices included."""


@dataclass(frozen=True)
class Distilled:
    """What `distill` came to; mean returns over the same episodes."""

    teacher_return: float
    random_return: float
    teacher_weights: int
    teacher_bytes: int
    episodes: int
    students: tuple[Student, ...]
    """In the order in which they were trained."""
    chosen: Student
    """The smallest one that keeps the share of return that was asked for, or the only one."""

    def as_dict(self) -> dict[str, Any]:
        """All figures in a form that can be written as JSON."""
        return asdict(self)


def train_students(
    run: RunConfig,
    agent: DAgger,
    method: Method,
    *,
    until: float | None = None,
    episodes: int = 20,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
) -> Distilled:
    """Trains a student, or with `until` students of several widths; see `sparl.distill`."""
    validation.at_least(1, episodes=episodes)
    forget_teachers()  # one may have been trained anew in its folder
    folder = Path(out) if out is not None else launch.default_folder(run, method)
    judge = _Judge(run, agent, episodes)
    agent = replace(agent, teacher_sha256=judge.teacher_sha256)
    if until is not None:
        validation.fractions(until=until)
        target = judge.random_return + until * (judge.teacher_return - judge.random_return)
        run = replace(run, stop_at_return=target)

    def train(hidden: tuple[int, ...], folder: Path) -> Student:
        student = replace(agent, hidden=hidden)
        _train(run, student, method, folder, callbacks, quiet, progress)
        return judge.student(hidden, folder)

    if until is None:
        tried = [train(agent.hidden, folder)]
    else:
        tried = _search(agent.hidden, until, folder, train)
    keeping = [student for student in tried if until is None or student.kept >= until]
    if keeping:
        chosen = min(keeping, key=lambda student: student.bytes)
    else:
        chosen = max(tried, key=lambda student: student.kept)
    distilled = judge.distilled(tuple(tried), chosen)
    files.write_json(folder / REPORT_FILE, distilled.as_dict())
    if not keeping:
        raise BadRun(
            f"no student keeps {until:g} of the teacher's return; the best, in {chosen.folder}, "
            f"keeps {chosen.kept:.2f}. More steps may help, or a larger hidden"
        )
    return distilled


def _search(
    hidden: tuple[int, ...],
    until: float,
    folder: Path,
    train: Callable[[tuple[int, ...], Path], Student],
) -> list[Student]:
    """Students of widths that are halved while they keep enough, or else doubled until they do."""
    tried: dict[int, Student] = {}  # by the power of 2 that widths are multiplied by
    power = 0
    while power not in tried:
        widths = tuple(max(1, round(width * 2.0**power)) for width in hidden)
        tried[power] = train(widths, folder / "-".join(map(str, widths)))
        keeps = tried[power].kept >= until
        if keeps and max(widths) > 1:
            power -= 1
        elif not keeps and 2 ** (power + 1) <= LARGEST_FACTOR:
            power += 1
    return list(tried.values())


def _train(
    run: RunConfig,
    agent: DAgger,
    method: Method,
    folder: Path,
    callbacks: Sequence[Callback],
    quiet: bool,
    progress: Show | None,
) -> None:
    """Trains a student in a folder, or goes on there, or leaves it as it ended before."""
    known = RunFolder(folder)
    if (folder / "config.json").exists():
        there = known.read_config()
        others = _others(there, (run.recorded(), agent, method))
        if "teacher_sha256" in others:
            raise BadRun(
                f"{folder} holds a student of what {agent.teacher} was before it learned on: "
                "choose another folder"
            )
        if others:
            raise BadRun(
                f"{folder} holds a student of other options ({', '.join(others)}): choose another "
                "folder"
            )
        if known.read_summary() is None:
            told = {"callbacks": callbacks, "quiet": quiet, "progress": progress}
            with launch.resumed(folder, {}, **told) as trainer:
                trainer.run()
        return
    known.refuse_if_taken()
    with launch.trainer(known, run, agent, method, callbacks, quiet, progress) as trainer:
        launch.begin(trainer)


def _others(there: RecordedConfig, asked: tuple[RunConfig, DAgger, Method]) -> list[str]:
    """The options in which a student that is there is another one than that asked for."""
    agent = there.agent
    if type(agent) is not DAgger or type(there.method) is not type(asked[2]):
        return ["method"]
    # A run records what its agent is for the actions of its environment. Until 0.2 it did not know
    # what exactly it imitated.
    known = agent.teacher_sha256 or asked[1].teacher_sha256
    same = replace(agent, outputs=asked[1].outputs, teacher_sha256=known)
    before = there.run, same, there.method
    pairs = (
        (one, other, f.name) for one, other in zip(before, asked, strict=True) for f in fields(one)
    )
    return [name for one, other, name in pairs if getattr(one, name) != getattr(other, name)]


class _Judge:
    """Plays the same episodes with teacher, students and chance."""

    def __init__(self, run: RunConfig, agent: DAgger, episodes: int) -> None:
        self._run, self._episodes = run, episodes
        self._teacher = agent.policy_of_teacher
        self.teacher_sha256 = digest_of(self._teacher)
        spaces = self._teacher.spaces
        self._refuse_other_spaces(agent.teacher)
        rng = np.random.default_rng(run.seed)

        def chance(observation: NDArray[np.float32]) -> NDArray[Any]:
            return np.stack([np.asarray(spaces.random(rng)) for _ in observation])

        self.teacher_return = self._mean_return(self._teacher.act)
        self.random_return = self._mean_return(chance)
        if self.teacher_return <= self.random_return:
            raise BadValue(
                f"teacher is {agent.teacher}: it earns {return_text(self.teacher_return)}, and "
                f"random actions {return_text(self.random_return)}: there is nothing to learn from "
                "it"
            )

    def _refuse_other_spaces(self, teacher: str) -> None:
        with closing(self._run.maker()()) as env:
            found, expected = envs.spaces_of(env, self._run.round_actions), self._teacher.spaces
        told = [
            f"{spaces.observation_size} numbers to see and {spaces.action_size} "
            + ("choices" if spaces.discrete else "actions")
            for spaces in (expected, found)
        ]
        if told[0] != told[1]:
            raise BadValue(
                f"teacher is {teacher}, with {told[0]}; {self._run.env} has {told[1]}. Name the "
                "environment that it learned in, and what that was wrapped in: wrappers, inputs, "
                "frame_stack"
            )

    def _mean_return(self, act: Act) -> float:
        """In environments of its own, which are closed again: a simulator may exist once."""
        play = Evaluator(
            self._run, self._teacher.spaces, self._episodes, self._run.seed + ANOTHER_SEED
        )
        try:
            return play(act).mean_return
        finally:
            play.close()

    def student(self, hidden: tuple[int, ...], folder: Path) -> Student:
        """The figures of a student whose run has ended."""
        policy = load_policy(folder)
        earned = self._mean_return(policy.act)
        kept = (earned - self.random_return) / (self.teacher_return - self.random_return)
        return Student(str(folder), hidden, earned, kept, *_sizes(policy))

    def distilled(self, students: tuple[Student, ...], chosen: Student) -> Distilled:
        """All figures."""
        returns = (self.teacher_return, self.random_return)
        return Distilled(*returns, *_sizes(self._teacher), self._episodes, students, chosen)


def _sizes(policy: Policy) -> tuple[int, int]:
    """Weights and bytes of a policy."""
    report = accounting.report({"policy": policy.network})["networks"]["policy"]
    return report["weights_kept"], report["bytes"]
