"""`--pipeline on`: the environment is stepped while updates run, and nothing depends on who is
first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_ON_POLICY
from interruptions import StopAt, Stopped, outcome, python
from support import at, rows

import sparl
from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.replay import Columns
from sparl.storage import RunFolder
from sparl.training import Trainer

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
RNM = sparl.RNM("2:4", interval=15)
RUNS: dict[str, Any] = {
    "td3": {"env": POINT, "agent": TINY},
    "bundles": {
        "env": POINT,
        "agent": replace(TINY, policy_delay=1, train_freq=3, gradient_steps=2),
    },
}
"""One whose actor every second update leaves alone, and one of two updates after every third step,
which all move it."""


class Waits(sparl.Callback):
    """Lets every update end before the environment is stepped on."""

    def on_start(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_step(self, step: int) -> None:
        jax.block_until_ready(self.trainer.engine.arrays)


def train(out: Path, run: dict[str, Any], **options: Any) -> dict[str, Any]:
    given = OFTEN | {"pipeline": "on", "method": RNM} | run | options
    sparl.train(out=out, **given)
    return outcome(out)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """What runs give when nothing interrupts them."""
    folder = tmp_path_factory.mktemp("whole")
    return {name: train(folder / name, run) for name, run in RUNS.items()}


@pytest.mark.parametrize("name", RUNS)
def test_a_pipelined_run_does_not_depend_on_how_long_updates_take_and_resumes(
    name, wholes, tmp_path
):
    run, expected = RUNS[name], wholes[name]
    assert train(tmp_path / "waits", run, callbacks=[Waits()]) == expected
    with pytest.raises(Stopped):
        train(tmp_path / "run", run, callbacks=[StopAt(checkpoint=2)])
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == expected


def test_a_pipelined_run_is_another_one_and_goes_on_where_it_ended_with_an_episode(
    wholes, tmp_path
):
    assert train(tmp_path / "off", RUNS["td3"], pipeline="off") != wholes["td3"]
    train(tmp_path / "run", RUNS["td3"], steps=100)
    sparl.resume(tmp_path / "run", steps=200, quiet=True)
    assert outcome(tmp_path / "run") == wholes["td3"]


@pytest.mark.parametrize("options", [{"envs": 2}, {"checkpoint_every": 1}], ids=["two", "cut"])
def test_a_pipelined_run_of_several_environments_resumes_and_one_cut_within_episodes(
    options, tmp_path, monkeypatch
):
    if "envs" not in options:
        late = "sparl.training.trainer.is_overdue"
        monkeypatch.setattr(late, lambda state, *_: state.step % 15 == 7)
    run = RUNS["td3"] | options | {"steps": 110, "eval_every": 110}
    expected = train(tmp_path / "whole", run)
    with pytest.raises(Stopped):
        train(tmp_path / "run", run, callbacks=[StopAt(checkpoint=2 if "envs" in options else 4)])
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == expected


def test_a_pipelined_run_is_the_same_on_two_threads(wholes, tmp_path):
    """Whoever runs many tests at once gives this process a single one."""
    script = """
        import sys, sparl
        from environments import OFTEN, TINY
        given = OFTEN | {"pipeline": "on", "out": sys.argv[1]}
        sparl.train("environments:Point-v0", TINY, sparl.RNM("2:4", interval=15), **given)
    """
    process = python(script, str(tmp_path / "two"), NPROC="2")
    assert process.communicate(timeout=120)[1] == ""
    assert outcome(tmp_path / "two") == wholes["td3"]


def test_an_action_is_chosen_by_the_weights_that_are_held_whatever_updates_do():
    columns = Columns(3, 2)
    agent = sparl.TD3(hidden=(16, 16), batch_size=8, learning_rate=1e-2, policy_delay=1)
    engine, rng = Engine(agent, sparl.RNM("2:4"), columns, seed=0), np.random.default_rng(0)

    def explored() -> Any:
        return engine.explore(np.ones((1, 3), np.float32), 0, np.random.default_rng(1))

    before = explored()
    engine.hold()
    for _ in range(2):
        engine.update(rows(rng, 8, columns))
        np.testing.assert_array_equal(explored(), before)
    engine.hold()  # those of an update that may still run
    engine.update(rows(rng, 8, columns))
    held = explored()
    engine.release()
    newest = explored()
    assert not np.array_equal(before, held)
    assert not np.array_equal(held, newest)
    engine.hold()
    engine.restructure("reselect", at(0.5))
    restructured = explored()
    engine.release()
    np.testing.assert_array_equal(restructured, explored())


@pytest.mark.parametrize(
    "agent, options, message",
    [
        (TINY, {"replay": "logs.npz", "offline": True}, "with offline there are no steps"),
        (TINY, {"actors": 2}, "actors do so anyway"),
        (TINY_ON_POLICY, {"env": STEPS}, "primal_dual learns from what its newest policy"),
        (replace(TINY, train_unit="episodes"), {}, "with train_unit episodes it stands still"),
    ],
)
def test_a_pipeline_where_nothing_is_stepped_meanwhile_is_refused(
    agent, options, message, tmp_path
):
    with pytest.raises(BadValue, match=message):
        run = RunConfig(**{"env": POINT, "pipeline": "on"} | options)
        Trainer(RunFolder(tmp_path / "run"), run, agent, RNM, quiet=True)
    assert not (tmp_path / "run").exists()
