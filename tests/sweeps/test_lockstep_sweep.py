"""Seeds in lockstep leave run folders as runs alone do, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
from typing import Any

import environments
import numpy as np
import pytest

import sparl
from sparl.analysis import tables
from sparl.cli import main
from sparl.errors import BadValue
from sparl.storage import RunFolder
from sparl.sweeps import Study
from sparl.training import Interrupted, snapshot

RAGGED = "environments:Ragged-v0"
"""Episodes of 2 to 12 steps, so that seeds save at different steps."""
OPTIONS = {"hidden": [16, 16], "batch_size": 8, "learning_starts": 40, "eval_every": 50}
OPTIONS |= {"eval_episodes": 2, "checkpoint_every": 30, "log_every": 50}
VARIANT = {"method": "rnm", "pattern": "2:4", "interval": 25, "policy_delay": 1}
STUDY = {"envs": RAGGED, "variants": {"v": VARIANT}, "seeds": "0-2", "options": OPTIONS}
STUDY |= {"lockstep": True}


def sweep(out, steps, **changes):
    return sparl.sweep(STUDY | {"steps": steps} | changes, out=out, quiet=True)


def left(run):
    """All numbers that a run has learned, and its evaluations."""
    engine, state = snapshot(RunFolder(run))
    parts = {n: np.asarray(part.values) for n, part in engine.learner.parts.items()}
    return parts, state.evaluations


def test_seeds_in_lockstep_come_to_what_each_comes_to_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "save", lambda *_: None)  # pictures take seconds
    whole = sweep(tmp_path / "whole", 120)
    assert [path.name for path in whole.done] == ["v-0", "v-1", "v-2"] and not whole.failed
    # A run alone: the same folder, the same numbers up to rounding.
    job = Study.of(STUDY | {"steps": 120}).jobs()[1]
    options = {name: value for name, value in vars(job.run).items() if name != "env"}
    sparl.train(RAGGED, job.agent, job.method, out=tmp_path / "alone", quiet=True, **options)
    paths = tmp_path / "alone", whole.done[1]
    configs, names = zip(
        *(((p / "config.json").read_text(), sorted(f.name for f in p.iterdir())) for p in paths),
        strict=True,
    )
    assert configs[0] == configs[1] and names[0] == names[1]
    (alone, earned), (together, earns) = map(left, paths)
    for part, values in alone.items():
        np.testing.assert_allclose(together[part], values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(earns, earned, rtol=1e-3)
    # Stopped, each saves at the end of its episode; the same call goes on with all of them.
    step, taken = environments.Ragged.step, []

    def stopping(self, action):
        taken.append(1)
        if len(taken) == 250:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, action)

    monkeypatch.setattr(environments.Ragged, "step", stopping)
    with pytest.raises(Interrupted, match="3 of 3 runs are left; the same call goes on"):
        sweep(tmp_path / "stopped", 120)
    place = tmp_path / "stopped" / whole.done[0].parent.name
    saved = {RunFolder(place / f"v-{seed}").checkpoints.steps()[-1] for seed in range(3)}
    assert len(saved) > 1 and max(saved) < 120
    resumed = sweep(tmp_path / "stopped", 120)
    for path, before in zip(resumed.done, whole.done, strict=True):
        (parts, evaluations), (expected, evaluations_before) = left(path), left(before)
        assert evaluations == evaluations_before
        assert all(np.array_equal(parts[name], expected[name]) for name in expected)
    # One of them alone goes on as any run does; one that is broken fails, and no other one.
    assert sparl.resume(whole.done[0], steps=140, quiet=True).folder == whole.done[0]
    (whole.done[1] / "checkpoints" / "step-000000120" / "learner.safetensors").write_bytes(b"")
    more = sweep(tmp_path / "whole", 140)
    assert [path.name for path in more.done] == ["v-0", "v-2"]
    assert "learner.safetensors" in more.failed[0].read_text()


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning")  # of envpool
@pytest.mark.parametrize("vectorization", ["async", "envpool"])
def test_environments_elsewhere_give_what_they_give_here(vectorization, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "save", lambda *_: None)
    changes: dict[str, Any] = {"envs": RAGGED, "seeds": "0-1"}
    if vectorization == "envpool":
        pytest.importorskip("envpool")
        changes |= {"envs": "Pendulum-v1"}
    options = OPTIONS | {"vectorization": vectorization, "eval_async": True}
    elsewhere = changes | {"options": options}
    here = sweep(tmp_path / "here", 60, **changes)
    there = sweep(tmp_path / "there", 60, **elsewhere)
    for one, other in zip(here.done, there.done, strict=True):
        (parts, evaluations), (expected, before) = left(other), left(one)
        if vectorization == "async":
            assert evaluations == before
            assert all(np.array_equal(parts[name], expected[name]) for name in expected)
        else:
            assert len(evaluations) == len(before)


def test_environments_of_all_seeds_take_their_steps_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "save", lambda *_: None)
    met = tmp_path / "met"
    met.mkdir()
    options = OPTIONS | {"vectorization": "async", "learning_starts": 5}
    options |= {"env_kwargs": {"folder": str(met), "count": 3}}
    done = sweep(tmp_path / "out", 12, envs="environments:Together-v0", options=options)
    assert not done.failed and len(list(met.glob("12-*"))) == 3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"variants": {"v": {"method": "dsp"}}}, "variant v .* method is dsp: .*jobs trains seeds"),
        ({"options": {"actors": 2}}, "actors is 2: .*Leave lockstep out"),
        ({"options": {"eval_env": "shared"}}, "eval_env is shared: .*own"),
        ({"lockstep": "yes"}, "lockstep is 'yes': it is true or false"),
        ({"variants": {}, "search": {"trials": 1}}, "lockstep is True: .*not for a search"),
    ],
)
def test_what_cannot_learn_in_lockstep_is_refused(changes, message, tmp_path):
    with pytest.raises(BadValue, match=message):
        sweep(tmp_path / "out", 10, **changes)
    assert not (tmp_path / "out" / "environments-Ragged-v0").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--lockstep"], "lockstep is given without seeds"),
        (["--lockstep", "--seeds", "0-1", "--jobs", "2"], "jobs is 2: in lockstep"),
    ],
)
def test_the_command_refuses_what_does_not_go_with_it(words, message, capsys):
    assert main(["train", RAGGED, *words]) == 1
    assert message in capsys.readouterr().err
