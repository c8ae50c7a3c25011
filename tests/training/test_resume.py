"""A run that is stopped anywhere and resumed ends with the bytes of one that never was."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from environments import OFTEN, TINY, TINY_CROSSQ, TINY_DQN, TINY_SAC, TINY_XQC
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl import methods
from sparl.errors import BadRun
from sparl.methods import Dense
from sparl.storage import RunFolder
from sparl.training import snapshot

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
METHODS = {
    "dense": Dense(),
    "rnm": sparl.RNM("2:4", interval=15),
    "rnm-straight-through": sparl.RNM("2:4", interval=15, straight_through=True),
}
RUNS = {
    **{f"td3-{name}": (POINT, TINY, method) for name, method in METHODS.items()},
    "td3-3-step": (POINT, replace(TINY, n_step=3, n_step_from=100), METHODS["dense"]),
    "xqc-rnm": (POINT, TINY_XQC, METHODS["rnm"]),
    "crossq-rnm": (POINT, replace(TINY_CROSSQ, policy_average=20), METHODS["rnm"]),
    "dqn-rnm": (STEPS, replace(TINY_DQN, n_step=3), METHODS["rnm"]),
    "td3-simba": (POINT, replace(TINY, network="simba", hidden=(16,)), METHODS["rnm"]),
    "dqn-d2rl": (STEPS, replace(TINY_DQN, network="d2rl"), methods.SET(sparsity=0.5, interval=15)),
    "sac-densenet-ofenet": (
        POINT,
        replace(
            TINY_SAC,
            network="densenet",
            activation="swish",
            representation="ofenet",
            representation_units=16,
            representation_layers=2,
            representation_updates=20,
        ),
        METHODS["rnm"],
    ),
    "dqn-copied": (STEPS, replace(TINY_DQN, tau=1.0, target_update_interval=30), METHODS["dense"]),
}


def train(out: Path, method: Any, env: str = POINT, agent: Any = TINY, **options: Any) -> None:
    sparl.train(env, agent, method, out=out, **OFTEN | options)


STOPS: dict[str, dict[str, int]] = {
    "early": {"checkpoint": 1},
    "late": {"checkpoint": 3},
    "between": {"evaluation": 150},
}


# Where a run may be stopped does not depend on all that it may be. Stops of one run are together:
# what it gives uninterrupted is made once for them.
CASES = [
    (name, stop)
    for name in RUNS
    for stop in (STOPS if name in ("td3-rnm", "dqn-rnm") else ("late",))
]


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """The options of a run, and what it gives when nothing interrupts it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    options = dict(zip(("env", "agent", "method"), RUNS[request.param], strict=True))
    train(out, **options)
    return options, outcome(out)


@pytest.mark.parametrize("whole, stop", CASES, indirect=["whole"])
def test_a_stopped_and_resumed_run_ends_with_the_same_bytes(whole, stop, tmp_path):
    options, expected = whole
    with pytest.raises(Stopped):
        train(tmp_path / "run", **options, callbacks=[StopAt(**STOPS[stop])])
    assert not (tmp_path / "run" / "policy").exists()
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == expected


AGENTS = {"td3": (POINT, TINY), "sac": (POINT, TINY_SAC), "dqn": (STEPS, TINY_DQN)}
SPARSE: dict[str, Any] = {"sparsity": 0.7, "actor_sparsity": 0.6}
OTHERS = (
    methods.Static(**SPARSE),
    methods.SET(interval=15, drop_fraction=0.2, **SPARSE),
    methods.RigL(interval=15, **SPARSE),
    methods.RLx2(interval=15, **SPARSE),
    methods.Magnitude(prunings=2, **SPARSE),
    methods.Iterative(prunings=2, **SPARSE),
    methods.ASP(prune_at=0.4, swaps=50),
    methods.DSP(interval=15, begin=0.1, end=0.5, tolerance=1.0),
    methods.GST(interval=15, smallest=2, sparsity=0.3, increment=0.15, tolerance=1.0),
)


# A method does not know of agents, nor an agent of methods: each of both, but not each with each.
PAIRS = list(zip(itertools.cycle(AGENTS), OTHERS, strict=False))


@pytest.mark.parametrize("agent, method", PAIRS, ids=lambda of: getattr(of, "name", of))
def test_all_that_a_method_remembers_is_resumed(agent, method, tmp_path):
    """Stopped at step 80 of 120: between two prunings, before the topology has settled."""
    env, config = AGENTS[agent]
    if method.name != "asp":  # which needs a layer of 16 inputs: fewer layers compile sooner
        config = replace(config, hidden=(16,))
    train(tmp_path / "whole", method, env, config, steps=120)
    with pytest.raises(Stopped):
        stop = StopAt(checkpoint=2)
        train(tmp_path / "run", method, env, config, steps=120, callbacks=[stop])
    sparl.resume(tmp_path / "run", quiet=True)
    expected = outcome(tmp_path / "whole")
    assert (method.name == "static") == (expected["restructures"] == "")
    assert outcome(tmp_path / "run") == expected


def test_a_run_resumes_between_two_cuts(tmp_path, monkeypatch):
    """Cuts that pay only over long runs are free here."""
    monkeypatch.setattr("sparl.methods.dsp.COMPILATION", 0)
    method = methods.DSP(interval=25, begin=0.1, tolerance=1.0)
    train(tmp_path / "whole", method, STEPS, TINY_DQN)
    with pytest.raises(Stopped):
        train(tmp_path / "run", method, STEPS, TINY_DQN, callbacks=[StopAt(checkpoint=3)])
    stopped = snapshot(RunFolder(tmp_path / "run"))[0].shapes["q"]
    sparl.resume(tmp_path / "run", quiet=True)
    ended = snapshot(RunFolder(tmp_path / "run"))[0].shapes["q"]
    assert TINY_DQN.hidden[0] > stopped[0][0] > ended[0][0]
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_run_stopped_again_before_its_next_restructuring_keeps_the_rows_of_earlier_ones(tmp_path):
    """Restructurings at steps 140 and 240, checkpoints at 160 and 200 between them."""
    method = sparl.RNM("2:4", interval=100)
    train(tmp_path / "whole", method, steps=300)
    with pytest.raises(Stopped):
        train(tmp_path / "run", method, steps=300, callbacks=[StopAt(checkpoint=4)])
    with pytest.raises(Stopped):
        sparl.resume(tmp_path / "run", callbacks=[StopAt(checkpoint=1)], quiet=True)
    sparl.resume(tmp_path / "run", quiet=True)
    expected = outcome(tmp_path / "whole")
    assert expected["restructures"].count("\n") == 3
    assert outcome(tmp_path / "run") == expected


@pytest.mark.parametrize("whole", ["td3-rnm"], indirect=True)
def test_a_run_stopped_before_its_first_checkpoint_starts_over(whole, tmp_path):
    options, expected = whole
    stop = StopAt(evaluation=100)
    with pytest.raises(Stopped):
        train(tmp_path / "run", **options, checkpoint_every=500, callbacks=[stop])
    assert (tmp_path / "run" / "metrics.csv").exists()
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == expected


def test_a_wrapped_replay_resumes_exactly(tmp_path):
    train(tmp_path / "whole", METHODS["rnm"], buffer_size=70)
    with pytest.raises(Stopped):
        train(tmp_path / "run", METHODS["rnm"], buffer_size=70, callbacks=[StopAt(checkpoint=4)])
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_replay_that_was_shrunk_resumes_exactly(tmp_path, monkeypatch):
    """Before the stop and after it, and with segments that hold dropped transitions."""
    monkeypatch.setattr("sparl.replay.dynamic.EVERY", 30)
    sizes = []
    shrink = sparl.replay.dynamic.shrink

    def noted(replay, *arguments):
        shrink(replay, *arguments)
        sizes.append(replay.size)

    monkeypatch.setattr("sparl.replay.dynamic.shrink", noted)
    options: dict[str, Any] = {"dynamic_replay": True, "buffer_min": 50, "buffer_drift": 0.0}
    agent = replace(TINY, n_step=3)
    train(tmp_path / "whole", METHODS["rnm"], agent=agent, **options)
    assert sizes[:3] == [30, 54, 76]  # 10 % of 60, then of 84
    with pytest.raises(Stopped):
        stop = StopAt(checkpoint=3)
        train(tmp_path / "run", METHODS["rnm"], agent=agent, callbacks=[stop], **options)
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    train(tmp_path / "without", METHODS["rnm"], agent=agent)
    assert outcome(tmp_path / "without")["policy"] != outcome(tmp_path / "whole")["policy"]


def test_an_older_checkpoint_can_be_chosen_by_its_path(tmp_path):
    train(tmp_path / "run", METHODS["rnm"])
    expected = outcome(tmp_path / "run")
    oldest = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[0]
    sparl.resume(oldest, quiet=True)
    assert outcome(tmp_path / "run") == expected


def test_a_finished_run_resumed_is_left_as_it_is(tmp_path):
    train(tmp_path / "run", Dense())
    expected = outcome(tmp_path / "run")
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == expected


def test_more_steps_prolong_a_run_exactly_where_it_ended_with_an_episode(tmp_path):
    train(tmp_path / "whole", METHODS["rnm"], steps=300)
    train(tmp_path / "run", METHODS["rnm"], steps=200)
    sparl.resume(tmp_path / "run", steps=300, quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_fewer_steps_than_were_taken_are_refused(tmp_path):
    train(tmp_path / "run", Dense())
    with pytest.raises(BadRun, match="at step 200 already: steps 100"):
        sparl.resume(tmp_path / "run", steps=100, quiet=True)


def test_equal_seeds_give_equal_runs_and_others_do_not(tmp_path):
    train(tmp_path / "a", Dense(), seed=3)
    train(tmp_path / "b", Dense(), seed=3)
    train(tmp_path / "c", Dense(), seed=4)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
    assert outcome(tmp_path / "a")["policy"] != outcome(tmp_path / "c")["policy"]
