"""No more of a zip of others is unpacked than its networks need."""

from __future__ import annotations

import io
import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sb3_files import rezipped, saved, with_data, with_pickle

from sparl.errors import BadFile
from sparl.interop import sb3

GIGABYTE = 2**30


def bomb(size: int = GIGABYTE) -> bytes:
    """A zip of a megabyte with so many zeros in it."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data/0", "w", force_zip64=True) as file,
    ):
        for _ in range(size // 2**20):
            file.write(bytes(2**20))
    return out.getvalue()


def replaced(folder: Path, entry: str, make: Callable[[bytes], bytes], deflate: bool) -> Path:
    """A file with one entry replaced."""
    path = folder / "altered.zip"
    how = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(saved("td3")) as old, zipfile.ZipFile(path, "w", how) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, make(content) if name == entry else content)
    return path


@pytest.fixture
def bounded():
    """The test must not take a quarter of what the bomb would."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + GIGABYTE // 4 // 1024


@pytest.mark.parametrize("entry", ["policy.pth", "data"])
def test_a_member_far_larger_than_the_zip_is_refused(entry, bounded, tmp_path):
    zeros = b" " * (200 * 2**20)
    path = replaced(tmp_path, entry, lambda _: zeros, deflate=True)
    assert path.stat().st_size < 2**20
    with pytest.raises(BadFile, match=rf"altered.zip has {entry} of 209715200 bytes") as refused:
        sb3.read(path)
    assert (refused.value.file, refused.value.field) == (path, entry)


def test_a_storage_far_larger_than_its_tensor_is_not_unpacked(bounded, tmp_path):
    """The tensor needs a few numbers of it: they are all that is read."""

    def with_bomb(content: bytes) -> bytes:
        zeros = bomb()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            first = next(name for name in names if name.endswith("/data/0"))
            held = archive.read(first)
        out = io.BytesIO(zeros.replace(b"archive/data/0", first.encode()))
        assert held and first == "archive/data/0"
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "a") as new:
            for name in names:
                if name != first:
                    new.writestr(name, old.read(name))
        return out.getvalue()

    path = replaced(tmp_path, "policy.pth", with_bomb, deflate=False)
    agent = sb3.read(path)
    first = agent.parts["actor"].members["actor"].layers[0]
    assert not (first.weight != 0).any() or not (first.bias != 0).any()


def test_a_tensor_that_is_named_often_is_not_read_often(bounded, monkeypatch, tmp_path):
    """Two bytes of pickle name a tensor again."""
    # Each entry's types are checked in tests, which takes a millisecond.
    monkeypatch.setattr("sparl.interop.tensors.MOST_ENTRIES", 2_000)

    def again(pickled: bytes) -> bytes:
        # The whole dictionary, again and again in a list.
        return b"\x80\x02]q\x01(" + pickled[2:-1] + b"q\x7f" + b"h\x7f" * 4_000 + b"e."

    with pytest.raises(BadFile, match=r"more than 2000 entries|larger than the file"):
        sb3.read(with_pickle("td3", tmp_path, again))


def test_a_pickle_that_doubles_itself_ends(tmp_path):
    def doubled(_: bytes) -> bytes:
        grown = b"]q\x00"
        for level in range(60):
            grown += b"]q%c(h%ch%ce" % (level + 1, level, level)
        return b"\x80\x02" + grown + b"."

    with pytest.raises(BadFile, match="more than 100000 entries"):
        sb3.read(with_pickle("td3", tmp_path, doubled))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested too deep"),
        ('{"gamma": 1e999}', "the number '1e999'"),
        ('{"seed": ' + "9" * 5000 + "}", "the number 9999"),
        ('{"gamma": 1, "gamma": 2}', "'gamma' twice"),
        ("[1, 2]", "truncated, or not as"),
        ('{"policy_class": 3}', "truncated, or not as"),
    ],
)
def test_attributes_that_are_no_strict_json_are_refused(text, message, tmp_path):
    path = tmp_path / "altered.zip"
    content = saved("td3").read_bytes()
    path.write_bytes(rezipped(content, lambda n, was: text.encode() if n == "data" else was))
    with pytest.raises(BadFile, match=message):
        sb3.read(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("batch_size", value) for value in (True, "256", None, 1.5, 0, -1, 10**12, [1])),
        *(("gamma", value) for value in ("0.9", 7, -1, None, {"a": 1})),
        *(("tau", value) for value in (2, "x")),
        ("learning_rate", -1.0),
        ("buffer_size", 10**30),
        ("seed", 0.5),
        ("policy_delay", 0),
    ],
)
def test_attributes_of_other_kinds_or_out_of_bounds_are_refused(field, value, tmp_path):
    path = with_data("td3", tmp_path, lambda data: data.update({field: value}))
    with pytest.raises(BadFile, match=field):
        sb3.read(path)


def test_numbers_that_are_not_finite_where_nothing_needs_them_do_no_harm(tmp_path):
    path = with_data("td3", tmp_path, lambda data: data.update(_n_calls=float("nan")))
    assert "NaN" in json.dumps(json.loads(zipfile.ZipFile(path).read("data")))
    assert sb3.read(path).agent == sb3.read(saved("td3")).agent


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "agent.zip")
    with pytest.raises(BadFile, match="is no file"):
        sb3.read(tmp_path / "agent.zip")
