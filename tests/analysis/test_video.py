"""Frames of an episode: how many, from which camera, and errors of rendering."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import environments
import numpy as np
import pytest
from environments import OFTEN, TINY
from PIL import Image

import sparl
from sparl import envs
from sparl.analysis import video
from sparl.config import RunConfig
from sparl.errors import BadEnvironment

ENV = "environments:Point-v0"
RUN = RunConfig(ENV)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    out = tmp_path_factory.mktemp("video") / "run"
    return sparl.train(ENV, TINY, out=out, **OFTEN).policy


def times(frames):
    """The point's frames are all of the step's number."""
    return [int(frame[0, 0, 0]) for frame in frames]


def test_frames_are_of_every_step_or_of_every_few_steps(policy):
    fps, frames = video.play(RUN, policy, seed=0)
    assert (fps, times(frames)) == (10.0, list(range(environments.LIMIT)))
    fps, frames = video.play(RUN, policy, seed=0, most=4.0)
    assert (fps, times(frames)) == (5.0, list(range(0, environments.LIMIT, 2)))


def test_closing_the_frames_closes_the_environment(policy, monkeypatch):
    closed = []
    monkeypatch.setattr(environments.Point, "close", lambda self: closed.append(self))
    _, frames = video.play(RUN, policy, seed=0)
    assert times(islice(frames, 3)) == [0, 1, 2]
    assert not closed
    frames.close()
    assert len(closed) == 1


def test_an_error_of_rendering_is_reported_even_if_closing_fails_too(policy, monkeypatch):
    def fail(self):
        raise RuntimeError("no screen")

    monkeypatch.setattr(environments.Point, "render", fail)
    monkeypatch.setattr(environments.Point, "close", fail)
    _, frames = video.play(RUN, policy, seed=0)
    with pytest.raises(BadEnvironment, match=r"rendered here: no screen.*MUJOCO_GL"):
        next(frames)


def test_runners_are_filmed_by_the_tracking_camera():
    with closing(envs.make("HalfCheetah-v5", render_mode="rgb_array")) as env:
        video._use_tracking_camera(env)
        renderer = env.unwrapped.mujoco_renderer
        assert renderer.camera_id == env.unwrapped.model.camera("track").id
    with closing(envs.make("Pusher-v5", render_mode="rgb_array")) as env:
        video._use_tracking_camera(env)  # has no such camera
        assert env.unwrapped.mujoco_renderer.camera_id == -1


def test_a_film_lasts_ten_seconds_loops_and_stays_small(policy, tmp_path, monkeypatch):
    """Of frames that no two are alike, and an episode that is longer."""
    noise = np.random.default_rng(0)
    frame = lambda self: noise.integers(0, 255, (90, 160, 3), np.uint8)  # noqa: E731
    monkeypatch.setattr(environments.Point, "render", frame)
    monkeypatch.setattr(environments, "LIMIT", 150)
    monkeypatch.setattr(video, "LARGEST", 400_000)
    longer, told = RunConfig(ENV, max_episode_steps=150), []
    seconds = video.film(longer, policy, 0, tmp_path / "a.gif", lambda *now: told.append(now))
    assert seconds == 10.0 and told[-1] == (100, 100)
    assert (tmp_path / "a.gif").stat().st_size <= 400_000
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.info["loop"] == 0 and picture.n_frames == 100
