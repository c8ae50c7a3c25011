"""Whatever is in a file of a run: it is read as it was, or refused by a SparlError."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from environments import OFTEN, TINY
from fuzzing import allowed, cases
from hypothesis import given
from hypothesis import strategies as st
from mutations import changed, changed_arrays, damaged, signed

import sparl
from sparl import analysis
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder, files, read_table
from sparl.training import LoopState, inspect, snapshot

ENV = "environments:Point-v0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fuzz") / "run"
    sparl.train(ENV, TINY, sparl.RNM("2:4", interval=20), out=out, **OFTEN)
    return out


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory) -> Path:
    """A copy of the run, to be altered and put right again."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("altered") / "run")


@pytest.fixture(scope="module")
def engine(trained) -> Any:
    return snapshot(RunFolder(trained))[0]


def leaves(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").glob("step-*"))[-1]


def read_policy(run: Path, engine: Any) -> Any:
    policy = sparl.Policy.load(run / "policy")
    return (
        policy.spaces,
        leaves(policy.network),
        policy.normalization and leaves(policy.normalization),
    )


def read_config(run: Path, engine: Any) -> Any:
    return RunFolder(run).record(), RunFolder(run).read_config(env=False)


def read_figures(run: Path, engine: Any) -> Any:
    return analysis.compare(run).as_dict(), RunFolder(run).read_summary()


def read_checkpoint(run: Path, engine: Any) -> Any:
    """As `snapshot` and `resume` do, with one engine for all cases."""
    checkpoints = RunFolder(run).checkpoints
    step = checkpoints.steps()[-1]
    loaded = checkpoints.load(step, lambda layouts: engine.template(layouts).arrays)
    replay = Replay(1000, Columns(2, 1))
    checkpoints.load_replay(step, replay)
    checkpoints.newest_rows(step, 50, replay.columns.width)
    state = LoopState.from_json(loaded.state, loaded.file)
    return leaves(loaded.arrays), state, replay.rows.tobytes()


Reader = Callable[[Path, Any], Any]
FILES: dict[str, tuple[Reader, str]] = {
    "policy.json": (read_policy, "policy/policy.json"),
    "policy.safetensors": (read_policy, "policy/policy.safetensors"),
    "config.json": (read_config, "config.json"),
    "summary.json": (read_figures, "summary.json"),
    "metrics.csv": (read_figures, "metrics.csv"),
    "state.json": (read_checkpoint, "checkpoints/step-000000200/state.json"),
    "learner.safetensors": (read_checkpoint, "checkpoints/step-000000200/learner.safetensors"),
    "replay": (read_checkpoint, "checkpoints/replay/000000000160-000000000200.safetensors"),
}
SEALED = {"policy.json": "digest", "config.json": "digest", "summary.json": "digest"} | {
    "state.json": "sha256"
}


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def tried(what: str, kind: str, run: Path, engine: Any, content: bytes, before: Any = None) -> None:
    """Reads a run in which a file has this content; what is read must be `before`, if given."""
    read, name = FILES[what]
    path = run / name
    whole = path.read_bytes()
    try:
        path.write_bytes(content)
        with allowed(f"{what}, {kind}") as ended:
            found = read(run, engine)
            assert before is None or found == before, "another result, and no error"
            ended("read")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("what", FILES)
def test_a_damaged_file_gives_the_same_or_an_error(what, run, engine):
    content = (run / FILES[what][1]).read_bytes()
    before, result = everything(run.parent), FILES[what][0](run, engine)

    @cases(12)
    @given(damaged(content))
    def case(altered: bytes) -> None:
        tried(what, "damaged", run, engine, altered, result)

    case()
    assert everything(run.parent) == before


@pytest.mark.parametrize(
    ("what", "sign"),
    [(what, True) for what in SEALED] + [(what, False) for what in SEALED if what != "state.json"],
)
def test_json_of_other_kinds_gives_a_result_or_an_error(what, sign, run, engine):
    content = json.loads((run / FILES[what][1]).read_text())
    content.pop(SEALED[what])

    @cases(12)
    @given(changed(content))
    def case(altered: dict[str, Any]) -> None:
        try:
            text = signed(altered, SEALED[what]) if sign else json.dumps(altered).encode()
        except (UnicodeError, ValueError):
            return
        tried(what, "signed" if sign else "unsigned", run, engine, text)

    case()


@pytest.mark.parametrize("what", ["policy.safetensors", "learner.safetensors", "replay"])
def test_arrays_of_other_kinds_give_a_result_or_an_error(what, run, engine):
    """With the sha256 of them where it belongs."""
    path = run / FILES[what][1]
    index = (
        newest(run) / "state.json"
        if what != "policy.safetensors"
        else path.with_name("policy.json")
    )
    whole = index.read_bytes()

    @cases(12)
    @given(changed_arrays(path.read_bytes()))
    def case(altered: bytes) -> None:
        sha256, content = files.write_bytes(run / "x", altered), json.loads(whole)
        (run / "x").unlink()
        if what == "replay":
            content["replay"]["segments"][-1]["sha256"] = sha256
        else:
            content["learner" if what == "learner.safetensors" else "sha256"] = sha256
        field = SEALED[index.name]
        index.write_bytes(signed(content, field))
        try:
            tried(what, "signed", run, engine, altered)
        finally:
            index.write_bytes(whole)

    case()


@pytest.mark.parametrize("what", ["policy.json", "config.json", "summary.json", "state.json"])
def test_every_flipped_bit_is_found(what, run, engine):
    """All of them with the profile `long`; every 499th otherwise."""
    read, name = FILES[what]
    path, before = run / name, read(run, engine)
    whole = path.read_bytes()
    stride = 1 if cases(1).max_examples > 1 else 499
    try:
        for bit in range(0, 8 * len(whole), stride):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with allowed(f"{what}, every bit") as ended:
                assert read(run, engine) == before, f"bit {bit} changes the result"
                ended("read")
    finally:
        path.write_bytes(whole)


@st.composite
def tables(draw: Any) -> bytes:
    """CSV of any cells."""
    cells = st.one_of(
        st.sampled_from(
            ["step", "wall_seconds", "1", "10", "0.5", "nan", "inf", "-", '"', "", "1_0"]
        ),
        st.text(max_size=4),
    )
    rows = draw(st.lists(st.lists(cells, max_size=4), max_size=5))
    text = "".join(",".join(row) + "\n" for row in [["step", "wall_seconds"], *rows])
    return text.encode(errors="surrogatepass")


def test_any_table_gives_a_result_or_an_error(tmp_path):
    path = tmp_path / "metrics.csv"

    @cases(50)
    @given(tables())
    def case(altered: bytes) -> None:
        path.write_bytes(altered)
        with allowed("any table") as ended:
            read_table(path)
            ended("read")

    case()


def test_what_is_read_whole_is_inspected_and_exported(run):
    """The files that all cases begin with are what sparl wrote: nothing is refused in them."""
    assert not inspect(run)["normalized_observations"]
    assert sparl.export(run, "c", run / "out", episodes=0)["bytes"] > 0
    shutil.rmtree(run / "out")
