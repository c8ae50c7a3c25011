"""`sparl.Run`: what `train`, `prune`, `import_sb3`, `resume` and `load` give, and what it does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_DQN, TINY_SAC
from interruptions import StopAt, Stopped, outcome
from sb3_files import ENVS, saved

import sparl
from sparl import methods
from sparl.cli import main
from sparl.config import spelling
from sparl.errors import BadRun, BadValue
from sparl.storage import RunFolder

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
AGENTS = {"td3": (POINT, TINY), "sac": (POINT, TINY_SAC), "dqn": (STEPS, TINY_DQN)}
OBSERVATIONS = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each agent; tests that change one copy it."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: sparl.train(env, agent, sparl.RNM("2:4", interval=15), out=folder / name, **OFTEN)
        for name, (env, agent) in AGENTS.items()
    }


@pytest.fixture
def copied(runs, tmp_path) -> sparl.Run:
    """A run to change: TD3's."""
    shutil.copytree(runs["td3"].folder, tmp_path / "run")
    return sparl.Run(tmp_path / "run")


def predicted(run: Any) -> np.ndarray:
    return run.predict(OBSERVATIONS)[0]


def test_train_gives_a_run_that_is_the_one_in_its_folder(runs):
    run = runs["td3"]
    assert isinstance(run, sparl.Run)
    assert repr(run) == f"Run({str(run.folder)!r})"
    again = sparl.load(run.folder)
    assert isinstance(again, sparl.Run)
    assert again.folder == run.folder
    np.testing.assert_array_equal(predicted(run), predicted(again))
    np.testing.assert_array_equal(predicted(run), run.policy.predict(OBSERVATIONS)[0])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        for make in (sparl.Run, sparl.load):
            with pytest.raises(BadRun, match="is no run folder of sparl"):
                make(path)


@pytest.mark.parametrize("name", AGENTS)
def test_deterministic_predictions_are_the_policys(name, runs):
    run = runs[name]
    for observation in (OBSERVATIONS[0], OBSERVATIONS):
        action, state = run.predict(observation, state="given", deterministic=True)
        expected, _ = run.policy.predict(observation)
        np.testing.assert_array_equal(action, expected)
        assert action.dtype == expected.dtype
        assert state == "given"
        np.testing.assert_array_equal(action, run.predict(observation)[0])  # the same every time


@pytest.mark.parametrize("name", ["td3", "sac"])
def test_exploring_predictions_of_continuous_actions_are_drawn_anew(name, runs):
    run = runs[name]
    first, state = run.predict(OBSERVATIONS, state=3, deterministic=False)
    second, _ = run.predict(OBSERVATIONS, deterministic=False)
    assert state == 3
    assert first.shape == (400, 1)
    assert first.dtype == np.float32
    assert ((first >= -1) & (first <= 3)).all()
    assert (first != second).mean() > 0.9
    one, _ = run.predict(OBSERVATIONS[0], deterministic=False)
    other, _ = run.predict(OBSERVATIONS[0], deterministic=False)
    assert one.shape == (1,)
    assert one.dtype == np.float32
    assert one != other


def test_exploring_predictions_of_td3_scatter_about_the_deterministic_ones(runs):
    """By 0.1 in [-1, 1] units, which are 0.2 of the environment's."""
    observation = OBSERVATIONS[0]
    batch = np.tile(observation, (400, 1))
    drawn, _ = runs["td3"].predict(batch, deterministic=False)
    assert abs(drawn.mean() - runs["td3"].predict(observation)[0][0]) < 5 * 0.2 / np.sqrt(400)
    assert 0.17 < drawn.std() < 0.23


def test_exploring_predictions_of_discrete_actions_are_choices_of_the_environment(runs):
    """Epsilon-greedy, with the epsilon of the step that was reached: 0.05."""
    run = runs["dqn"]
    drawn, _ = run.predict(np.tile(OBSERVATIONS, (5, 1)), deterministic=False)
    assert drawn.shape == (2000,)
    assert drawn.dtype == np.int64
    assert set(drawn.tolist()) == {3, 4, 5}
    differ = (drawn != np.tile(predicted(run), 5)).mean()  # expected: 0.05 x 2/3
    assert 0.015 < differ < 0.06
    one, _ = run.predict(OBSERVATIONS[0], deterministic=False)
    assert one.shape == ()
    assert one.dtype == np.int64
    assert one in (3, 4, 5)


def test_a_policy_alone_refuses_to_explore_and_names_the_way_out(runs, tmp_path):
    runs["td3"].save(tmp_path / "policy")
    policy = sparl.load(tmp_path / "policy")
    assert isinstance(policy, sparl.Policy)
    with pytest.raises(BadValue, match="load the run folder, whose `predict` does"):
        policy.predict(OBSERVATIONS, deterministic=False)
    np.testing.assert_array_equal(predicted(policy), predicted(runs["td3"]))


def test_evaluate_gives_the_figures_of_sparl_eval(runs, capsys):
    found = runs["td3"].evaluate(episodes=3, seed=7)
    words = ["eval", str(runs["td3"].folder), "--episodes", "3", "--seed", "7", "--json"]
    assert main(words) == 0
    assert found.as_dict() == json.loads(capsys.readouterr().out)
    assert len(set(found.returns)) == 3
    assert runs["td3"].evaluate(episodes=3, seed=8).returns != found.returns


def test_export_report_and_save_write_where_they_say(copied, tmp_path):
    copied.save(tmp_path / "saved")
    for name in ("policy.json", "policy.safetensors"):
        written = (tmp_path / "saved" / name).read_bytes()
        assert written == (copied.folder / "policy" / name).read_bytes()
    assert copied.export(episodes=0)["to"] == "c"
    assert (copied.folder / "export" / "c-float32" / "export.json").exists()
    copied.export("c", out=tmp_path / "there", episodes=0)
    assert (tmp_path / "there" / "export.json").exists()
    assert copied.report(video=False) == copied.folder / "report.html"
    assert (copied.folder / "report.html").read_text().lstrip().startswith("<!DOCTYPE html>")
    assert copied.report(tmp_path / "page.html", video=False) == tmp_path / "page.html"


def test_after_a_resume_the_run_has_the_new_policy(copied):
    """Both of them: that which was resumed has read its old one already."""
    before, (exploring, _) = predicted(copied), copied.predict(OBSERVATIONS, deterministic=False)
    longer = copied.resume(steps=280, quiet=True)
    assert isinstance(longer, sparl.Run)
    assert longer.folder == copied.folder
    assert RunFolder.open(copied.folder).read_config().run.steps == 280
    assert not np.array_equal(before, predicted(longer))
    np.testing.assert_array_equal(predicted(copied), predicted(longer))
    after, _ = copied.predict(OBSERVATIONS, deterministic=False)
    # What noise leaves of 400: the mean follows the new policy, as `predict` does.
    shift, moved = (after - exploring).mean(), (predicted(copied) - before).mean()
    assert abs(shift - moved) < 5 * 0.2 * np.sqrt(2 / 400)


def test_an_interrupted_run_has_the_policy_of_its_newest_checkpoint(copied):
    """Not that of the end that it had before it was prolonged."""
    before = predicted(copied)
    with pytest.raises(Stopped):
        copied.resume(steps=400, quiet=True, callbacks=[StopAt(checkpoint=2)])
    assert RunFolder.open(copied.folder).read_summary() is None
    now = predicted(copied)
    assert not np.array_equal(before, now)
    reached = sparl.Run(copied.folder)
    np.testing.assert_array_equal(now, predicted(reached))
    shutil.copytree(copied.folder, copied.folder.parent / "ended")
    ended = sparl.resume(copied.folder.parent / "ended", steps=280, quiet=True)
    np.testing.assert_allclose(predicted(ended), now, rtol=1e-5, atol=1e-5)  # step 280 it was
    assert len(reached.evaluate(episodes=2).returns) == 2
    assert reached.predict(OBSERVATIONS, deterministic=False)[0].shape == (400, 1)


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    options: dict[str, Any] = OFTEN | {"checkpoint_every": 99}
    with pytest.raises(Stopped):
        stop = StopAt(evaluation=50)
        sparl.train(POINT, TINY, out=tmp_path, callbacks=[stop], **options)
    for deterministic in (True, False):
        with pytest.raises(BadRun, match="has no checkpoint yet"):
            sparl.load(tmp_path).predict(OBSERVATIONS, deterministic=deterministic)


def test_prune_gives_a_new_run_and_leaves_the_old_one(runs, tmp_path):
    expected = outcome(runs["td3"].folder)
    method = methods.Magnitude(sparsity=0.5, prunings=1)
    pruned = runs["td3"].prune(method, steps=80, out=tmp_path / "pruned", quiet=True)
    assert isinstance(pruned, sparl.Run)
    assert pruned.folder == tmp_path / "pruned"
    assert outcome(runs["td3"].folder) == expected
    summary = RunFolder.open(pruned.folder).read_summary()
    assert summary is not None
    assert summary["weights_kept"] == pytest.approx(0.5 * summary["weights_total"], abs=3)
    assert pruned.predict(OBSERVATIONS, deterministic=False)[0].shape == (400, 1)
    run, agent, method, _ = RunFolder.open(pruned.folder).read_config()
    words = spelling.command(run, agent, method)
    assert words[:3] == ["sparl", "prune", str(runs["td3"].folder)]


def test_prune_refuses_a_method_that_starts_at_random_places(runs, tmp_path):
    with pytest.raises(BadValue, match="What prunes: rnm, "):
        runs["td3"].prune(methods.SET(), out=tmp_path / "pruned")
    assert not (tmp_path / "pruned").exists()


def test_import_sb3_gives_a_run_that_goes_on(tmp_path):
    few: dict[str, Any] = OFTEN | {"steps": 40, "eval_every": 40, "checkpoint_every": 20}
    run = sparl.import_sb3(saved("dqn"), ENVS["dqn"], out=tmp_path / "run", seed=5, **few)
    assert isinstance(run, sparl.Run)
    observation = np.zeros(run.policy.spaces.observation_shape, np.float32)
    before = run.predict(observation)
    assert before == sparl.load(run.folder).predict(observation)
    assert run.predict(observation, deterministic=False)[0].dtype == np.int64
    config, agent, method, _ = RunFolder.open(run.folder).read_config()
    words = spelling.command(config, agent, method)
    assert words[:4] == ["sparl", "import", "sb3", str(Path(saved("dqn")).absolute())]
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main([*words[1:], "--quiet"]) == 0
    recorded = RunFolder.open(tmp_path / "again").read_config()
    assert (recorded.run.seed, recorded.run.steps, recorded.agent) == (5, 40, agent)
    assert run.resume(steps=80, quiet=True).folder == run.folder
