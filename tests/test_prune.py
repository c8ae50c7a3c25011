"""`sparl prune`: a new run that begins with what another has learned."""

from __future__ import annotations

import json
import shutil
from typing import Any

import jax
import numpy as np
import pytest
from environments import OFTEN, TINY_DQN, TINY_SAC
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl import methods
from sparl.cli import main
from sparl.errors import BadRun, BadValue
from sparl.layouts import Dense
from sparl.methods.common import neurons
from sparl.storage import RunFolder
from sparl.training import inspect, snapshot

STEPS = "environments:Steps-v0"
AGENTS = {"sac": ("environments:Point-v0", TINY_SAC), "dqn": (STEPS, TINY_DQN)}
TO_ZERO = methods.DSP(interval=10, begin=0.1, end=0.6, tolerance=1.0)


@pytest.fixture(scope="module", params=AGENTS)
def trained(request, tmp_path_factory):
    """A finished run of each agent."""
    env, config = AGENTS[request.param]
    out = tmp_path_factory.mktemp("trained") / "run"
    sparl.train(env, config, out=out, **OFTEN)
    return out


@pytest.fixture(scope="module")
def trained_dqn(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    sparl.train(STEPS, TINY_DQN, out=out, **OFTEN)
    return out


class Begins(sparl.Callback):
    """The first checkpoint, before anything was learned."""

    def __init__(self) -> None:
        self.step, self.path = -1, None

    def on_checkpoint(self, step, path) -> None:
        if self.path is None:
            self.step, self.path = step, path
            self.engine = snapshot(RunFolder(path.parent.parent))[0]
            self.content = json.loads((path / "state.json").read_text())


def arrays(engine: Any) -> dict[str, np.ndarray]:
    """What networks, targets and optimizers hold."""
    return {
        f"{name}{jax.tree_util.keystr(path)}": np.asarray(leaf)
        for name, part in engine.learner.parts.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(part)
    }


def test_it_begins_exactly_where_the_other_run_stands(trained, tmp_path):
    before = {p: p.read_bytes() for p in sorted(trained.rglob("*")) if p.is_file()}
    begins = Begins()
    sparl.prune(trained, TO_ZERO, steps=80, out=tmp_path / "small", callbacks=[begins], quiet=True)
    assert begins.step == 0
    source, state = snapshot(RunFolder(trained))
    expected, got = arrays(source), arrays(begins.engine)
    assert expected.keys() == got.keys()
    for name, array in expected.items():
        assert np.array_equal(array, got[name]), name
    assert begins.content["replay"]["added"] == state.step
    assert begins.content["state"]["best_recent"] == state.best_recent
    # The other run stays as it is.
    assert before == {p: p.read_bytes() for p in sorted(trained.rglob("*")) if p.is_file()}
    # It learned on from the first step, and ended small.
    config, agent, method, _ = RunFolder(tmp_path / "small").read_config()
    assert (config.steps, agent.learning_starts, method) == (80, 0, TO_ZERO)
    assert "step-000000200" in config.begun_from
    engine, _ = snapshot(RunFolder(tmp_path / "small"))
    assert engine.updates == 80
    small = sparl.load(tmp_path / "small").policy.network
    assert neurons.widths(small) < neurons.widths(sparl.load(trained).policy.network)


@pytest.mark.parametrize(
    "method",
    [TO_ZERO, methods.RNM("2:4", interval=15), methods.Magnitude(0.7, prunings=2)],
    ids=lambda method: method.name,
)
def test_it_resumes_bit_for_bit_without_the_other_run(trained_dqn, method, tmp_path):
    out = tmp_path / "trained"
    shutil.copytree(trained_dqn, out)
    sparl.prune(out, method, steps=120, out=tmp_path / "whole", quiet=True)
    with pytest.raises(Stopped):
        stop = StopAt(checkpoint=2)
        sparl.prune(out, method, steps=120, out=tmp_path / "run", callbacks=[stop], quiet=True)
    out.rename(tmp_path / "elsewhere")
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert outcome(tmp_path / "run")["restructures"]


def test_rows_of_n_of_m_are_chosen_in_what_was_left_by_dsp(trained_dqn, tmp_path):
    """Structured pruning, then N:M on what is left; no weight is scaled up, `keep_norm` or not."""
    sparl.prune(trained_dqn, TO_ZERO, steps=60, out=tmp_path / "small", quiet=True)
    small, begins = sparl.load(tmp_path / "small").policy.network, Begins()
    method = methods.RNM("2:4", sparse_layers="all")
    out = tmp_path / "sparse"
    sparl.prune(tmp_path / "small", method, steps=40, out=out, callbacks=[begins], quiet=True)
    part, name = begins.engine.agent.acting
    begun = begins.engine.learner.networks(part)[name]
    assert neurons.widths(begun) == neurons.widths(small)
    assert not any(isinstance(layer, Dense) for layer in begun.layers)
    for layer, old in zip(begun.layers[:-1], small.layers, strict=False):
        weight = np.asarray(layer.to_dense())
        assert np.array_equal(weight, np.asarray(old.to_dense()) * (weight != 0))
    report = inspect(out)["networks"][name]
    assert report["neurons_total"] == sum(TINY_DQN.hidden) > report["neurons"]


def test_renormalisation_does_not_begin_anew():
    agent = sparl.CrossQ(learning_starts=100, renorm_from=5000)
    assert agent.continued(2100).renorm_from == 3000
    assert agent.continued(9000).renorm_from == 0
    assert sparl.SAC().continued(9000).renorm_from is None


def test_the_command_line_prunes_and_tells_how_to_go_on(trained_dqn, tmp_path, capsys):
    options = ["--steps", "40", "--out", str(tmp_path / "run")]
    assert main(["prune", str(trained_dqn), "--method", "rnm", "--pattern", "1:4", *options]) == 0
    method = RunFolder(tmp_path / "run").read_config()[2]
    assert method == sparl.RNM("1:4", keep_norm=False)  # the weights have their size already
    told = capsys.readouterr().out
    assert f"sparl inspect {tmp_path / 'run'}" in told
    before, after = (
        next(iter(inspect(path / "policy")["networks"].values()))["weights_kept"]
        for path in (trained_dqn, tmp_path / "run")
    )
    (row,) = (line.split() for line in told.splitlines() if line.strip().startswith("weights"))
    assert row == ["weights", f"{before:,}", f"{after:,}"] and after < before
    for row in ("bytes", "microseconds per action", "mean return", "the same ones"):
        assert row in told
    assert "the policy grew" not in told
    # A method that begins with dense layers, and has no time to prune them.
    again = ["--method", "dsp", "--steps", "10", "--out", str(tmp_path / "again")]
    assert main(["prune", str(tmp_path / "run"), *again]) == 0
    assert "WARNING: the policy grew" in capsys.readouterr().out


def test_what_cannot_be_is_refused(trained_dqn, tmp_path, capsys):
    out = trained_dqn
    with pytest.raises(BadValue, match="set does not choose by what a network has learned"):
        sparl.prune(out, methods.SET(), quiet=True)
    with pytest.raises(BadRun, match="already holds another run"):
        sparl.prune(out, TO_ZERO, out=out, quiet=True)
    with pytest.raises(BadRun, match="is no run folder of sparl"):
        sparl.prune(tmp_path / "nothing", TO_ZERO, quiet=True)
    assert main(["prune", str(out), "--method", "set"]) == 1
    assert "set does not choose by what a network has learned" in capsys.readouterr().err
