"""PyTorch's files are read without PyTorch, and nothing in them is run."""

from __future__ import annotations

import base64
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_files import rezipped, saved, with_data, with_pickle

from sparl.errors import BadFile
from sparl.interop import sb3, torch_file


def policy() -> bytes:
    with zipfile.ZipFile(saved("td3")) as archive:
        return archive.read("policy.pth")


def with_pickled(pickled: bytes) -> bytes:
    return rezipped(policy(), lambda name, was: pickled if name.endswith("data.pkl") else was)


class Runs:
    """Its pickle calls a function when Python's own unpickler reads it."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_that_names_a_function_is_refused_and_not_run(tmp_path):
    made = tmp_path / "made"
    calls = {
        "posix.system": Runs(os.system, f"touch {made}"),
        "posix.mkdir": Runs(os.mkdir, str(made)),
        "builtins.eval": Runs(eval, f"open({str(made)!r}, 'w')"),
        "builtins.getattr": Runs(getattr, "x", "upper"),
        "numpy.dtype": Runs(np.dtype, "f4"),
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for name, call in calls.items():
            pickled = pickle.dumps({"actor.mu.0.weight": call}, protocol)
            with pytest.raises(BadFile, match=r"refused, and nothing in it was run: it asks"):
                torch_file.read(with_pickled(pickled), "policy.pth")
            assert not made.exists(), name
    # Python's own unpickler does run them.
    pickle.loads(pickle.dumps(calls["posix.mkdir"]))
    assert made.exists()


@pytest.mark.parametrize("entry", ["policy.pth", "actor.optimizer.pth", "pytorch_variables.pth"])
def test_every_file_in_the_zip_is_read_safely(entry, tmp_path):
    made = tmp_path / "made"
    pickled = pickle.dumps(Runs(os.mkdir, str(made)))
    path = with_pickle("sac", tmp_path, lambda _: pickled, entry)
    with pytest.raises(BadFile, match=rf"{entry} of .*altered.zip is refused.*posix.mkdir"):
        sb3.read(path)
    assert not made.exists()


def test_pickles_in_the_attributes_are_never_read(tmp_path):
    made = tmp_path / "made"
    pickled = base64.b64encode(pickle.dumps(Runs(os.mkdir, str(made)))).decode()

    def replace(data):
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = pickled

    sb3.read(with_data("td3", tmp_path, replace))
    assert not made.exists()


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """A pickled tensor of the first storage of the file, which has 16 numbers."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI16\ntQ"
    arguments = storage + b"I%d\n" % offset + numbers(shape) + numbers(strides) + b"I00\nN"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR."


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (8, 2), (2, 1)),
        (4, (3,), (1,)),
        (15, (), ()),
        (0, (1, 16), (99, 1)),
        (2, (0, 3), (3, 1)),
    ],
)
def test_tensors_are_views_of_their_storage(offset, shape, strides):
    stored = torch_file.read(with_pickled(tensor(0, (16,), (1,))), "it")
    assert stored.dtype == np.float32 and len(set(stored)) == 16
    array = torch_file.read(with_pickled(tensor(offset, shape, strides)), "it")
    size = int(np.prod(shape))
    assert np.array_equal(array, stored[offset : offset + size].reshape(shape))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (17,), (1,)),
        (1, (16,), (1,)),
        (-1, (4,), (1,)),
        (0, (-4, -4), (-4, 1)),
        (0, (4, 4), (1, 4)),
        (0, (10**6, 10**6), (0, 0)),
        (0, (2**40, 2**40), (2**40, 1)),
        (0, (4, 4), (4,)),
    ],
)
def test_tensors_that_reach_beyond_their_storage_are_refused(offset, shape, strides):
    with pytest.raises(BadFile, match="the policy"):
        torch_file.read(with_pickled(tensor(offset, shape, strides)), "the policy")


def test_a_pickle_cannot_make_the_unpickler_allocate_memory():
    pickled = b"\x80\x02}r\xff\xff\xff\xff."
    with pytest.raises(BadFile, match="gives an object the number 4294967295"):
        torch_file.read(with_pickled(pickled), "the policy")


def test_numbers_are_read_in_the_byte_order_of_the_file():
    def swapped(name: str, content: bytes) -> bytes:
        if name.endswith("byteorder"):
            return b"big"
        return (
            np.frombuffer(content, "<f4").astype(">f4").tobytes() if "/data/" in name else content
        )

    big_endian = torch_file.read(rezipped(policy(), swapped), "it")
    for name, array in torch_file.read(policy(), "it").items():
        assert np.array_equal(big_endian[name], array) and big_endian[name].dtype == np.float32


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(data):
    content = policy()
    if data.draw(st.booleans()):
        damaged = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickled = bytearray(archive.read("archive/data.pkl"))
        for _ in range(data.draw(st.integers(1, 4))):
            pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
        damaged = with_pickled(bytes(pickled))
    try:
        torch_file.read(damaged, "policy.pth")
    except BadFile as error:
        assert "policy.pth" in str(error)


def test_files_from_before_pytorch_1_6_run_nothing_either(tmp_path):
    """They are several pickles, each of which could name a function."""
    with zipfile.ZipFile(saved("sac_sde")) as archive:
        policy = archive.read("policy.pth")
    assert not policy.startswith(b"PK") and len(torch_file.read(policy, "policy.pth")) > 10
    made = tmp_path / "made"
    call = pickle.dumps(Runs(os.mkdir, str(made)), 2)
    magic, version = (pickle.dumps(number, 2) for number in (0x1950A86A20F9469CFC6C, 1001))
    assert policy.startswith(magic + version)
    for content in (call, magic + call, magic + version + call):
        with pytest.raises(BadFile, match=r"refused, and nothing in it was run: it asks for posix"):
            torch_file.read(content, "policy.pth")
    assert not made.exists()
    with pytest.raises(BadFile, match="none of PyTorch's files"):
        torch_file.read(version + magic, "policy.pth")
