"""DSP: who goes and when, what is cut, and that the small network is the one before the cut."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN, TINY_DQN, TINY_SAC
from support import adam_state, rows, with_random_moments

import sparl
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.learner import AgentState
from sparl.methods import COMPILATION, DSP, RUNNING, Plan, Returns, TrainingProgress
from sparl.methods.common import neurons
from sparl.replay import Columns
from sparl.training import inspect

AGENTS = {
    "sac": (replace(TINY_SAC, hidden=(12, 10)), Columns(3, 2)),
    "dqn": (replace(TINY_DQN, hidden=(12, 10)), Columns(4, 3, discrete=True)),
}
WELL, BADLY = Returns(10.0, 10.0, 0.0), Returns(7.0, 10.0, 0.0)
UPDATES = 10_000


def engine_of(agent: str, **options: Any) -> Engine:
    config, columns = AGENTS[agent]
    return Engine(config, DSP(**options), columns, seed=1)


def learned(engine: Engine, updates: int = 6) -> np.random.Generator:
    """After some updates, which give importance; the optimizer filled with random moments."""
    rng = np.random.default_rng(0)
    for _ in range(updates):
        engine.update(rows(rng, 8, engine.columns))
    engine.learner = with_random_moments(engine.learner, rng)
    return rng


def look(engine: Engine, progress: float, returns: Returns = WELL, stage: str = "look") -> dict:
    found = engine.restructure(stage, TrainingProgress(round(progress * UPDATES), UPDATES, returns))
    assert found is not None
    return found


def networks(engine: Engine) -> dict[str, Any]:
    learner = engine.learner
    return {n: net for part in learner.network_parts for n, net in learner.networks(part).items()}


def aligned(engine: Engine) -> dict[str, Any]:
    """Everything aligned with the weights of each part: values, targets, moments, as networks."""
    found = {}
    for part in engine.learner.network_parts:
        state, structure = engine.learner.parts[part], engine.learner.structures[part]
        adam = adam_state(state.optimizer)
        vectors = {"values": state.values, "mu": adam.mu, "nu": adam.nu}
        vectors |= {"target": state.target} if state.target.size else {}
        for kind, vector in vectors.items():
            for name, network in structure.networks(vector, state.indices).items():
                found[f"{name}.{kind}"] = network
    return found


def threshold(importance, alive, lost=0.0, fewest=0.0, limit=0.5, may=True):
    arrays = [jnp.asarray(a, jnp.float32) for a in (importance, alive, lost, fewest, limit)]
    mask, now = neurons.weeded(*arrays, jnp.asarray(may))
    return mask.tolist(), float(now)


def test_the_least_important_go_until_the_share_is_lost():
    everyone = [1.0] * 5
    # Shares 0.1, 0.3, 0.2, 0.15, 0.25: of at most a half, the smallest three.
    importance = [2.0, 6.0, 4.0, 3.0, 5.0]
    assert threshold(importance, everyone)[0] == [0, 1, 0, 0, 1]
    assert threshold(importance, everyone)[1] == pytest.approx(0.45)
    assert threshold(importance, everyone, limit=0.44)[0] == [0, 1, 1, 0, 1]
    # What went before counts: 0.4 + 0.6 (0.1) is 0.46, and 0.15 more would be 0.55.
    mask, lost = threshold(importance, everyone, lost=0.4)
    assert mask == [0, 1, 1, 1, 1] and lost == pytest.approx(0.46)


def test_what_is_off_stays_off_and_enough_stay_on():
    importance, alive = [2.0, 6.0, 4.0, 3.0, 5.0], [1.0, 1, 0, 1, 1]
    assert threshold(importance, alive, limit=1.0, fewest=2.0)[0] == [0, 1, 0, 0, 1]
    assert threshold(importance, alive, limit=1.0, fewest=2.5)[0] == [0, 1, 0, 1, 1]
    assert threshold(importance, alive, limit=1.0, fewest=9.0)[0] == alive
    assert threshold(importance, alive, limit=1.0, may=False)[0] == alive


def test_a_layer_without_importance_keeps_all():
    assert threshold([0.0] * 4, [1.0] * 4, limit=1.0) == ([1.0] * 4, 0.0)


def test_importance_is_the_moving_average_of_the_saliency():
    engine, rng = engine_of("dqn", penalty=0.0), np.random.default_rng(0)
    expected = np.zeros(22)
    for _ in range(3):
        batch = rows(rng, 8, engine.columns)
        before = networks(engine)["q"]
        rules = replace(engine.algorithm.rules(engine.learner), collect_gradients=True)
        state = AgentState(engine.learner.parts, {}, None, {}, rules, frozenset({"q"}))
        key = jax.random.key_data(jax.random.key(0))
        state, _ = engine.agent.update(state, engine.columns.split(jnp.asarray(batch)), key)
        found = neurons.saliency(before, state.gradients["q"]["q"])
        expected = 0.99 * expected + 0.01 * np.asarray(found)
        engine.update(batch)
    got = engine.method_state[RUNNING]["importance"]["q"]
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-9) and expected.max() > 1e-6


@pytest.mark.parametrize("agent", ["dqn", "sac"])
def test_the_small_networks_act_as_the_masked_ones_and_all_that_is_aligned_is_cut(agent):
    engine = engine_of(agent, epsilon=1.0, critic_epsilon=0.9, begin=0.1, penalty=0.0)
    rng = learned(engine)
    assert set(engine.shapes.values()) == set(engine.originals.values())
    first = look(engine, 0.3)
    masked, before = networks(engine), aligned(engine)
    on = {name: np.asarray(engine.method_state["alive"][name]) > 0 for name in masked}
    assert any(not mask.all() for mask in on.values())
    figures = look(engine, 0.5, stage="end")
    assert engine.shapes != engine.originals
    for name, small in networks(engine).items():
        layers = neurons.by_layer(jnp.asarray(on[name], jnp.float32), masked[name])
        kept = [np.flatnonzero(layer) for layer in layers]
        assert neurons.widths(small) == tuple(map(len, kept))
        assert figures[f"neurons_{name}"] == first[f"neurons_{name}"] == on[name].sum()
        x = jnp.asarray(rng.normal(size=(small.layers[0].in_features, 5)), jnp.float32)
        assert np.abs(small(x) - masked[name](x)).max() < 1e-6
        for kind in ("values", "target", "mu", "nu"):
            if f"{name}.{kind}" not in before:
                continue
            old, new = before[f"{name}.{kind}"], aligned(engine)[f"{name}.{kind}"]
            for i, (a, b) in enumerate(zip(old.layers, new.layers, strict=True)):
                weight, bias = np.asarray(a.weight), np.asarray(a.bias)
                # What is cut out was zero, moments and targets too.
                if i < len(kept):
                    off = np.setdiff1d(np.arange(len(bias)), kept[i])
                    assert not weight[off].any() and not bias[off].any()
                    weight, bias = weight[kept[i]], bias[kept[i]]
                if i > 0:
                    assert not np.delete(weight, kept[i - 1], axis=1).any()
                    weight = weight[:, kept[i - 1]]
                assert np.array_equal(b.weight, weight) and np.array_equal(b.bias, bias)
                assert weight.any()
    engine.update(rows(rng, 8, engine.columns))  # compiled for what there is now


def test_updates_leave_neurons_off_that_are_off():
    engine = engine_of("dqn", begin=0.1)
    rng = learned(engine)
    look(engine, 0.3)
    before = networks(engine)
    for _ in range(4):
        engine.update(rows(rng, 8, engine.columns))
    for name, network in networks(engine).items():
        off = np.asarray(engine.method_state["alive"][name]) == 0
        assert off.any() and not np.asarray(neurons.norms(network))[off].any()
        assert not np.array_equal(network.layers[1].weight, before[name].layers[1].weight)


def test_the_gate_holds_when_the_return_falls():
    engine = engine_of("dqn", begin=0.2, floor=0.0, tolerance=0.1)
    learned(engine)
    assert look(engine, 0.2)["neurons_q"] == 22  # not before it begins
    down = look(engine, 0.4)
    assert down["neurons_q"] < 22 and down["gate"] == 1 and down["strength"] > 0
    for progress in (0.5, 0.6):
        held = look(engine, progress, BADLY)
        assert held["neurons_q"] == down["neurons_q"] and held["epsilon"] == down["epsilon"]
        assert held["gate"] == held["strength"] == 0
        assert engine.shapes == engine.originals  # and nothing is cut out meanwhile
    assert look(engine, 0.7)["epsilon"] > down["epsilon"]
    # Without the gate the same returns change nothing.
    engine = engine_of("dqn", begin=0.2, floor=0.0, tolerance=1.0)
    learned(engine)
    assert look(engine, 0.4, BADLY)["neurons_q"] < 22


def test_layers_end_at_their_floors_critics_at_a_higher_one():
    engine = engine_of("sac", begin=0.0, critic_epsilon=1.0, floor=0.01, critic_floor=0.45)
    learned(engine)
    for progress in (0.3, 0.6, 0.7):
        figures = look(engine, progress)
    look(engine, 0.8, stage="end")
    assert neurons.widths(networks(engine)["actor"]) == (2, 2)
    assert neurons.widths(networks(engine)["critic_0"]) == (6, 5)  # 0.45 of 12 and 10, upwards
    assert engine.method.warnings(figures) == [
        "actor is down to 2 neurons in a layer, the fewest that stay."
    ]


def test_a_dead_layer_is_told_of_and_left():
    engine = engine_of("dqn", begin=0.0)
    figures = look(engine, 0.5)  # no update has been made
    assert figures["neurons_q"] == 22
    (warning,) = engine.method.warnings(figures)
    assert warning.startswith("q has a layer without any importance")


def planned(engine: Engine, off: int, update: int, returns: Returns = WELL, stage: str = "look"):
    """The plan when so many of the 12 neurons of q's first layer are off."""
    alive = jnp.ones(22).at[:off].set(0.0)
    state = {**engine.method_state, "alive": {"q": alive}}
    moment = TrainingProgress(update, UPDATES, returns)
    return engine.method.plan(stage, engine.learner, state, moment)


def test_pruning_ends_within_the_run():
    """Also where the end falls between two looks, or before the first."""
    method = DSP(end=0.8)
    for updates, last in ((10_000, 8000), (1500, 1000), (1100, 1000), (3900, 3000)):
        stages = {u: s for u in range(1, updates + 1) if (s := method.stage(u, updates))}
        assert [u for u, s in stages.items() if s == "end"] == [last] == list(stages)[-1:]
        assert list(stages) == list(range(1000, last + 1, 1000))


def test_cuts_come_when_they_pay():
    # 4-12-10-3: 198 weights; a neuron of the first layer has 14.
    engine = engine_of("dqn")
    cut = Plan(False, (("q", (9, 10)),))
    nothing = Plan(False, None)
    assert planned(engine, 2, 5000) == nothing  # 28 of 198 are less than a fifth
    assert planned(engine, 3, 5000) == cut
    assert planned(engine, 3, 5000, BADLY) == nothing
    # 42 / 198 of each update that is left, against the updates that compiling takes.
    enough = UPDATES - round(COMPILATION * 198 / 42)
    assert planned(engine, 3, enough - 1) == cut and planned(engine, 3, enough + 1) == nothing
    assert planned(engine, 1, UPDATES, BADLY, "end") == Plan(True, (("q", (11, 10)),))
    assert planned(engine, 0, UPDATES, stage="end") == Plan(True, None)


@pytest.mark.parametrize("step", ["proximal", "gradient"])
def test_the_penalty_shrinks_what_matters_little(step):
    plain, shrunk = (engine_of("dqn", penalty=p, penalty_step=step) for p in (0.0, 3.0))
    before = np.asarray(neurons.norms(networks(plain)["q"]))
    rng = np.random.default_rng(0)
    batches = [rows(rng, 8, plain.columns) for _ in range(30)]
    for engine in (plain, shrunk):
        engine.update(batches[0])
        look(engine, 0.1)  # the penalty is on from the first look
        for batch in batches[1:]:
            engine.update(batch)
    after = {e: np.asarray(neurons.norms(networks(e)["q"])) for e in (plain, shrunk)}
    importance = np.asarray(shrunk.method_state[RUNNING]["importance"]["q"])[:12]
    drop = (after[plain] - after[shrunk])[:12] / before[:12]
    assert drop.mean() > 0.01
    assert drop[np.argmin(importance)] > drop[np.argmax(importance)]


def test_the_proximal_step_is_a_group_soft_threshold():
    method = DSP(penalty=1.0)
    network = networks(engine_of("dqn"))["q"]
    importance = jnp.zeros(22).at[jnp.array([0, 12])].set(1.0).at[1].set(0.5)
    running = {"importance": {"q": importance}, "strength": jnp.float32(0.1)}
    assert method.after_step is not None
    found = method.after_step("q", {"q": network}, running, 0.01)["q"]
    norms = np.asarray(neurons.norms(network))
    sizes = np.repeat([4 + 1 + 10, 12 + 1 + 3], [12, 10])
    factor = 1 - 0.01 * 0.1 * (1 - np.asarray(importance)) * np.sqrt(sizes) / norms
    assert factor[0] == factor[12] == 1 and (factor[2:12] < factor[1]).any()
    expected = neurons.scaled(network, jnp.asarray(factor, jnp.float32))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.allclose(a, b, atol=1e-6)
    # A group within reach of zero becomes zero, and not less.
    gone = method.after_step("q", {"q": network}, {**running, "strength": jnp.float32(1e4)}, 1.0)
    assert not np.asarray(neurons.norms(gone["q"]))[2:12].any()


class Cuts(sparl.Callback):
    def __init__(self) -> None:
        self.figures: list[tuple[int, dict]] = []

    def on_restructure(self, step, figures) -> None:
        self.figures.append((step, figures))


def test_a_run_ends_small_and_says_so(tmp_path, capsys):
    watch = Cuts()
    method = DSP(interval=10, begin=0.1, end=0.6, floor=0.3, tolerance=1.0)
    options = OFTEN | {"steps": 200, "quiet": False}
    sparl.train("environments:Steps-v0", replace(TINY_DQN, hidden=(12, 10)), method,
                out=tmp_path / "run", callbacks=[watch], **options)  # fmt: skip
    policy = sparl.load(tmp_path / "run").policy
    assert neurons.widths(policy.network) == (4, 3)
    counts = [figures["neurons_q"] for _, figures in watch.figures]
    assert counts[0] == 22 and counts[-1] == 7 and counts == sorted(counts, reverse=True)
    told = capsys.readouterr().err
    assert re.search(r"neurons cut out: q 12-10 -> 4-3", told)
    assert "compiling for the smaller networks took" in told
    report = inspect(tmp_path / "run")
    assert report["networks"]["q"]["neurons"] == 7
    assert report["networks"]["q"]["neurons_total"] == 22
    summary = sparl.storage.RunFolder(tmp_path / "run").read_summary()
    assert summary is not None
    assert summary["policy_weights_kept"] < 0.4 * summary["policy_weights_total"]
    assert summary["average_compression_ratio"] > 0


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"interval": 0}, "interval is 0: it must be at least 1"),
        ({"begin": 0.9, "end": 0.2}, "begin is 0.9 and end 0.2"),
        ({"epsilon": 1.1}, "epsilon is 1.1: it must be within 0 and 1"),
        ({"critic_floor": -0.1}, "critic_floor is -0.1"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"penalty": float("inf")}, "penalty is inf: it must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong, told):
    with pytest.raises(BadValue, match=re.escape(told)):
        DSP(**wrong)
