"""Observations normalised: the statistics, who uses them, what is saved and exported of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edits import edit
from environments import OFTEN, TINY, TINY_DQN
from hypothesis import given
from hypothesis import strategies as st
from interruptions import StopAt, Stopped, outcome
from policies import observations, policy_like
from support import rows, same_bits

import sparl
from sparl import methods
from sparl.engine import Engine
from sparl.errors import BadFile, BadValue
from sparl.exporters import CompiledPolicy, CProgram, compiler, device_network, onnx
from sparl.methods import Dense
from sparl.networks import EPSILON, Normalization, RunningStatistics
from sparl.policy import Policy
from sparl.replay import Columns, dynamic
from sparl.storage import RunFolder
from sparl.training import inspect, snapshot

POINT, STEPS = "environments:Point-v0", "environments:Steps-v0"
FAR = np.array([300.0, -20.0, 0.0, 7.0], np.float32), np.array([0.1, 5.0, 1.0, 0.0], np.float32)
"""Means and deviations of entries that a network could not learn from as they are; the last never
changes."""


def far(rng: np.random.Generator, count: int) -> np.ndarray:
    mean, deviation = FAR
    return (mean + deviation * rng.normal(size=(count, 4))).astype(np.float32)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_statistics_do_not_depend_on_how_observations_are_batched(sizes, seed):
    seen = far(np.random.default_rng(seed), sum(sizes))
    statistics = RunningStatistics.start(4)
    for batch in np.split(seen, np.cumsum(sizes)[:-1]):
        # One observation alone comes without an axis of the batch.
        statistics = statistics.including(batch[0] if len(batch) == 1 else batch)
    exact = seen.astype(np.float64)
    assert statistics.count == len(seen)
    np.testing.assert_allclose(statistics.mean, exact.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(statistics.variance, exact.var(axis=0), rtol=1e-9, atol=1e-12)
    deviation = np.sqrt(exact.var(axis=0) + EPSILON)
    wanted = (exact - exact.mean(axis=0)) / deviation
    # What float32 leaves of a mean, in deviations.
    room = np.spacing(np.abs(exact.mean(axis=0)).astype(np.float32)) / deviation
    error = np.abs(statistics.normalization(seen) - wanted)
    assert (error <= room + 1e-5 * (1 + np.abs(wanted))).all()


def test_the_variance_is_accurate_far_from_0():
    """Sums of squares would have lost it in the rounding of 1e18."""
    rng, statistics = np.random.default_rng(0), RunningStatistics.start(1)
    for _ in range(2000):
        statistics = statistics.including(np.array([1e9 + rng.integers(-1, 2) * 64], np.float32))
    assert statistics.variance == pytest.approx(64**2 * 2 / 3, rel=0.05)


def test_normalisation_is_the_identity_at_first_and_zeroes_constant_entries():
    nothing = RunningStatistics.start(4)
    x = far(np.random.default_rng(0), 5)
    np.testing.assert_allclose(nothing.normalization(x), x, rtol=1e-6)
    seen = nothing.including(x).normalization(x)
    assert (seen[:, 3] == 0).all() and np.abs(seen[:, :3]).max() > 0.5


def test_what_is_far_from_the_mean_is_clipped():
    engine = Engine(TINY_DQN, Dense(), Columns(1, 3, True), 0, True, clip_observations=2.0)
    engine.observe(np.float32([[-1.0], [1.0]]))
    shown = engine.normalized(np.float32([[-9.0], [0.5], [9.0]]))
    np.testing.assert_allclose(shown, [[-2.0], [0.5], [2.0]], rtol=1e-6)
    with pytest.raises(BadValue, match="clip_observations is 2: only normalised ones"):
        sparl.RunConfig(POINT, clip_observations=2.0)


def test_an_engine_that_normalises_equals_one_that_gets_normalised_observations():
    """Acting, updates and the gradients that a method asks for."""
    agent, columns = TINY_DQN, Columns(4, 3, True)
    rng = np.random.default_rng(0)
    method = methods.RigL(sparsity=0.5, interval=1)
    one = Engine(agent, method, columns, 0, normalize_observations=True)
    other = Engine(agent, method, columns, 0)
    for number in range(4):
        for observation in far(rng, 30):
            one.observe(observation)
            other.observe(observation)
        assert one.normalization is not None and other.normalization is None
        batch = rows(rng, agent.batch_size, columns)
        batch[:, :4], batch[:, columns.reward + 1 : -2] = far(rng, 8), far(rng, 8)
        shown = batch.copy()
        for first in (0, columns.reward + 1):
            shown[:, first : first + 4] = one.normalization(batch[:, first : first + 4])
        x = far(rng, 9)
        np.testing.assert_allclose(one.act(x), other.act(one.normalization(x)), atol=1e-5)
        explored = [
            engine.explore(seen, 1000, np.random.default_rng(number))
            for engine, seen in ((one, x), (other, one.normalization(x)))
        ]
        np.testing.assert_allclose(*explored, atol=1e-5)
        one.update(batch)
        other.update(shown)
        stage = method.stage(one.updates, 100)
        moment = methods.TrainingProgress(one.updates, 100)
        figures = [engine.restructure(stage, moment) for engine in (one, other)]
        assert figures[0] == figures[1]
    for name, part in one.learner.parts.items():
        np.testing.assert_allclose(part.values, other.learner.parts[name].values, atol=1e-4)
    assert not np.allclose(one.act(x), other.act(x), atol=1e-2) or columns.discrete


def test_replay_drift_normalises_the_stored_observations():
    """Which is as the environment gave it."""
    engine = Engine(TINY, Dense(), Columns(4, 2), 0, normalize_observations=True)
    replay = sparl.replay.Replay(20, Columns(4, 2))
    for x in far(np.random.default_rng(0), 20):
        engine.observe(x)
    for x in far(np.random.default_rng(1), 20):
        replay.add(x, engine.act(x[None])[0], 0.0, x, False, False)
    assert dynamic.drift(replay, engine.act) < 1e-10


def normalized(
    name: str, discrete: bool = False, clip: float | None = None
) -> tuple[Policy, np.ndarray]:
    """That policy, trained on observations far from 0, and 3000 of these."""
    policy = policy_like(name, discrete)
    size = policy.spaces.observation_size
    mean = np.linspace(-50.0, 200.0, size).astype(np.float32)
    scale = np.geomspace(0.02, 30.0, size).astype(np.float32)

    def raw(count: int, seed: int) -> np.ndarray:
        return mean + observations(size, count, seed) / scale

    normalization = Normalization(mean, scale, clip)
    return Policy(policy.network, policy.spaces, raw(8, 0), normalization), raw(3000, 1)


@pytest.mark.parametrize("discrete", [False, True])
def test_a_saved_policy_takes_raw_observations(discrete, tmp_path):
    clip = 1.5 if discrete else None
    policy, tried = normalized("mixed", discrete, clip)
    assert policy.normalization is not None
    assert (np.abs(policy.normalization(tried)).max() == 1.5) == discrete
    plain = policy_like("mixed", discrete)
    wanted = plain.predict(policy.normalization(tried))[0]
    assert same_bits(policy.predict(tried)[0], wanted)
    policy.save(tmp_path)
    again = Policy.load(tmp_path)
    assert same_bits(again.predict(tried)[0], wanted)
    assert same_bits(again.golden, policy.golden)
    assert np.abs(policy.golden).max() > 50  # as they are

    content = json.loads((tmp_path / "policy.json").read_text())
    clipped = {"clip": 1.5} if discrete else {}
    assert content["observation"] == {"shape": [300], "normalized": True} | clipped
    plain.save(tmp_path / "plain")
    content = json.loads((tmp_path / "plain" / "policy.json").read_text())
    assert content["observation"] == {"shape": [300]}


def test_a_policy_file_without_its_normalisation_is_refused(tmp_path):
    policy, _ = normalized("mixed")
    policy.save(tmp_path)
    edit(tmp_path / "policy.json", lambda content: content["observation"].pop("normalized"))
    with pytest.raises(BadFile, match="differ from the golden ones"):
        Policy.load(tmp_path)


@pytest.mark.skipif(compiler() is None, reason="needs a C compiler: cc, gcc or clang")
@pytest.mark.parametrize(
    "dtype, most", [("float32", 1e-5), ("float16", 1e-2), ("int8", 0.05)], ids=lambda p: str(p)
)
@pytest.mark.parametrize(
    "name, discrete, clip",
    [("mixed", False, None), ("blocks", False, 1.5), ("dense", True, None), ("dense", False, 1.5)],
)
def test_exported_c_normalises_as_predict_does(name, discrete, clip, dtype, most, tmp_path):
    policy, tried = normalized(name, discrete, clip)
    network = device_network(policy, dtype, tried)
    made = CProgram(policy, network)
    made.write(tmp_path)
    compiled = CompiledPolicy(made, tmp_path, tmp_path / "policy.so", compiler())
    assert compiled.failed_test() == 0
    outputs = policy.outputs(tried)
    error = np.abs(compiled.outputs(tried) - outputs)
    assert error.max() < most * max(1.0, np.abs(outputs).max())
    found = np.abs(compiled.outputs(tried) - network.outputs(tried))
    assert found.max() <= network.tolerance(outputs)
    assert "(normalised inside)" in made.files()["policy.h"]
    if clip is not None:
        return
    # A mean, and for floating point a scale, which int8 has in its steps.
    bare = CProgram(policy_like(name, discrete), device_network(policy_like(name), dtype, tried))
    assert made.nbytes - bare.nbytes == 4 * policy.spaces.observation_size * (1 + (dtype != "int8"))


@pytest.mark.parametrize("discrete", [False, True])
def test_exported_onnx_normalises_as_predict_does(discrete):
    policy, tried = normalized("dense", discrete, None if discrete else 1.5)
    session = onnx.session(onnx.model(policy).SerializeToString())
    (action,) = session.run(["action"], {"observation": tried})
    wanted = policy.predict(tried)[0]
    if discrete:
        assert (action == wanted).mean() > 0.999
    else:
        np.testing.assert_allclose(action, wanted, atol=1e-4)


def train(out, agent=TINY, env=POINT, **options):
    options = OFTEN | {"normalize_observations": True} | options
    return sparl.train(env, agent, sparl.RNM("2:4", interval=15), out=out, **options).policy


@pytest.mark.parametrize("agent, env", [(TINY, POINT), (TINY_DQN, STEPS)], ids=["td3", "dqn"])
def test_a_run_that_normalises_resumes_bit_for_bit(agent, env, tmp_path):
    train(tmp_path / "whole", agent, env)
    with pytest.raises(Stopped):
        train(tmp_path / "run", agent, env, callbacks=[StopAt(checkpoint=3)])
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    train(tmp_path / "plain", agent, env, normalize_observations=False)
    assert outcome(tmp_path / "plain")["policy"] != outcome(tmp_path / "whole")["policy"]


def test_a_run_counts_every_observation_that_it_acted_on(tmp_path):
    policy = train(tmp_path / "run")
    engine, _ = snapshot(RunFolder(tmp_path / "run"))
    replay = sparl.replay.Replay(1000, Columns(2, 1))
    RunFolder(tmp_path / "run").checkpoints.load_replay(200, replay)
    stored = replay.span(0, 200)[:, :2].astype(np.float64)
    assert engine.statistics is not None and policy.normalization is not None
    np.testing.assert_allclose(engine.statistics.mean, stored.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(engine.statistics.variance, stored.var(axis=0), rtol=1e-9)
    for one, other in zip(policy.normalization, engine.statistics.normalization, strict=True):
        assert same_bits(one, other)
    assert same_bits(policy.golden, replay.span(192, 200)[:, :2])
    for path in (tmp_path / "run", tmp_path / "run" / "policy"):
        assert inspect(path)["normalized_observations"]


def test_unfinished_and_pruned_runs_keep_the_statistics(tmp_path):
    with pytest.raises(Stopped):
        train(tmp_path / "run", callbacks=[StopAt(checkpoint=3)])
    engine, _ = snapshot(RunFolder(tmp_path / "run"))
    assert engine.statistics is not None and engine.statistics.count == 120
    x = np.array([[0.3, 0.5]], np.float32)
    np.testing.assert_allclose(
        sparl.load(tmp_path / "run").policy.act(x), engine.act(x), rtol=1e-5, atol=1e-6
    )
    sparl.prune(
        tmp_path / "run", sparl.RNM("2:4", interval=15), steps=40, out=tmp_path / "less", quiet=True
    )
    pruned, _ = snapshot(RunFolder(tmp_path / "less"))
    assert pruned.statistics is not None and pruned.statistics.count == 160
    assert sparl.load(tmp_path / "less").policy.normalization is not None


def test_import_sb3_refuses_normalised_observations(tmp_path):
    file = Path(__file__).parents[1] / "helpers" / "sb3_files" / "td3.zip"
    with pytest.raises(BadValue, match=r"normalize_observations is True.*Leave it out"):
        sparl.import_sb3(file, POINT, out=tmp_path / "run", normalize_observations=True)
    assert not (tmp_path / "run").exists()


def test_normalisation_lets_an_agent_learn_from_observations_far_from_0(tmp_path):
    """Of seeds 0 to 3 the last evaluations came to -1.5, -1.7, -1.2 and -1.0, and without it none
    came above -24: the policy then hardly knows where it is."""
    agent = replace(TINY, hidden=(32, 32), learning_rate=3e-3, batch_size=64, learning_starts=200)
    options = {"steps": 1500, "eval_every": 500, "eval_episodes": 10, "checkpoint_every": 5000}
    returns = {}
    for normalize in (False, True):
        out = tmp_path / str(normalize)
        train(out, agent, "environments:Far-v0", normalize_observations=normalize, **options)
        summary = RunFolder(out).read_summary()
        assert summary is not None
        returns[normalize] = [found["return"] for found in summary["evals"]]
    assert returns[True][-1] > -5 > -20 > max(returns[False])
