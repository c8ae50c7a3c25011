"""What a run leaves to read: CSV, TensorBoard under names that users know, final figures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from environments import OFTEN, TINY
from interruptions import events

import sparl
from sparl.config import RunConfig
from sparl.storage import Table
from sparl.training import LoopState
from sparl.training.progress import Progress

ENV = "environments:Point-v0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("logs") / "run"
    sparl.train(ENV, TINY, sparl.RNM("2:4", interval=50), out=out, **OFTEN)
    return out


def rows(run, name="metrics.csv"):
    with open(run / name, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_per_log_point_and_evaluation(run):
    found = rows(run)
    assert [int(row["step"]) for row in found] == list(range(25, 201, 25))
    evaluated = [int(row["step"]) for row in found if row["eval_return"]]
    assert evaluated == [50, 100, 150, 200]
    # Learning starts after step 40; there is no loss to tell of before.
    assert found[0]["critic_loss"] == found[0]["actor_loss"] == ""
    assert all(float(row["critic_loss"]) > 0 for row in found[1:])
    assert [int(row["updates"]) for row in found] == [0, 10, 35, 60, 85, 110, 135, 160]
    assert all(float(row["steps_per_second"]) > 0 for row in found)


def test_a_row_per_restructuring_with_sad_per_network(run):
    found = rows(run, "restructures.csv")
    assert [int(row["updates"]) for row in found] == [50, 100, 150]
    assert all(float(row[f"sad_{n}"]) >= 0 for row in found for n in ("actor", "critic_1"))


def test_tensorboard_has_the_names_of_stable_baselines3(run):
    found = events(run)
    for tag in (
        "rollout/ep_rew_mean",
        "rollout/ep_len_mean",
        "eval/mean_reward",
        "eval/mean_ep_length",
        "time/fps",
        "train/actor_loss",
        "train/critic_loss",
        "train/learning_rate",
        "train/n_updates",
        "restructure/sad_actor",
    ):
        assert found[tag], tag
    assert sorted(found["eval/mean_reward"]) == [50, 100, 150, 200]
    told = {int(row["step"]): row["eval_return"] for row in rows(run) if row["eval_return"]}
    for step, value in found["eval/mean_reward"].items():
        assert value == pytest.approx(float(told[step]), rel=1e-5)


def test_the_summary_follows_from_the_evaluations(run):
    summary = json.loads((run / "summary.json").read_text())
    returns = [evaluation["return"] for evaluation in summary["evals"]]
    assert summary["steps"] == 200
    assert summary["seed"] == 0
    assert summary["final_return"] == pytest.approx(returns[-1])
    assert summary["best_return"] == max(returns)
    assert summary["steps_per_second"] == pytest.approx(200 / summary["wall_seconds"])
    # Hidden layers at 2:4 of networks 2-16-16-1 and, for the critics, 3-16-16-1.
    stored, total = (2 + 8 + 1 + 2 * (3 + 8 + 1)) * 16, (2 + 16 + 1 + 2 * (3 + 16 + 1)) * 16
    assert summary["average_compression_ratio"] == pytest.approx(1 - stored / total)


@pytest.mark.parametrize(("evaluations", "last"), [(1, 1), (5, 1), (10, 3), (29, 9), (60, 10)])
def test_the_final_return_is_the_mean_of_the_last_ten_evaluations_or_the_last_third(
    evaluations, last
):
    returns = [float(i * i) for i in range(evaluations)]
    state = LoopState(evaluations=list(enumerate(returns)), wall_seconds=1.0)
    assert state.summary()["final_return"] == pytest.approx(sum(returns[-last:]) / last)


def test_the_learning_rate_in_tensorboard_is_that_of_the_step(tmp_path):
    agent = replace(TINY, learning_rate_schedule="linear", learning_rate_end=0.2)
    sparl.train(ENV, agent, out=tmp_path / "run", **OFTEN)
    found = events(tmp_path / "run")["train/learning_rate"]
    made = {int(row["step"]): int(row["updates"]) for row in rows(tmp_path / "run")}
    for step, rate in found.items():
        expected = agent.learning_rate * (1 - 0.8 * made[step] / 160)
        assert rate == pytest.approx(expected, rel=1e-5)
    assert len(set(found.values())) > 4


def test_a_table_that_is_there_keeps_its_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,0.5\n")
    Table(path, ["step", "reward", "loss"]).append({"step": 2, "reward": 9.0, "loss": 0.25})
    assert path.read_text() == "step,loss\n1,0.5\n2,0.25\n"


def test_the_line_names_the_phase_and_the_best_return_and_fits_the_terminal(monkeypatch, capsys):
    row = {"episode_return": -1234.5, "sparsity": 0.97, "steps_per_second": 1234.0, "updates": 0}
    evaluations = [(500_000, 98765.4), (750_000, -1234.5)]
    run = RunConfig("Pendulum-v1", steps=1_000_000)
    for width, told in ((80, "best 98765.4 at 500,000"), (120, "1234 steps/s"), (30, "step 25")):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = Progress(run, sparl.TD3(learning_starts=25_000))
        for step, updates in ((1_000, 0), (25_000, 1), (750_000, 725_000)):
            now = row | {"step": step, "updates": updates, "eval_return": -1234.5}
            shown.row(now, evaluations if updates > 1 else [])
        first, *others = lines = capsys.readouterr().err.splitlines()
        assert max(map(len, lines)) <= width
        assert ("random until 25,000" in first) == (width > 30)
        assert "random" not in "".join(others) and told in "".join(lines)


def test_progress_is_shown_as_asked_for(tmp_path, capsys):
    short = OFTEN | {"steps": 60, "quiet": False}
    for show, lines in (("off", 0), ("plain", 3)):
        sparl.train(ENV, TINY, out=tmp_path / show, progress=show, **short)
        told = capsys.readouterr().err
        assert told.count("\nstep ") == lines and "of memory for the replay" in told
