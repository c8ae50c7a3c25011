"""Runs with actors on Ray: no transition is lost, mixed up or learned from too often, and a single
actor gives the bits of the local loop."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import (
    LIMIT,
    OFTEN,
    SMALL_OFENET,
    TINY,
    TINY_DQN,
    TINY_ON_POLICY,
    TINY_SAC,
    Mortal,
)
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl.errors import BadValue, EnvironmentFailed
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder
from sparl.training import snapshot

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
from sparl.distributed import RayCollector, connected  # noqa: E402

RNM = sparl.RNM("2:4", interval=15)
WITH_OFENET = replace(
    TINY_SAC,
    **SMALL_OFENET | {"representation_layers": 2},
    representation_updates=19,
    activation="swish",
)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One cluster for all tests; every run starts its actors in it."""
    with connected(None, 4):
        yield ray.get_runtime_context().gcs_address


def replay_of(run: Path) -> Replay:
    """The replay in the newest checkpoint of a run with two observations and one action."""
    checkpoints = RunFolder(run).checkpoints
    replay = Replay(100_000, Columns(2, 1))
    checkpoints.load_replay(checkpoints.steps()[-1], replay)
    return replay


def metrics(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_local(run: Path) -> dict[str, Any]:
    """The outcome of a run without the columns that only runs with actors have."""
    result = outcome(run)
    for row in result["metrics"]:
        for name in RayCollector.columns:
            row.pop(name, None)
    return result


@pytest.mark.parametrize(
    "env, agent, method, normalize",
    [
        ("Point", replace(TINY, n_step=3, n_step_from=100), RNM, True),
        ("Point", WITH_OFENET, RNM, True),
        (
            "Steps",
            TINY_DQN,
            sparl.methods.DSP(interval=15, begin=0.1, end=0.5, tolerance=1.0),
            False,
        ),
    ],
)
def test_one_actor_gives_the_bits_of_the_local_loop(env, agent, method, normalize, tmp_path):
    for actors in (0, 1):
        options = OFTEN | {"steps": 130, "actors": actors, "normalize_observations": normalize}
        sparl.train(f"environments:{env}-v0", agent, method, out=tmp_path / str(actors), **options)
    assert as_local(tmp_path / "1") == outcome(tmp_path / "0")
    assert {row["staleness"] for row in metrics(tmp_path / "1")} == {"0.0"}


def check_episodes(replay: Replay) -> dict[int, int]:
    """Checks that episodes are stored from their beginning, in order, and that n-step rows stay in
    their episode, with the rewards between.

    Returns:
        For each episode, by its seed, the number of steps that are stored.
    """
    rows = replay.span(0, replay.added)
    episodes: dict[int, int] = {}
    for seed, step in rows[:, :2].astype(int).tolist():
        assert step == episodes.get(seed, 0)
        episodes[seed] = step + 1
    summed = replay.rows_at(np.arange(replay.added), 1.0, 3)
    step, count = summed[:, 1], summed[:, 5] - summed[:, 1]
    assert (summed[:, 4] == summed[:, 0]).all()
    assert set(count.tolist()) == {1.0, 2.0, 3.0}
    assert (summed[:, 3] == count * step + count * (count + 1) / 2).all()
    return episodes


def test_four_actors_lose_only_the_transitions_of_an_actor_that_dies(tmp_path):
    steps, length = 1200, 8
    agent = replace(TINY, learning_starts=200)
    sparl.train(
        "environments:Mortal-v0", agent, RNM, out=tmp_path / "run", steps=steps, actors=4,
        rollout_length=length, log_every=25, eval_every=steps, checkpoint_every=500, quiet=True,
        normalize_observations=True,
    )  # fmt: skip
    summary = RunFolder(tmp_path / "run").read_summary()
    assert summary is not None
    replay = replay_of(tmp_path / "run")
    assert replay.added == replay.size == steps
    episodes = check_episodes(replay)
    assert sum(episodes.values()) == steps
    statistics = snapshot(RunFolder(tmp_path / "run"))[0].statistics
    assert statistics is not None and statistics.count == steps
    np.testing.assert_allclose(statistics.mean, replay.span(0, steps)[:, :2].mean(axis=0), 1e-5)
    # An episode that kills its actor has sent its first rollout, and loses the second one.
    killed = {seed for seed in episodes if Mortal.kills(seed)}
    assert killed and summary["actor_deaths"] >= 1
    assert max(episodes[seed] for seed in killed) == length
    unfinished = {seed for seed, count in episodes.items() if count < LIMIT}
    assert len(unfinished) <= summary["actor_deaths"] + 4

    later = [r for r in metrics(tmp_path / "run") if int(r["step"]) >= 200 + 20 * 4 * length]
    assert len(later) > 10
    assert all(0.95 <= float(row["samples_per_insert"]) <= 1 for row in later)
    assert {float(row["staleness"]) for row in later} != {0.0}
    assert summary["samples_per_insert"] == 1


def test_a_killed_learner_resumes_from_its_newest_checkpoint(cluster, tmp_path):
    options = (
        "--hidden 16 16 --batch-size 8 --learning-starts 40 --actors 2 --rollout-length 8 "
        "--samples-per-insert 0.5 --steps 100000 --checkpoint-every 200 --eval-episodes 2"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "sparl", "train", "environments:Numbered-v0", *options.split(),
         "--ray-address", cluster, "--out", "run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )  # fmt: skip
    run, deadline = tmp_path / "run", time.monotonic() + 120
    while not RunFolder(run).checkpoints.steps():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    saved = check_episodes(replay_of(run))
    reached = sum(saved.values())
    sparl.resume(run, steps=reached + 400, quiet=True)
    replay = replay_of(run)
    assert replay.added == reached + 400
    episodes = check_episodes(replay)
    # The resumed run begins other episodes.
    assert {seed: episodes[seed] for seed in saved} == saved
    summary = RunFolder(run).read_summary()
    assert summary is not None
    assert summary["samples_per_insert"] == pytest.approx(0.5, rel=0.01)


def test_priorities_are_resumed_bit_for_bit(tmp_path):
    """With a representation beside the agent."""
    agent = WITH_OFENET
    options = OFTEN | {"actors": 1, "prioritised": True, "steps": 130}
    for name in ("whole", "stopped"):
        callbacks = [StopAt(checkpoint=2)] if name == "stopped" else []
        try:
            sparl.train(
                "environments:Point-v0", agent, out=tmp_path / name, callbacks=callbacks, **options
            )
        except Stopped:
            sparl.resume(tmp_path / name, quiet=True)
    assert as_local(tmp_path / "stopped") == as_local(tmp_path / "whole")
    summary = RunFolder(tmp_path / "whole").read_summary()
    assert summary is not None and summary["samples_per_insert"] == 1.0


def test_the_error_of_an_environment_says_how_to_resume(tmp_path):
    with pytest.raises(EnvironmentFailed, match="a gear came off") as caught:
        sparl.train("environments:Broken-v0", TINY, out=tmp_path / "run", actors=1, **OFTEN)
    assert f"sparl train --resume {tmp_path / 'run'}" in str(caught.value)
    assert RunFolder(tmp_path / "run").checkpoints.steps()[-1] == 89


def test_runs_that_cannot_have_actors_are_refused(tmp_path):
    def train(env: str = "Point", agent: Any = TINY, **options: Any) -> None:
        out = tmp_path / "run"
        sparl.train(f"environments:{env}-v0", agent, out=out, quiet=True, **options)

    with pytest.raises(BadValue, match="primal_dual learns from the newest"):
        train("Steps", TINY_ON_POLICY, actors=1)
    # Actors of the test before may still hold CPUs.
    with pytest.raises(BadValue, match=r"actors is 5: the Ray cluster has \d free"):
        train(actors=5)
    with pytest.raises(BadValue, match="actors 1 does not go with envs 2"):
        train(actors=1, envs=2)
    with pytest.raises(BadValue, match="does not go with vectorization async"):
        train(actors=1, vectorization="async")
    with pytest.raises(BadValue, match=r"ray_address is 'here:1'.* ask for actors"):
        train(ray_address="here:1")
    with pytest.raises(BadValue, match="are options of runs with actors"):
        train(prioritised=True)
    with pytest.raises(BadValue, match=r"samples_per_insert is 0\.0"):
        train(actors=1, samples_per_insert=0.0)
    with pytest.raises(BadValue, match="must fit into the replay, buffer_size 10"):
        train(actors=2, rollout_length=20, buffer_size=10)
    assert not (tmp_path / "run").exists()


def test_without_ray_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in [name for name in sys.modules if name.startswith("sparl.distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(sparl, "distributed")
    with pytest.raises(BadValue, match=r'actors is 2: .* pip install "sparl\[ray\]"'):
        sparl.train("environments:Point-v0", TINY, out=tmp_path / "run", actors=2, quiet=True)
