"""Logged transitions: which files are read, what of them the replay holds, and what is refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import environments
import gymnasium as gym
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_DQN
from logged import Arrays, play

import sparl
from sparl import envs
from sparl.errors import BadFile, BadValue
from sparl.interop import logs
from sparl.replay import Columns, Replay

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
COUNT = 50


def written(path: Path, arrays: dict[str, Any], **changes: Any) -> Path:
    arrays = {k: v for k, v in (arrays | changes).items() if v is not None}
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def read(path: Path | str, env: str = POINT, **options: Any) -> Any:
    run = logs.recorded(sparl.RunConfig(env, replay=str(path), **options))
    made = run.maker()()
    try:
        return logs.read(run, envs.spaces_of(made))
    finally:
        made.close()


@pytest.fixture(scope="module")
def point() -> Arrays:
    """Two and a half episodes of 20 steps."""
    return play(POINT, COUNT)


def test_logs_become_the_rows_that_the_environment_would_have_given(point, tmp_path):
    logged = read(written(tmp_path, point))
    o, a, reward, following, terminated, ended = np.split(logged.rows, [2, 3, 4, 6, 7], axis=1)
    assert logged.rows.dtype == np.float32
    np.testing.assert_array_equal(o, point["observations"])
    np.testing.assert_array_equal(following, point["next_observations"])
    np.testing.assert_array_equal(reward[:, 0], point["rewards"].astype(np.float32))
    # Of [-1, 3] in the environment.
    np.testing.assert_allclose(a, (point["actions"] - 1) / 2, atol=1e-6)
    assert not terminated.any()
    assert np.flatnonzero(ended).tolist() == [19, 39, 49]
    assert (logged.episodes, logged.left_out) == (3, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {"timeouts": None},  # as D4RL's qlearning_dataset gives them
        lambda a: {"timeouts": None, "truncated": a["timeouts"]},
        lambda a: {"terminals": None, "terminations": a["terminals"].astype(np.float64)},
        lambda a: {"terminals": None, "terminated": a["terminals"].astype(np.int8)},
        lambda a: {"rewards": a["rewards"][:, None], "actions": a["actions"][:, 0]},
        lambda a: {"infos/qpos": np.array(["not", "numbers"], object)},
    ],
)
def test_arrays_may_have_other_names_and_shapes(point, tmp_path, change):
    expected = read(written(tmp_path, point))
    found = read(written(tmp_path, point, **change(point)))
    np.testing.assert_array_equal(found.rows, expected.rows)
    assert found.episodes == 3


def test_multi_step_sums_end_with_logged_episodes(tmp_path):
    """They are those of a replay that was filled step by step."""
    arrays = play("environments:Ragged-v0", 60)
    assert 5 < arrays["terminals"].sum() < 30
    del arrays["timeouts"]
    logged = read(written(tmp_path, arrays), "environments:Ragged-v0")
    columns = Columns(2, 1)
    stepwise, restored = Replay(100, columns), Replay(100, columns)
    for row in logged.rows:
        ended = bool(row[-2])
        stepwise.add(row[:2], row[2:3], float(row[3]), row[4:6], ended, ended)
    restored.restore(0, logged.rows)
    numbers = np.arange(60)
    expected = stepwise.rows_at(numbers, 0.9, 3)
    np.testing.assert_array_equal(restored.rows_at(numbers, 0.9, 3), expected)
    assert (expected[:, -1] > 0.9**3 + 1e-6).any()


def test_choices_are_counted_from_0(tmp_path):
    arrays = play(STEPS, COUNT)
    assert set(arrays["actions"].tolist()) == {3, 4, 5}
    np.testing.assert_array_equal(
        read(written(tmp_path, arrays), STEPS).rows[:, 2], arrays["actions"] - 3
    )
    with pytest.raises(BadFile, match=r"2 of 50 actions are outside .*the first is number 7"):
        arrays["actions"][[7, 9]] = 2
        read(written(tmp_path, arrays), STEPS)


def test_what_is_not_finite_is_refused_or_left_out_as_asked(point, tmp_path):
    rewards = point["rewards"].copy()
    rewards[[5, 30]] = np.nan, 1e300  # the latter is infinite in float32
    path = written(tmp_path, point, rewards=rewards)
    with pytest.raises(BadFile, match=r"2 of 50 transitions .* number 5\. .*nonfinite skip"):
        read(path)
    logged = read(path, nonfinite="skip")
    assert (len(logged.rows), logged.left_out) == (48, 2)
    # Each ends the episode before it.
    assert np.flatnonzero(logged.rows[:, -1]).tolist() == [4, 18, 28, 37, 47]
    assert logged.episodes == 5


def huge(path: Path, arrays: Arrays) -> Path:
    """A file whose rewards claim to have 2^40 numbers."""
    path = written(path, {k: v for k, v in arrays.items() if k != "rewards"})
    with zipfile.ZipFile(path, "a") as archive, archive.open("rewards.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
        np.lib.format.write_array_header_1_0(member, header)
    return path


def cut(path: Path, arrays: Arrays) -> Path:
    path = written(path, arrays)
    path.write_bytes(path.read_bytes()[:-200])
    return path


@pytest.mark.parametrize(
    ("make", "field", "message"),
    [
        (lambda p, a: p / "none.npz", "", "none.npz is missing"),
        (lambda p, a: p, "", "it is no file"),
        (cut, "", "cannot be read as numpy.savez writes it"),
        (huge, "rewards", r"rewards is to have shape \(1099511627776,\) .* 0 bytes are there"),
        (lambda p, a: written(p, a, terminals=None), "terminals", "has no terminals or terminated"),
        (lambda p, a: written(p, a, terminated=a["terminals"]), "terminals", "are the same"),
        (lambda p, a: written(p, {k: v[:0] for k, v in a.items()}), "", "has no transitions"),
        (
            lambda p, a: written(p, a, observations=a["observations"].astype(object)),
            "observations",
            "observations holds object, and sparl reads numbers alone",
        ),
        (
            lambda p, a: written(p, a, next_observations=a["observations"][:, :1]),
            "next_observations",
            r"has shape \(50, 1\), and must have \(50, 2\)",
        ),
        (
            lambda p, a: written(p, a, actions=a["actions"][:40]),
            "actions",
            r"has shape \(40, 1\), and must have \(50, 1\)",
        ),
        (
            lambda p, a: written(p, a, terminals=np.full(COUNT, 2)),
            "terminals",
            "terminals has 2 for transition 0: a flag is 0 or 1",
        ),
        (
            lambda p, a: written(p, a, actions=a["actions"] + 2.5),
            "actions",
            r"of 50 actions are outside .*numbers from \(-1.0,\) to \(3.0,\)",
        ),
    ],
)
def test_other_files_are_refused(point, tmp_path, make, field, message):
    with pytest.raises(BadFile, match=message) as refused:
        read(make(tmp_path, point))
    assert refused.value.field == field
    assert refused.value.file is not None and refused.value.file.parent in (
        tmp_path,
        tmp_path.parent,
    )


def test_more_than_the_replay_holds_is_refused(point, tmp_path):
    with pytest.raises(BadValue, match=r"buffer_size is 49: .* has 50 transitions"):
        read(written(tmp_path, point), buffer_size=49)


def test_the_replay_of_a_run_is_saved_as_logs(tmp_path):
    """Of three environments, whose episodes come mixed; an action of the agent comes back."""
    agent = replace(TINY, learning_starts=200)
    out = tmp_path / "run"
    run = sparl.train("environments:Ragged-v0", agent, out=out, envs=3, **OFTEN)
    run.save_replay(tmp_path / "logs" / "data.npz")
    logged = read(tmp_path / "logs" / "data.npz", "environments:Ragged-v0")
    with np.load(tmp_path / "logs" / "data.npz") as arrays:
        assert arrays["actions"].min() < -0.5 and arrays["actions"].max() > 2.5
        steps = arrays["observations"][:, 1] * environments.LIMIT
        ended = arrays["terminals"] | arrays["timeouts"]
        # One episode after the other, each from its beginning.
        assert (np.diff(np.rint(steps))[~ended[:-1]] == 1).all()
        assert (steps[1:][ended[:-1]] == 0).all()
        assert ended.sum() == logged.episodes > 20
    assert len(logged.rows) == 200


def test_a_discrete_agents_replay_comes_back(tmp_path):
    run = sparl.train(STEPS, TINY_DQN, out=tmp_path / "run", **OFTEN | {"steps": 40})
    run.save_replay(tmp_path / "data.npz")
    with np.load(tmp_path / "data.npz") as arrays:
        assert set(arrays["actions"].tolist()) == {3, 4, 5}
    rows = read(tmp_path / "data.npz", STEPS).rows
    assert set(rows[:, 2].tolist()) == {0, 1, 2} and len(rows) == 40


@pytest.fixture
def minari(tmp_path, monkeypatch) -> Any:
    """Minari, with its data sets in an empty folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return pytest.importorskip("minari")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what a public data set would tell
@pytest.mark.parametrize("env", [POINT, "environments:Halves-v0"])
def test_data_sets_of_minari_are_read(env, minari, point):
    made = gym.make(env)
    episodes, ends = [], (20, 40, 50)  # the last one is not even cut
    for first, end in zip((0, *ends), ends, strict=False):
        seen = [*point["observations"][first:end], point["next_observations"][end - 1]]
        if isinstance(made.observation_space, gym.spaces.Dict):
            split = np.array(seen)
            seen = {"at": list(split[:, :1]), "time": list(split[:, 1:])}
        flags = [point[name][first:end].tolist() for name in ("rewards", "terminals", "timeouts")]
        actions = list(point["actions"][first:end])
        episodes.append(
            minari.data_collector.EpisodeBuffer(len(episodes), 0, None, seen, actions, *flags)
        )
    spaces = {"observation_space": made.observation_space, "action_space": made.action_space}
    minari.create_dataset_from_buffers("point/random-v0", episodes, **spaces)
    logged = read("minari:point/random-v0", env)
    assert np.flatnonzero(logged.rows[:, -1]).tolist() == [19, 39, 49]
    for columns, name in ((slice(2), "observations"), (slice(4, 6), "next_observations")):
        np.testing.assert_array_equal(logged.rows[:, columns], point[name])
    np.testing.assert_allclose(logged.rows[:, 2:3], (point["actions"] - 1) / 2, atol=1e-6)


def test_only_data_sets_in_minaris_own_folder_are_read(minari):
    with pytest.raises(BadFile, match="minari download point/none-v0"):
        read("minari:point/none-v0")
    for name in ("/etc", "../other", "a/../../b"):
        with pytest.raises(BadValue, match="a data set is named as"):
            read(f"minari:{name}")
