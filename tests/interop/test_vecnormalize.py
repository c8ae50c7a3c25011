"""What VecNormalize saved: its statistics are read, and nothing of the pickle is run."""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from mutations import damaged
from sb3_files import VECNORMALIZE

from sparl.errors import BadFile, BadValue, SparlError
from sparl.interop import vecnormalize
from sparl.networks import EPSILON


class RunningMeanStd:
    """Stands for the class of that name."""

    def __init__(self, size: int, count: Any = 50.0) -> None:
        self.mean = np.arange(size) - 1.5
        self.var, self.count = np.arange(size) + 0.5, count


class VecNormalize:
    """Stands for the class of that name."""

    def __init__(self, **attributes: Any) -> None:
        self.obs_rms, self.ret_rms = RunningMeanStd(3), RunningMeanStd(1)
        self.ret_rms.mean, self.ret_rms.var = np.float64(2.0), np.asarray(4.0)
        self.epsilon, self.clip_obs, self.norm_obs, self.norm_reward = 1e-3, 5.0, True, True
        vars(self).update(attributes)


class Runs:
    """Its pickle calls a function when Python's own unpickler reads it."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Writes an object as if these classes were in modules as those of Stable-Baselines3 are."""
    for kind, module in (
        (VecNormalize, "vec_normalize"),
        (RunningMeanStd, "running_mean_std"),
    ):
        made = types.ModuleType(module)
        setattr(made, kind.__name__, kind)
        monkeypatch.setattr(kind, "__module__", module)
        monkeypatch.setitem(sys.modules, module, made)

    def write(saved: Any, protocol: int = 4) -> Path:
        path = tmp_path / "vecnormalize.pkl"
        path.write_bytes(pickle.dumps(saved, protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_statistics_are_those_of_the_object(written, protocol):
    """Of every form in which a pickle has arrays; variances with the file's own epsilon."""
    statistics = RunningMeanStd(3, np.float64(50.0))
    statistics.mean = np.asfortranarray(statistics.mean.astype(">f4"))
    found = vecnormalize.read(written(VecNormalize(obs_rms=statistics), protocol))
    assert found.clip == 5.0 and found.observations.count == 50
    seen = np.float32([[1.0, -2.0, 0.25]])
    wanted = (seen - (np.arange(3) - 1.5)) / np.sqrt(np.arange(3) + 0.5 + 1e-3)
    np.testing.assert_allclose(found.observations.normalization(seen), wanted, rtol=1e-6)
    assert found.returns is not None
    np.testing.assert_allclose(found.returns.variance, 4.0 + 1e-3 - EPSILON)
    found = vecnormalize.read(written(VecNormalize(norm_reward=False), protocol))
    assert found.returns is None


def test_statistics_of_several_axes_are_flattened_as_observations_are(written):
    statistics = RunningMeanStd(6, np.float64(50.0))
    flat = vecnormalize.read(written(VecNormalize(obs_rms=statistics))).observations
    statistics.mean, statistics.var = statistics.mean.reshape(3, 2), statistics.var.reshape(3, 2)
    found = vecnormalize.read(written(VecNormalize(obs_rms=statistics))).observations
    assert np.array_equal(found.mean, flat.mean) and found.mean.shape == (6,)
    assert np.array_equal(found.variance, flat.variance)


def test_what_a_pickle_would_call_is_not_called(written, tmp_path):
    made = tmp_path / "made"
    call = Runs(os.mkdir, str(made))
    found = vecnormalize.read(written(VecNormalize(action_space=call)))
    assert found.clip == 5.0 and not made.exists()
    for foreign in (call, VecNormalize(obs_rms=call), VecNormalize(clip_obs=call)):
        with pytest.raises(BadFile, match="no file as VecNormalize's save writes it"):
            vecnormalize.read(written(foreign))
        assert not made.exists()
    pickle.loads(pickle.dumps(call))  # Python's own unpickler does call it.
    assert made.exists()


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"norm_obs": False}, BadValue, "normalises no observations: leave vecnormalize out"),
        ({"obs_rms": {"at": RunningMeanStd(2)}}, BadValue, "entries of a Dict each"),
        ({"clip_obs": "far"}, BadFile, "its clip_obs is 'far', which should be a number"),
        ({"clip_obs": -1.0}, BadFile, "clip_obs -1"),
        ({"obs_rms": RunningMeanStd(3, np.nan)}, BadFile, "count"),
        ({"obs_rms": None}, BadFile, "in place of an object with attributes"),
    ],
)
def test_what_cannot_be_used_is_refused(written, attributes, error, message):
    with pytest.raises(error, match=message):
        vecnormalize.read(written(VecNormalize(**attributes)))


def test_missing_and_large_files_are_refused(tmp_path):
    with pytest.raises(BadFile, match="cannot be read"):
        vecnormalize.read(tmp_path / "nowhere.pkl")
    with open(tmp_path / "large.pkl", "wb") as file:
        file.truncate(vecnormalize.MOST + 1)
    with pytest.raises(BadFile, match="bytes, and may have"):
        vecnormalize.read(tmp_path / "large.pkl")


def test_damaged_files_are_read_or_refused(tmp_path):
    path = tmp_path / "vecnormalize.pkl"

    @settings(max_examples=60, deadline=None, database=None)
    @given(damaged(VECNORMALIZE.read_bytes()))
    def case(content: bytes) -> None:
        path.write_bytes(content)
        try:
            found = vecnormalize.read(path)
            assert np.isfinite(found.observations.normalization(np.zeros(2, np.float32))).all()
        except SparlError:
            pass

    case()
