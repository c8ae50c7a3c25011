"""Students learn what a teacher does, from where they get themselves (DAgger, 1011.0686)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl import envs
from sparl.cli import main
from sparl.config import NotImported
from sparl.distillation import DAgger, configured
from sparl.distillation.dagger import forget_teachers
from sparl.errors import BadRun, BadValue
from sparl.networks import build
from sparl.policy import Policy
from sparl.storage import RunFolder
from sparl.training import snapshot

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
HALVES = "environments:Halves-v0"
"""The point, whose observations are a Dict."""
HEADS = {
    # Towards 0: an action of -0.5 is no push.
    POINT: ([[-5.0, 5.0]], [float(np.arctanh(-0.5))]),
    HALVES: ([[-5.0, 5.0]], [float(np.arctanh(-0.5))]),
    STEPS: ([[1.0, -1.0], [0.0, 0.0], [-1.0, 1.0]], [0.0, 0.05, 0.0]),
}
SHORT: dict[str, Any] = {
    "steps": 600,
    "hidden": (8,),
    "learning_starts": 60,
    "learning_rate": 3e-3,
    "batch_size": 32,
    "episodes": 5,
    "eval_every": 200,
    "eval_episodes": 2,
    "checkpoint_every": 100,
    "quiet": True,
}


def save_teacher(folder: Path, env: str, sign: float = 1.0) -> Path:
    """A policy that pushes the point to 0; away from it with another sign."""
    head, bias = HEADS[env]
    network = build(jax.random.key(0), (2, 2, len(bias)), squash=env != STEPS)
    numbers = ([[sign, 0.0], [-sign, 0.0]], [0.0, 0.0]), (head, bias)
    layers = [
        replace(layer, weight=jnp.float32(weight), bias=jnp.float32(b))
        for layer, (weight, b) in zip(network.layers, numbers, strict=True)
    ]
    spaces = envs.spaces_of(envs.make(env))
    Policy(network.with_layers(layers), spaces, np.zeros((1, 2), np.float32)).save(folder)
    return folder


@pytest.fixture(scope="module", params=[POINT, STEPS])
def taught(request, tmp_path_factory):
    """The environment, the teacher, and what a student of 8 neurons came to."""
    folder = tmp_path_factory.mktemp("taught")
    teacher = save_teacher(folder / "teacher", request.param)
    found = sparl.distill(teacher, env=request.param, out=folder / "student", **SHORT)
    return request.param, teacher, found


def test_a_student_keeps_its_teachers_return(taught):
    _, _, found = taught
    assert found.teacher_return > found.random_return
    assert found.chosen.kept > 0.9
    again = json.loads((Path(found.chosen.folder) / "distillation.json").read_text())
    assert again["chosen"]["kept"] == found.chosen.kept


def test_the_teacher_acts_first_and_then_the_student_makes_its_own_mistakes(taught):
    _, teacher, found = taught
    folder = RunFolder(found.chosen.folder)
    engine, _ = snapshot(folder)
    width = engine.columns.width
    rows = folder.checkpoints.newest_rows(folder.checkpoints.steps()[-1], 600, width)
    observation, action = rows[:, :2], rows[:, 2]
    expected = np.asarray(sparl.load(teacher).act(observation), np.float32).reshape(-1)
    by_teacher = np.isclose(action, expected, atol=1e-5)
    assert by_teacher[:60].all()
    assert not by_teacher[60:].all()


def test_a_student_of_both_is_a_run_as_any_other(taught, tmp_path):
    _, _, found = taught
    run = sparl.load(found.chosen.folder)
    assert run.export(dtype="int8", out=tmp_path / "c", episodes=0)["bytes"] < 200
    assert run.evaluate(episodes=2).mean_return < 0


def test_a_student_needs_its_teacher_to_learn_alone(taught, tmp_path):
    """It is inspected, exported and played in another process, on a machine without the teacher."""
    _, teacher, found = taught
    student, gone = Path(found.chosen.folder), tmp_path / "gone"
    forget_teachers()
    teacher.rename(gone)
    try:
        assert main(["inspect", str(student)]) == 0
        assert main(["export", str(student), "--out", str(tmp_path / "c"), "--episodes", "0"]) == 0
        assert main(["report", str(student), "--out", str(tmp_path / "report.html")]) == 0
    finally:
        gone.rename(teacher)


@pytest.mark.parametrize(
    "other",
    [
        *({"steps": 700}, {"seed": 5}, {"method": sparl.RNM("1:2")}, {"max_episode_steps": 9}),
        {"normalize_observations": True},
    ],
)
def test_a_student_of_other_options_is_not_taken_for_the_one_asked_for(taught, other):
    env, teacher, found = taught
    (name,) = other
    with pytest.raises(BadRun, match=rf"holds a student of other options \(.*{name}"):
        sparl.distill(teacher, env=env, out=found.chosen.folder, **SHORT | other)


def test_a_student_of_what_its_teacher_was_is_not_taken_for_one_of_what_it_is(tmp_path):
    teacher, student = save_teacher(tmp_path / "teacher", POINT), tmp_path / "student"
    assert sparl.distill(teacher, env=POINT, out=student, **SHORT).chosen.kept > 0.9
    # As it was, it is left as it ended.
    assert sparl.distill(teacher, env=POINT, out=student, **SHORT).chosen.kept > 0.9
    save_teacher(teacher, POINT, sign=0.5)
    with pytest.raises(BadRun, match=r"teacher has learned on since it began to teach"):
        sparl.resume(student, steps=SHORT["steps"] + 100)
    with pytest.raises(BadRun, match=r"what .*teacher was before it learned on: choose another"):
        sparl.distill(teacher, env=POINT, out=student, **SHORT)


def test_a_student_is_no_code_of_others_and_its_size_is_beside_the_dense_one(taught):
    _, _, found = taught
    config = json.loads((Path(found.chosen.folder) / "config.json").read_text())
    assert config["agent"]["name"] == "dagger"
    assert not isinstance(RunFolder(Path(found.chosen.folder)).record().agent, NotImported)


def test_a_sparse_student_that_was_stopped_ends_with_the_same_bytes(tmp_path):
    teacher = save_teacher(tmp_path / "teacher", POINT)
    options = SHORT | {"steps": 200, "hidden": (16, 16)}
    method = sparl.RNM("2:4", interval=15)
    sparl.distill(teacher, method, env=POINT, out=tmp_path / "whole", **options)
    stop = [StopAt(checkpoint=1)]
    with pytest.raises(Stopped):
        sparl.distill(teacher, method, env=POINT, out=tmp_path / "run", callbacks=stop, **options)
    # The same command goes on with it.
    sparl.distill(teacher, method, env=POINT, out=tmp_path / "run", **options)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_student_may_see_less_than_its_teacher(tmp_path):
    """Of a simulator, a teacher may see what no sensor of the student's measures."""
    teacher = save_teacher(tmp_path / "teacher", HALVES)
    found = sparl.distill(teacher, env=HALVES, actor_obs=("at",), out=tmp_path / "student", **SHORT)
    assert found.chosen.kept > 0.9
    layers = sparl.load(found.chosen.folder).policy.narrowed().network.layers
    assert layers[0].in_features == 1


def test_a_bare_policy_says_how_many_frames_it_sees(tmp_path):
    out, taught = tmp_path / "run", {"steps": 40, "eval_every": 40, "eval_episodes": 1}
    teacher = sparl.DQN(hidden=(4,), learning_starts=20, batch_size=8)
    sparl.train(STEPS, teacher, out=out, frame_stack=2, quiet=True, **taught)
    run, _ = configured(out / "policy", STEPS, {})
    assert run.frame_stack == 2 == RunFolder(out).read_config().run.frame_stack
    with pytest.raises(BadValue, match=r"wrapped in: wrappers, inputs, frame_stack"):
        sparl.distill(out / "policy", env=STEPS, out=tmp_path / "s", **SHORT | {"frame_stack": 3})


def test_the_smallest_student_that_keeps_enough_is_looked_for(tmp_path):
    teacher = save_teacher(tmp_path / "teacher", POINT)
    options = SHORT | {"hidden": (4,), "until": 0.8}
    found = sparl.distill(teacher, env=POINT, out=tmp_path / "students", **options)
    widths = [student.hidden for student in found.students]
    assert widths[:2] in ([(4,), (2,)], [(4,), (8,)])
    enough = [student for student in found.students if student.kept >= 0.8]
    assert found.chosen == min(enough, key=lambda student: student.bytes)
    summary = RunFolder(found.chosen.folder).read_summary()
    assert summary is not None and summary["steps"] < 600, "it ends where it is good enough"


def test_the_command_says_what_was_kept(tmp_path, capsys):
    teacher = save_teacher(tmp_path / "teacher", STEPS)
    words = ["--env", STEPS, "--hidden", "4", "--steps", "100", "--learning-starts", "40"]
    words += ["--batch-size", "8", "--episodes", "2", "--progress", "off", "--method", "rnm"]
    out = tmp_path / "student"
    assert main(["distill", str(teacher), *words, "--pattern", "2:4", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "teacher" in told and "random actions" in told and "student 4" in told
    recorded = RunFolder(out).read_config()
    assert isinstance(recorded.agent, DAgger) and recorded.agent.teacher == str(teacher)
    assert recorded.method.pattern == "2:4"


@pytest.mark.parametrize(
    "words, says",
    [
        (["--agent", "dqn"], "learns by dagger, with its teacher's options: leave --agent out"),
        (["--preset=CartPole-v1"], "leave --preset out"),
        (["--config", "run.yaml"], "leave --config out"),
        (["--seeds", "0-3"], "seeds is given: sparl sweep trains students with several seeds"),
        (["--vs", "dense"], "vs is given"),
    ],
)
def test_options_that_are_no_students_are_refused(words, says, tmp_path, capsys):
    teacher = save_teacher(tmp_path / "teacher", STEPS)
    out = tmp_path / "student"
    assert main(["distill", str(teacher), "--env", STEPS, "--out", str(out), *words]) == 1
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_the_options_of_a_student_are_a_file_that_trains_it(tmp_path, capsys):
    teacher = save_teacher(tmp_path / "teacher", STEPS)
    assert main(["distill", str(teacher), "--env", STEPS, "--hidden", "4", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert f"teacher: {teacher}" in printed and "hidden: [4]" in printed


def test_a_teacher_that_has_learned_on_is_asked_anew(tmp_path):
    """In one process: another policy lies at the same place."""
    place = tmp_path / "teacher"
    student = DAgger(teacher=str(save_teacher(place, STEPS)))
    observation = np.array([[0.5, 0.0]], np.float32)
    before = student.for_actions("discrete").labels(observation)
    save_teacher(place, STEPS, sign=-1.0)
    after = student.for_actions("discrete").labels(observation)
    assert before.item() == 0 and after.item() == 2


@pytest.mark.parametrize(
    "options, says",
    [
        ({"env": None}, "does not know its environment"),
        ({"env": STEPS}, "and 1 actions; .* and 3 choices"),
        ({"env": "environments:Counting-v0"}, "2 numbers to see .* 3 numbers to see"),
        ({"env": POINT, "until": 1.5}, "until is 1.5"),
        ({"env": POINT, "episodes": 0}, "episodes is 0"),
        ({"env": POINT, "offline": True, "replay": "x.npz"}, "x.npz"),
    ],
)
def test_what_cannot_be_is_refused(options, says, tmp_path):
    teacher = save_teacher(tmp_path / "teacher", POINT)
    with pytest.raises(sparl.SparlError, match=says):
        sparl.distill(teacher, out=tmp_path / "student", **SHORT | options)
    assert not (tmp_path / "student").exists()


def test_a_teacher_that_is_no_better_than_chance_teaches_nothing(tmp_path):
    teacher = save_teacher(tmp_path / "teacher", POINT, sign=-1.0)
    with pytest.raises(BadValue, match="there is nothing to learn from it"):
        sparl.distill(teacher, env=POINT, out=tmp_path / "student", **SHORT)


def test_a_student_without_a_teacher_is_refused(tmp_path):
    with pytest.raises(BadValue, match="teacher is not given"):
        sparl.train(POINT, DAgger(), out=tmp_path / "run", steps=10, quiet=True)
    with pytest.raises(BadRun, match="nowhere"):
        sparl.distill(tmp_path / "nowhere", env=POINT)
