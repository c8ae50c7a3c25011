"""Whatever is in a zip of Stable-Baselines3: it is read, or refused by a SparlError."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fuzzing import allowed, cases
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed, damaged
from sb3_files import rezipped, saved

from sparl.interop import sb3, torch_file

NAMES = ("td3", "sac", "dqn")


def imported(path: Path, kind: str) -> None:
    with allowed(kind) as ended:
        sb3.read(path).learner()
        ended("read")


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_zip_is_read_or_refused(name, tmp_path):
    @cases(8)
    @given(damaged(saved(name).read_bytes()))
    def case(content: bytes) -> None:
        (tmp_path / "agent.zip").write_bytes(content)
        imported(tmp_path / "agent.zip", "zip, damaged")

    case()
    assert [path.name for path in tmp_path.iterdir()] == ["agent.zip"]


@pytest.mark.parametrize("name", [*NAMES, "ppo", "ppo_choices", "qrdqn", "sac_sde"])
def test_attributes_of_other_kinds_are_read_or_refused(name, tmp_path):
    content = saved(name).read_bytes()
    with zipfile.ZipFile(saved(name)) as archive:
        data = json.loads(archive.read("data"))

    @cases(8)
    @given(changed(data))
    def case(altered: dict[str, Any]) -> None:
        text = json.dumps(altered).encode()
        path = tmp_path / "agent.zip"
        path.write_bytes(rezipped(content, lambda n, was: text if n == "data" else was))
        imported(path, "zip, attributes")

    case()


@pytest.mark.parametrize("name", NAMES)
def test_damaged_members_are_read_or_refused(name, tmp_path):
    """The zip around them is whole."""
    content = saved(name).read_bytes()
    with zipfile.ZipFile(saved(name)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}

    @cases(8)
    @given(st.data())
    def case(data: Any) -> None:
        member = data.draw(st.sampled_from(sorted(members)))
        inner = members[member]
        if member.endswith(".pth") and data.draw(st.booleans()):
            with zipfile.ZipFile(io.BytesIO(inner)) as archive:
                entry = data.draw(st.sampled_from(archive.namelist()))
                altered = data.draw(damaged(archive.read(entry)))
            inner = rezipped(inner, lambda n, was: altered if n == entry else was)
        else:
            inner = data.draw(damaged(inner))
        path = tmp_path / "agent.zip"
        path.write_bytes(rezipped(content, lambda n, was: inner if n == member else was))
        imported(path, "zip, members")

    case()


def test_damaged_files_from_before_pytorch_1_6_are_read_or_refused():
    with zipfile.ZipFile(saved("sac_sde")) as archive:
        policy = archive.read("policy.pth")

    @cases(30)
    @given(damaged(policy))
    def case(content: bytes) -> None:
        with allowed("stream, damaged") as ended:
            torch_file.read(content, "policy.pth")
            ended("read")

    case()


OPERATIONS = [bytes([code]) for code in range(256)]


def test_any_pickle_is_read_or_refused(tmp_path):
    """Of random operations, among those that a file of tensors has."""
    with zipfile.ZipFile(saved("dqn")) as archive:
        policy = archive.read("policy.pth")
    named = [b"torch\nFloatStorage", b"collections\nOrderedDict", b"os\nsystem"]
    named.append(b"torch._utils\n_rebuild_tensor_v2")
    pieces = st.one_of(
        st.sampled_from(OPERATIONS),
        st.binary(max_size=4),
        st.sampled_from([b"c" + name + b"\n" for name in named]),
        st.sampled_from([b"(I1\nI2\nt", b"Vx\n", b"q\0h\0", b"2", b"(t", b"}", b"]"]),
    )

    @cases(50)
    @given(st.lists(pieces, max_size=12))
    def case(operations: list[bytes]) -> None:
        pickled = b"\x80\x02" + b"".join(operations) + b"."
        content = rezipped(policy, lambda n, was: pickled if n.endswith("data.pkl") else was)
        with allowed("pickle") as ended:
            torch_file.read(content, "policy.pth")
            ended("read")

    case()
