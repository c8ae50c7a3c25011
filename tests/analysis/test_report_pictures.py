"""Pictures in the HTML report: matrices of weights, and films of the policy."""

from __future__ import annotations

import base64
import struct
import sys
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN, TINY_DQN
from PIL import Image

import sparl
from sparl.analysis import film_file
from sparl.analysis.html import film, matrices
from sparl.layouts import Dense

ENV = "environments:Steps-v0"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    out = tmp_path_factory.mktemp("film") / "run"
    return sparl.train(ENV, TINY_DQN, out=out, **OFTEN).policy


def content_of(data_uri: str, kind: str) -> bytes:
    prefix, content = data_uri.split(",")
    assert prefix == f"data:{kind};base64"
    return base64.b64decode(content)


def test_a_large_matrix_is_averaged_down_to_1024_pixels_a_side():
    weights = jnp.ones((2048, 8)).at[:1024].set(-1.0)
    (picture,) = matrices.pictures((Dense(weights, jnp.zeros(2048)),))
    pixels = np.asarray(Image.open(BytesIO(content_of(picture.source, "image/png"))))
    assert (pixels.shape, picture.height, picture.width) == ((1024, 4, 4), matrices.SIDE, 2)
    np.testing.assert_array_equal(pixels[:, 0, 0] < pixels[:, 0, 2], np.arange(1024) < 512)


def test_a_gif_has_the_frames_of_the_episode_at_its_speed(policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # makes its import fail
    made = film.film(sparl.RunConfig(ENV), policy, seed=0)
    gif = Image.open(BytesIO(content_of(made.source, "image/gif")))
    milliseconds = 0
    for i in range(gif.n_frames):  # equal frames are stored as one that stays longer
        gif.seek(i)
        gray = gif.convert("RGB").getpixel((0, 0))[0]
        assert abs(gray - milliseconds // 100) <= 4
        milliseconds += gif.info["duration"]
    assert (milliseconds, made.seconds) == (2000, 2.0)
    assert (made.width, made.height, made.moving_picture) == (16, 16, False)


def test_an_mp4_is_made_where_its_codec_is_installed(policy):
    pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed: no mp4")
    made = film.film(sparl.RunConfig(ENV), policy, seed=0)
    assert content_of(made.source, "video/mp4")[4:8] == b"ftyp"
    assert made.moving_picture


def test_an_mp4_keeps_the_size_of_its_frames():
    pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed: no mp4")
    frames = [Image.new("RGB", (38, 22), (80 * i, 0, 0)) for i in range(3)]
    made = film_file.mp4(frames, 10.0)
    size = made.index(b"tkhd") + 80  # the last two numbers of a track's header, in 16.16 bits
    assert struct.unpack(">HxxH", made[size : size + 6]) == (38, 22)
