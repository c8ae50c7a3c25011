"""Callbacks that end a run, the best policy that it keeps, and what may change when it goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN, TINY_DQN
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl.cli import main
from sparl.envs import Spaces
from sparl.errors import BadFile, BadRun, BadValue
from sparl.layouts import Dense
from sparl.networks import plain
from sparl.storage import RunFolder
from sparl.training import Best, Evaluation, Host, LoopState

STEPS = "environments:Steps-v0"
METHOD = sparl.RNM("2:4", interval=15)
AGENT = replace(TINY_DQN, learning_rate=0.01)
OLD_RUN = Path(__file__).parents[1] / "helpers" / "runs_0_1" / "td3-rnm"
OBSERVATIONS = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)


def train(out: Path, *callbacks: sparl.Callback, **options: Any) -> sparl.Run:
    return sparl.train(STEPS, AGENT, METHOD, out=out, callbacks=callbacks, **OFTEN | options)


def summary(run: sparl.Run) -> dict[str, Any]:
    return json.loads((run.folder / "summary.json").read_text())


def config(run: sparl.Run) -> dict[str, Any]:
    return json.loads((run.folder / "config.json").read_text())


class Watch(sparl.Callback):
    """Remembers the policy and the return of each evaluation, and all steps; ends at one."""

    def __init__(self, last: int = 0) -> None:
        self.last, self.steps, self.actions, self.returns = last, [], {}, {}

    def on_start(self, trainer):
        self.trainer = trainer

    def on_step(self, step):
        assert self.trainer.state.step == step
        self.steps.append(step)
        return step != self.last

    def on_evaluation(self, step, evaluation):
        self.actions[step] = self.trainer.policy().predict(OBSERVATIONS)[0]
        self.returns[step] = evaluation.mean_return


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that makes all its steps, and what was seen of it."""
    watch = Watch()
    run = train(tmp_path_factory.mktemp("whole") / "run", watch)
    return run, watch, outcome(run.folder)


def test_a_callback_sees_every_step_and_the_trainer(whole):
    run, watch, _ = whole
    assert watch.steps == list(range(1, 201))
    assert watch.trainer.config.steps == 200
    assert watch.trainer.folder.path == run.folder
    assert summary(run)["ended"] == "steps"


def test_the_best_policy_is_that_of_the_best_evaluation(whole, capsys):
    run, watch, _ = whole
    step = max(watch.returns, key=lambda step: watch.returns[step])
    best, figures = run.best, summary(run)
    assert len(set(watch.returns.values())) > 1
    assert figures["policy_best_step"] == step
    assert figures["policy_best_return"] == figures["best_return"] == watch.returns[step]
    np.testing.assert_array_equal(best.predict(OBSERVATIONS)[0], watch.actions[step])
    np.testing.assert_array_equal(run.predict(OBSERVATIONS)[0], watch.actions[200])
    assert repr(best) == f"Run({str(run.folder)!r}, which='best')"
    found = {}
    for which in ("best", "final"):
        words = ["eval", str(run.folder), "--which", which, "--episodes", "2", "--json"]
        assert main(words) == 0
        found[which] = json.loads(capsys.readouterr().out)["mean_return"]
    assert found == {"best": watch.returns[step], "final": watch.returns[200]}


def test_exports_and_reports_take_the_policy_that_is_asked_for(whole, tmp_path, capsys):
    run, _, _ = whole
    exported = tmp_path / "export"
    words = ["export", str(run.folder), "--which", "best", "--out", str(exported)]
    assert main(words) == 0
    golden = run.best.policy.golden
    assert not np.array_equal(golden, run.policy.golden)
    assert f"{golden[0, 0]:.6g}"[:6] in (exported / "test" / "policy_test.c").read_text()
    page = run.best.report(tmp_path / "report.html", video=False)
    assert "policy-best/policy.json" in page.read_text()
    capsys.readouterr()


ENDS = {
    "in an episode": (lambda: Watch(70), "Watch.on_step gave False", 80),
    "by an evaluation": (
        lambda: sparl.StopOnReturn(-1000.0, evaluations=2),
        "the mean return of 2 evaluations reached -1000 at step 100",
        100,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_run_that_a_callback_ended_is_whole_and_goes_on_with_the_same_bytes(end, whole, tmp_path):
    make, reason, step = ENDS[end]
    run = train(tmp_path / "run", make())
    figures = summary(run)
    assert (figures["ended"], figures["steps"]) == (reason, step)
    assert figures["evals"][-1]["step"] == step  # the policy that was saved was evaluated
    assert RunFolder(run.folder).checkpoints.steps()[-1] == step
    assert sparl.load(run.folder / "policy").predict(OBSERVATIONS)[0].shape == (50,)
    assert (run.folder / "policy-best" / "policy.json").exists()
    sparl.compare(run.folder)  # refuses runs that are not finished
    run.resume(quiet=True)
    assert outcome(run.folder) == whole[2]
    (change,) = config(run)["changes"]
    assert change == {"step": step, "changed": {}, "ended": reason}


def test_a_run_killed_after_its_last_checkpoint_ends_as_one_that_was_not(whole, tmp_path):
    """`stop_at_return` is of the run: whoever resumes it need not say it again."""
    expected = train(tmp_path / "expected", stop_at_return=-1000.0)
    assert summary(expected)["steps"] == 60
    with pytest.raises(Stopped):
        train(tmp_path / "run", StopAt(checkpoint=2), stop_at_return=-1000.0)
    run = sparl.Run(tmp_path / "run")
    for path in (run.folder / "policy", run.folder / "policy-best"):
        assert not path.exists()
    assert run.best.policy.predict(OBSERVATIONS)[0].shape == (50,)  # of the checkpoint
    run.resume(quiet=True)
    assert outcome(run.folder) == outcome(expected.folder)
    assert summary(run)["ended"] == summary(expected)["ended"]
    with pytest.raises(Stopped):
        run.resume(stop_at_return="never", callbacks=[StopAt(checkpoint=1)], quiet=True)
    run.resume(quiet=True)
    assert outcome(run.folder) == whole[2]
    assert config(run)["changes"][0]["changed"] == {"stop_at_return": [-1000.0, None]}


class Fails(sparl.Callback):
    """Raises an error the third time that a hook is called, and counts its calls."""

    def __init__(self, hook: str) -> None:
        self.calls = 0
        setattr(self, hook, self._call)

    def _call(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == 3:
            raise FileNotFoundError("notes.csv")


@pytest.mark.parametrize("hook", ["episode", "evaluation", "log", "checkpoint", "restructure"])
def test_an_error_of_a_callback_is_raised_as_it_is_and_nothing_is_lost(
    hook, whole, tmp_path, capsys
):
    with pytest.raises(FileNotFoundError, match=r"^notes\.csv$"):
        train(tmp_path / "run", Fails(f"on_{hook}"), quiet=False)
    told = " ".join(capsys.readouterr().err.split())
    (saved,) = RunFolder(tmp_path / "run").checkpoints.steps()[-1:]
    assert f"Fails.on_{hook} raised an error. The checkpoint of step {saved} is safe" in told
    assert saved >= {"episode": 3, "evaluation": 150, "log": 75, "checkpoint": 120}.get(hook, 45)
    watch = Watch()
    run = sparl.Run(tmp_path / "run").resume(callbacks=[watch], quiet=True)
    figures = summary(run)
    assert figures["steps"] == 200
    assert [row["step"] for row in figures["evals"]] == [50, 100, 150, 200]
    assert watch.trainer.state.updates == whole[1].trainer.state.updates


def test_what_is_changed_when_a_run_goes_on_holds_from_there_and_is_recorded(whole, tmp_path):
    with pytest.raises(Stopped):
        train(tmp_path / "run", StopAt(checkpoint=3))
    words = "--learning-rate 0.001 --eval-every 25 --eval-episodes 1 --checkpoint-every 20 --quiet"
    assert main(["train", "--resume", str(tmp_path / "run"), *words.split()]) == 0
    run = sparl.Run(tmp_path / "run")
    old, new = whole[2], outcome(run.folder)
    assert [evaluation["step"] for evaluation in new["evals"]] == [50, 100, *range(125, 201, 25)]
    assert new["evals"][:2] == old["evals"][:2]
    assert new["policy"] != old["policy"]
    assert RunFolder(run.folder).checkpoints.steps() == [160, 180, 200]
    (change,) = config(run)["changes"]
    assert change["step"] == 120
    assert change["changed"] == {
        "learning_rate": [0.01, 0.001],
        "eval_every": [50, 25],
        "eval_episodes": [2, 1],
        "checkpoint_every": [40, 20],
    }
    page = run.report(tmp_path / "report.html", video=False).read_text()
    assert "eval_every from 50 to 25 at step 120; learning_rate from 0.01 to 0.001" in page
    with pytest.raises(BadValue, match="eval_every is 0"):
        run.resume(eval_every=0)


def test_a_policy_of_ones_own_measure_is_kept_in_a_folder(whole, tmp_path):
    def worst(evaluation: Evaluation) -> float:
        return -evaluation.mean_return

    _, watch, _ = whole
    best = tmp_path / "best"
    with pytest.raises(Stopped):
        train(tmp_path / "run", sparl.SaveBest(best, worst), StopAt(evaluation=150))
    sparl.resume(tmp_path / "run", callbacks=[sparl.SaveBest(best, worst)], quiet=True)
    step = min(watch.returns, key=lambda step: watch.returns[step])
    assert json.loads((best / "best.json").read_text())["step"] == step
    np.testing.assert_array_equal(sparl.load(best).predict(OBSERVATIONS)[0], watch.actions[step])
    with pytest.raises(BadFile, match="not empty"):
        train(tmp_path / "other", sparl.SaveBest(best))
    with pytest.raises(Stopped):
        train(tmp_path / "third", StopAt(checkpoint=1))
    with pytest.raises(BadFile, match="not empty"):
        sparl.resume(tmp_path / "third", callbacks=[sparl.SaveBest(best)], quiet=True)
    # A run that was moved knows its own.
    run = (tmp_path / "run").rename(tmp_path / "moved")
    sparl.resume(run, callbacks=[sparl.SaveBest(best, worst)], quiet=True)


def test_a_best_policy_begins_anew_with_a_run_that_was_killed_before_its_first_checkpoint(tmp_path):
    best, options = tmp_path / "best", {"checkpoint_every": 200}
    with pytest.raises(Stopped):
        train(tmp_path / "run", sparl.SaveBest(best), StopAt(evaluation=100), **options)
    assert not RunFolder(tmp_path / "run").checkpoints.steps()
    run = sparl.resume(tmp_path / "run", callbacks=[sparl.SaveBest(best)], quiet=True)
    found = json.loads((best / "best.json").read_text())
    assert found["value"] == max(e["return"] for e in summary(run)["evals"])


def test_what_a_kill_left_while_it_wrote_is_no_obstacle(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.part").write_text("{")
    assert train(tmp_path / "run").folder.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.part").write_text("mine")
    with pytest.raises(BadRun, match="is not empty"):
        train(tmp_path / "mine")


def test_a_run_that_went_back_and_was_killed_goes_on_from_there(whole, tmp_path):
    run = train(tmp_path / "run")
    checkpoints = RunFolder(run.folder).checkpoints
    older = checkpoints.steps()[0]

    class Killed(sparl.Callback):
        def on_start(self, trainer):
            raise Stopped

    with pytest.raises(Stopped):
        sparl.resume(checkpoints.path(older), callbacks=[Killed()], quiet=True)
    assert checkpoints.steps() == [older]
    sparl.resume(run.folder, quiet=True)
    assert outcome(run.folder) == whole[2]


def policy(neurons: int) -> sparl.Policy:
    layers = (
        Dense(jnp.ones((neurons, 1)), jnp.zeros(neurons)),
        Dense(jnp.ones((1, neurons)), jnp.zeros(1)),
    )
    spaces = Spaces((1,), (1,), (-1.0,), (1.0,))
    return sparl.Policy(plain(layers, True), spaces, np.ones((1, 1), np.float32))


def test_the_search_for_the_best_begins_anew_when_the_policy_has_another_size():
    """What was best before neurons were cut out is not what the run is for."""
    best = Best()
    offered = [(8, 1.0), (8, 3.0), (8, 3.0), (4, -5.0), (4, -2.0), (4, -3.0)]
    taken = [
        best.offer(step, value, lambda neurons=neurons: policy(neurons))
        for step, (neurons, value) in enumerate(offered)
    ]
    assert taken == [True, True, False, True, True, False]
    assert best.score is not None and best.policy is not None
    assert (best.score.step, best.score.value, best.score.weights) == (4, -2.0, 8)
    assert best.policy.network.layers[0].shape == (4, 1)


def test_a_policy_is_not_written_where_a_link_leads(whole, tmp_path):
    shutil.copytree(whole[0].folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "policy-best")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "policy-best").symlink_to(tmp_path / "elsewhere")
    sparl.resume(tmp_path / "run", quiet=True)
    assert not list((tmp_path / "elsewhere").iterdir())
    assert outcome(tmp_path / "run") == whole[2]


class Trainer(Host):
    """One that remembers and does nothing."""

    def __init__(self) -> None:
        self.config, self.state = sparl.RunConfig(STEPS), LoopState()

    explore = another_episode = updates_due = note = policy = where = rescue = way_out = None


def answers(callback: sparl.Callback, returns: list[float]) -> list[bool]:
    """Whether the callback lets the run go on after each evaluation."""
    trainer, answers = Trainer(), []
    callback.on_start(trainer)
    for step, value in enumerate(returns, 1):
        trainer.state.evaluations.append((step, value))
        answers.append(callback.on_evaluation(step, Evaluation((float(value),), (1,))) is not False)
    return answers


def test_a_plateau_is_as_many_evaluations_as_said_without_a_better_one():
    plateau = sparl.StopOnPlateau(2)
    assert answers(plateau, [1, 2, 2, 3, 3, 1]) == [True, True, True, True, True, False]
    assert plateau.reason == "2 evaluations up to step 6 were no better than 3"
    assert answers(sparl.StopOnPlateau(1, min_improvement=1.0), [1, 3, 4]) == [True, True, False]
    assert answers(sparl.StopOnPlateau(1, after=2), [5, 1, 1, 1]) == [True, True, True, False]


def test_a_return_is_reached_by_evaluations_in_a_row_or_by_training_episodes():
    stop = sparl.StopOnReturn(2.0, evaluations=2)
    assert answers(stop, [2, 1, 3, 2]) == [True, True, True, False]
    trainer = Trainer()
    stop = sparl.StopOnReturn(2.0, episodes=2)
    stop.on_start(trainer)
    told = []
    for episode_return in (9.0, 1.0, 2.0, 3.0):
        trainer.state.episode_ended(episode_return, 1)
        told.append(stop.on_episode(7, episode_return, 1) is not False)
    assert told == [True, False, True, False]
    assert stop.on_evaluation(8, Evaluation((9.0,), (1,))) is None


def test_what_cannot_end_a_run_is_refused():
    for make, message in (
        (lambda: sparl.StopOnReturn(float("nan")), "mean_return is nan"),
        (lambda: sparl.StopOnReturn(1.0, episodes=0), "episodes is 0: it must be at least 1"),
        (lambda: sparl.StopOnReturn(1.0, episodes=101), "remembers its newest 100"),
        (lambda: sparl.StopOnPlateau(0), "evaluations is 0"),
        (
            lambda: sparl.RunConfig(
                STEPS, replay="logs.npz", offline=True, eval_episodes=0, stop_at_return=1.0
            ),
            "stop_at_return is 1: it goes by evaluations",
        ),
    ):
        with pytest.raises(BadValue, match=message):
            make()


def test_a_best_policy_that_there_is_not_is_told(tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / "run")
    run = sparl.Run(tmp_path / "run")
    with pytest.raises(BadRun, match="has no best policy"):
        run.best.policy  # noqa: B018
    with pytest.raises(BadValue, match="holds one policy"):
        sparl.load(run.folder / "policy", which="best")
