"""Whatever is given to sparl in Python or on a command line works, or a SparlError says why."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fuzzing import allowed, cases
from hypothesis import given
from hypothesis import strategies as st
from mutations import ODD, values

import sparl
from sparl import api, cli
from sparl.agents import AGENTS
from sparl.envs import Spaces
from sparl.errors import BadValue
from sparl.methods import METHODS

OLD_RUN = Path(__file__).parents[1] / "helpers" / "runs_0_1" / "td3-rnm"
KINDS: dict[str, Any] = {
    **{name: AGENTS.find(name) for name in AGENTS.names},
    **{name: METHODS.find(name) for name in METHODS.names},
    "run": sparl.RunConfig,
    "spaces": Spaces,
}
NEEDED: dict[str, dict[str, Any]] = {
    "run": {"env": "Pendulum-v1"},
    "spaces": {"observation_shape": (3,), "action_shape": (1,), "low": (-1.0,), "high": (1.0,)},
}
WITH_FIELDS = [name for name, kind in KINDS.items() if dataclasses.fields(kind)]


def make(name: str, **options: Any) -> Any:
    """What `KINDS[name](**options)` is, without the check of annotations that tests have."""
    made = object.__new__(KINDS[name])
    for field in dataclasses.fields(made):
        made_by = field.default_factory
        default = field.default if made_by is dataclasses.MISSING else made_by()
        value = (NEEDED.get(name, {}) | options).get(field.name, default)
        object.__setattr__(made, field.name, value)
    made.__post_init__()
    return made


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_fields_of_any_kind_are_taken_or_refused(name):
    """What is taken is of the kind that the field has."""
    fields = [field.name for field in dataclasses.fields(KINDS[name])]

    @cases(15)
    @given(st.data())
    def case(data: Any) -> None:
        chosen = data.draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3))
        options = {field: data.draw(values()) for field in chosen}
        with allowed(f"fields of {name}") as ended:
            made = make(name, **options)
            assert made == dataclasses.replace(made)
            hash(made)
            ended("made")

    case()


@pytest.mark.parametrize("value", [True, 1e3, 10**30, float("inf"), "5", None, [], [1]])
@pytest.mark.parametrize(
    "name, count", [("run", "steps"), ("td3", "batch_size"), ("rnm", "interval")]
)
def test_counts_that_are_no_whole_numbers_are_refused_by_name(name, count, value):
    with pytest.raises(BadValue, match=rf"^{count} is .*: it must (be a whole number|fit into)"):
        make(name, **{count: value})


def test_numbers_of_numpy_and_lists_become_what_the_field_has():
    run = make("run", steps=np.int64(5), buffer_drift=np.float32(0.5), inputs=[np.int32(1), 0])
    assert (run.steps, run.buffer_drift, run.inputs) == (5, 0.5, (1, 0))
    assert [type(value) for value in (run.steps, run.buffer_drift, *run.inputs)] == [
        *(int, float, int, int)
    ]
    assert type(make("td3", learning_rate=1).learning_rate) is float


WORDS = [
    *(
        "train",
        "prune",
        "transfer",
        "import",
        "eval",
        "inspect",
        "compare",
        "report",
        "features",
        "export",
    ),
    *("list", "bench", "sb3", "--agent", "--method", "--steps", "--seed", "--pattern", "--hidden"),
    *(
        "--out",
        "--resume",
        "--json",
        "--video",
        "--quiet",
        "--help",
        "--version",
        "--reach",
        "--to",
    ),
    *("--to", "--dtype", "--trust", "--envs", "--inputs", "--buffer-size", "--", "-", "-h"),
    *("--config", "--print-config", "--which", "best", "--threads", "--stop-at-return", "never"),
    *("td3", "sac", "dqn", "rnm", "dsp", "2:4", "1:8x4", "c", "onnx", "int8", "256", "0", "-1"),
    *("Pendulum-v1", "CartPole-v1", "nowhere", "run", "x:Y", "a.py:B", ":", "../run", "1e9", "nan"),
]


def test_any_command_line_works_or_says_why_not(tmp_path, monkeypatch, capsys):
    """Commands that train or play episodes do not: it is what they are asked for that counts."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD_RUN, tmp_path / "run")
    for name in ("train", "resume", "prune", "import_sb3"):
        monkeypatch.setattr(api, name, lambda *_, **__: None)
    moved = SimpleNamespace(folder=tmp_path / "moved")
    monkeypatch.setattr(api, "transfer", lambda *_, **__: moved)
    monkeypatch.setattr(cli.training_commands, "_conclude", lambda _: None)
    monkeypatch.setattr(cli.training_commands, "_compare_returns", lambda *_: None)
    monkeypatch.setenv("NPROC", "2")  # what --threads sets is taken back
    monkeypatch.setattr(cli.dispatch.bench, "main", lambda _: None)
    for module, name in (
        ("sparl.linear_mdp.features", "find"),
        ("sparl.cli.dispatch", "evaluating"),
    ):
        monkeypatch.setattr(f"{module}.{name}", _refuse)
    above = sorted(tmp_path.parent.iterdir())
    odd = st.sampled_from([str(value) for value in ODD if isinstance(value, str | int | float)])
    words = st.one_of(st.sampled_from(WORDS), st.sampled_from(WORDS), odd, st.text(max_size=5))

    @cases(60)
    @given(st.lists(words, max_size=6))
    def case(arguments: list[str]) -> None:
        with allowed("command line") as ended:
            try:
                code = cli.main(arguments)
                ended(f"ended with {code}")
                assert code in (0, 1, 2)
            except SystemExit as stopped:
                assert stopped.code in (0, 2)
                ended(f"ended with {stopped.code}")
        capsys.readouterr()

    case()
    assert sorted(tmp_path.parent.iterdir()) == above


def _refuse(*_: Any, **__: Any) -> Any:
    raise BadValue("not here")
