"""`sparl distill`: a small student of a trained policy, in the environment of its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sparl import launch
from sparl.config import RunConfig, Show
from sparl.distillation.dagger import DAgger
from sparl.distillation.students import Distilled, train_students
from sparl.errors import BadValue
from sparl.methods import Method
from sparl.storage import RunFolder
from sparl.training import Callback, load_policy

STEPS = 50_000
"""Environment steps of a student at most, if not given."""
NAMED = ("env", "env_spec", "env_folder")
"""Options of a run that name its environment."""
OF_ENVIRONMENT = (
    *(*NAMED, "env_kwargs", "wrappers", "max_episode_steps"),
    *("frame_stack", "round_actions", "eval_env", "eval_max_steps", "nonfinite"),
    *("noise_inputs", "inputs", "actor_obs"),
)
"""Options of a teacher's run that say what it sees and does: its student's are the same."""


def distill(
    teacher: str | Path,
    method: Method | str = "dense",
    *,
    env: Any = None,
    steps: int = STEPS,
    until: float | None = None,
    episodes: int = 20,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
    trust: bool = False,
    **options: Any,
) -> Distilled:
    """Trains a small student of a trained policy, by DAgger (1011.0686).

    The student's run is a run as any other, in `out`. With `until` there are several, in folders of
    `out`: widths are halved while the student keeps enough, or else doubled until it does.

    Args:
        teacher: A run folder, or the folder of a saved policy.
        method: The student's, as for `train`.
        env: As for `train`; the one of the teacher's run if not given.
        steps: Environment steps of a student at most.
        until: Share of the teacher's return, above that of random actions, at which a student is
            good enough; its run ends there.
        callbacks: As for `train`, and so `quiet` and `progress`.
        episodes: Over which teacher, students and random actions are compared.
        options: Of `sparl.distillation.DAgger`, such as `hidden`, and of `sparl.RunConfig`.
        trust: As for `Run`.

    Returns:
        The figures, also in `distillation.json`; `sparl.load(found.chosen.folder)` is the run of
        the student that was chosen.

    Raises:
        BadRun: No student keeps enough.
        SparlError: As `train`.
    """
    run, agent = configured(Path(teacher), env, {"steps": steps, **options}, trust)
    return train_students(
        run,
        agent,
        launch.method_of(method),
        until=until,
        episodes=episodes,
        out=out,
        callbacks=callbacks,
        quiet=quiet,
        progress=progress,
    )


def configured(
    teacher: Path, env: Any, options: dict[str, Any], trust: bool = False
) -> tuple[RunConfig, DAgger]:
    """The options of a student's run, and the student.

    Args:
        env: The teacher's if None; otherwise as for `sparl.train`.
        options: Of `RunConfig` and of `DAgger`.

    Raises:
        BadValue: The teacher is a policy, which does not say what environment it is for.
    """
    of_agent = {f.name for f in fields(DAgger)} & options.keys()
    agent = DAgger(teacher=str(teacher.absolute()), **{name: options[name] for name in of_agent})
    taken = _environment_of(teacher, trust)
    taken |= {name: value for name, value in options.items() if name not in of_agent}
    if env is not None:
        return launch.configured(env, {k: v for k, v in taken.items() if k not in NAMED}), agent
    if "env" not in taken:
        raise BadValue(f"{teacher} is a policy, which does not know its environment: name env")
    return RunConfig(**taken), agent


def _environment_of(teacher: Path, trust: bool = False) -> dict[str, Any]:
    """The options of a teacher's run that its student's has, too; those that a policy knows.

    Raises:
        BadRun: It is neither a run nor a policy.
    """
    found: dict[str, Any] = {}
    if not (teacher / "policy.json").exists():
        run = RunFolder.open(teacher, trust).read_config().run
        found = {name: getattr(run, name) for name in OF_ENVIRONMENT}
    policy = load_policy(teacher)
    found |= {"frame_stack": policy.spaces.frames, "round_actions": policy.spaces.rounds}
    if policy.normalization is not None:
        found["normalize_observations"] = True
    return found
