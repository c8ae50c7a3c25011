"""DSP: which neurons are dropped and when, and that a cut does not change the function."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN, TINY_CROSSQ, TINY_DQN, TINY_SAC, TINY_XQC
from support import adam_state, rows, with_random_moments

import sparl
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.learner import AgentState
from sparl.methods import COMPILATION, DSP, RUNNING, Plan, Returns, TrainingProgress
from sparl.methods.common import neurons
from sparl.methods.common.importance import drop_least_important, saliency
from sparl.replay import Columns
from sparl.training import inspect

AGENTS = {
    "sac": (replace(TINY_SAC, hidden=(12, 10)), Columns(3, 2)),
    "crossq": (replace(TINY_CROSSQ, hidden=(12, 10), policy_average=3), Columns(3, 2)),
    "xqc": (replace(TINY_XQC, hidden=(12, 10), critic_hidden=(12, 10)), Columns(3, 2)),
    "dqn": (replace(TINY_DQN, hidden=(12, 10)), Columns(4, 3, discrete=True)),
}
WELL, BADLY = Returns(10.0, 10.0, 0.0), Returns(7.0, 10.0, 0.0)
UPDATES = 10_000


def engine_of(agent: str, **options: Any) -> Engine:
    config, columns = AGENTS[agent]
    return Engine(config, DSP(**options), columns, seed=1)


def train(engine: Engine, updates: int = 6) -> np.random.Generator:
    """Makes updates, which give importance; then fills the optimizer with random moments."""
    rng = np.random.default_rng(0)
    for _ in range(updates):
        engine.update(rows(rng, 8, engine.columns))
    engine.learner = with_random_moments(engine.learner, rng)
    return rng


def look(engine: Engine, progress: float, returns: Returns = WELL, stage: str = "look") -> dict:
    """The figures of a restructuring at that share of the run."""
    moment = TrainingProgress(round(progress * UPDATES), UPDATES, returns)
    figures = engine.restructure(stage, moment)
    assert figures is not None
    return figures


def networks(engine: Engine) -> dict[str, Any]:
    learner = engine.learner
    return {n: net for part in learner.network_parts for n, net in learner.networks(part).items()}


def aligned(engine: Engine) -> dict[str, Any]:
    """All vectors that are aligned with the weights (values, targets, moments), as networks."""
    result = {}
    for part in engine.learner.network_parts:
        state, structure = engine.learner.parts[part], engine.learner.structures[part]
        adam = adam_state(state.optimizer)
        vectors = {"values": state.values, "mu": adam.mu, "nu": adam.nu}
        vectors |= {"target": state.target} if state.target.size else {}
        for kind, vector in vectors.items():
            for name, network in structure.networks(vector, state.indices).items():
                result[f"{name}.{kind}"] = network
    return result


def drop(importance, alive, lost=0.0, fewest=0.0, limit=0.5, allowed=True):
    """The mask of the neurons that stay, and the share of importance that is lost."""
    arrays = [jnp.asarray(a, jnp.float32) for a in (importance, alive, lost, fewest, limit)]
    mask, lost_after = drop_least_important(*arrays, jnp.asarray(allowed))
    return mask.tolist(), float(lost_after)


def test_the_least_important_neurons_are_dropped_up_to_the_limit():
    everyone = [1.0] * 5
    # Shares 0.1, 0.3, 0.2, 0.15, 0.25: the smallest three have held less than a half.
    importance = [2.0, 6.0, 4.0, 3.0, 5.0]
    assert drop(importance, everyone)[0] == [0, 1, 0, 0, 1]
    assert drop(importance, everyone)[1] == pytest.approx(0.45)
    assert drop(importance, everyone, limit=0.44)[0] == [0, 1, 1, 0, 1]
    # What was lost before counts: 0.4 + 0.6 (0.1) is 0.46, and 0.15 more would be 0.55.
    mask, lost = drop(importance, everyone, lost=0.4)
    assert mask == [0, 1, 1, 1, 1] and lost == pytest.approx(0.46)


def test_dropped_neurons_stay_off_and_the_fewest_stay_on():
    importance, alive = [2.0, 6.0, 4.0, 3.0, 5.0], [1.0, 1, 0, 1, 1]
    assert drop(importance, alive, limit=1.0, fewest=2.0)[0] == [0, 1, 0, 0, 1]
    assert drop(importance, alive, limit=1.0, fewest=2.5)[0] == [0, 1, 0, 1, 1]
    assert drop(importance, alive, limit=1.0, fewest=9.0)[0] == alive
    assert drop(importance, alive, limit=1.0, allowed=False)[0] == alive


def test_a_layer_without_importance_keeps_all_neurons():
    assert drop([0.0] * 4, [1.0] * 4, limit=1.0) == ([1.0] * 4, 0.0)


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
        new = saliency(before, state.gradients["q"]["q"])
        expected = 0.99 * expected + 0.01 * np.asarray(new)
        engine.update(batch)
    importance = engine.method_state[RUNNING]["importance"]["q"]
    assert np.allclose(importance, expected, rtol=1e-4, atol=1e-9) and expected.max() > 1e-6


@pytest.mark.parametrize("agent", ["dqn", "xqc", "crossq"])
def test_a_cut_keeps_the_function_and_cuts_targets_and_moments_alike(agent):
    engine = engine_of(agent, epsilon=1.0, critic_epsilon=0.9, begin=0.1, penalty=0.0)
    rng = train(engine)
    assert set(engine.shapes.values()) == set(engine.originals.values())
    first = look(engine, 0.3)
    masked, before, policy = networks(engine), aligned(engine), engine.policy()
    on = {name: np.asarray(engine.method_state["alive"][name]) > 0 for name in masked}
    assert any(not mask.all() for mask in on.values())
    figures = look(engine, 0.5, stage="end")
    assert engine.shapes != engine.originals
    x = jnp.asarray(rng.normal(size=(policy.layers[0].in_features, 5)), jnp.float32)
    assert np.abs(engine.policy()(x) - policy(x)).max() < 1e-6
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
                # Everything that is cut out was zero, in moments and targets, too.
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


def test_updates_leave_dropped_neurons_off():
    engine = engine_of("dqn", begin=0.1)
    rng = train(engine)
    look(engine, 0.3)
    before = networks(engine)
    for _ in range(4):
        engine.update(rows(rng, 8, engine.columns))
    for name, network in networks(engine).items():
        off = np.asarray(engine.method_state["alive"][name]) == 0
        assert off.any() and not np.asarray(neurons.group_norms(network))[off].any()
        assert not np.array_equal(network.layers[1].weight, before[name].layers[1].weight)


def test_the_gate_closes_when_the_return_falls():
    engine = engine_of("dqn", begin=0.2, floor=0.0, tolerance=0.1)
    train(engine)
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
    train(engine)
    assert look(engine, 0.4, BADLY)["neurons_q"] < 22


def test_layers_end_at_their_floors_which_are_higher_in_critics():
    engine = engine_of("sac", begin=0.0, critic_epsilon=1.0, floor=0.01, critic_floor=0.45)
    train(engine)
    for progress in (0.3, 0.6, 0.7):
        figures = look(engine, progress)
    look(engine, 0.8, stage="end")
    assert neurons.widths(networks(engine)["actor"]) == (2, 2)
    assert neurons.widths(networks(engine)["critic_0"]) == (6, 5)  # 0.45 of 12 and 10, upwards
    assert engine.method.warnings(figures) == [
        "actor is down to 2 neurons in a layer, the fewest that stay."
    ]


def test_a_dead_layer_gives_a_warning_and_keeps_its_neurons():
    engine = engine_of("dqn", begin=0.0)
    figures = look(engine, 0.5)  # no update has been made
    assert figures["neurons_q"] == 22
    (warning,) = engine.method.warnings(figures)
    assert warning.startswith("q has a layer without any importance")


def plan_of(engine: Engine, off: int, update: int, returns: Returns = WELL, stage: str = "look"):
    """The plan when `off` of the 12 neurons in q's first layer are off."""
    alive = jnp.ones(22).at[:off].set(0.0)
    state = {**engine.method_state, "alive": {"q": alive}}
    moment = TrainingProgress(update, UPDATES, returns)
    return engine.method.plan(stage, engine.learner, state, moment)


def test_pruning_ends_within_the_run():
    """Even if the end falls between two checks, or before the first."""
    method = DSP(end=0.8)
    for updates, last in ((10_000, 8000), (1500, 1000), (1100, 1000), (3900, 3000)):
        stages = {u: s for u in range(1, updates + 1) if (s := method.stage(u, updates))}
        assert [u for u, s in stages.items() if s == "end"] == [last] == list(stages)[-1:]
        assert list(stages) == list(range(1000, last + 1, 1000))


@pytest.mark.parametrize("updates", [900, 1500, 2222, 2223, 2600, 3300, 4000])
def test_a_run_that_is_too_short_to_drop_a_neuron_says_so(updates):
    method = DSP()  # from 40 % to 90 % of the run
    looks = [u for u in range(1, updates + 1) if method.stage(u, updates) == "look"]
    drops = [u for u in looks if u / updates > method.begin]
    told = method.notes({}, {}, updates)
    assert bool(told) == (not drops)
    assert not told or told[0].startswith(f"In {updates} updates no neuron can go")


def test_networks_without_neurons_of_their_own_are_named():
    agent, columns = AGENTS["sac"]
    engine = Engine(replace(agent, norm="layer"), DSP(), columns, seed=1)
    assert engine.notes == [
        "No neuron of actor, critic_0, critic_1 can be cut out alone: all stay."
    ]


def test_neurons_are_cut_out_when_that_pays():
    # 4-12-10-3: 198 weights; a neuron of the first layer has 14.
    engine = engine_of("dqn")
    cut = Plan(False, (("q", (9, 10)),))
    nothing = Plan(False, None)
    assert plan_of(engine, 2, 5000) == nothing  # 28 of 198 are less than a fifth
    assert plan_of(engine, 3, 5000) == cut
    assert plan_of(engine, 3, 5000, BADLY) == nothing
    # 42 / 198 of each update that is left, against the updates that compiling takes.
    enough = UPDATES - round(COMPILATION * 198 / 42)
    assert plan_of(engine, 3, enough - 1) == cut and plan_of(engine, 3, enough + 1) == nothing
    assert plan_of(engine, 1, UPDATES, BADLY, "end") == Plan(True, (("q", (11, 10)),))
    assert plan_of(engine, 0, UPDATES, stage="end") == Plan(True, None)


@pytest.mark.parametrize("step", ["proximal", "gradient"])
def test_the_penalty_shrinks_neurons_of_little_importance(step):
    plain, shrunk = (engine_of("dqn", penalty=p, penalty_step=step) for p in (0.0, 3.0))
    before = np.asarray(neurons.group_norms(networks(plain)["q"]))
    rng = np.random.default_rng(0)
    batches = [rows(rng, 8, plain.columns) for _ in range(30)]
    for engine in (plain, shrunk):
        engine.update(batches[0])
        look(engine, 0.1)  # the penalty is on from the first check
        for batch in batches[1:]:
            engine.update(batch)
    after = {e: np.asarray(neurons.group_norms(networks(e)["q"])) for e in (plain, shrunk)}
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
    shrunk = method.after_step("q", {"q": network}, running, 0.01)["q"]
    norms = np.asarray(neurons.group_norms(network))
    sizes = np.repeat([4 + 1 + 10, 12 + 1 + 3], [12, 10])
    factor = 1 - 0.01 * 0.1 * (1 - np.asarray(importance)) * np.sqrt(sizes) / norms
    assert factor[0] == factor[12] == 1 and (factor[2:12] < factor[1]).any()
    expected = neurons.scale_neurons(network, jnp.asarray(factor, jnp.float32))
    for a, b in zip(jax.tree.leaves(shrunk), jax.tree.leaves(expected), strict=True):
        assert np.allclose(a, b, atol=1e-6)
    # A group that is close enough to zero becomes zero, and not negative.
    gone = method.after_step("q", {"q": network}, {**running, "strength": jnp.float32(1e4)}, 1.0)
    assert not np.asarray(neurons.group_norms(gone["q"]))[2:12].any()


class RecordFigures(sparl.Callback):
    """Keeps the figures of every restructuring."""

    def __init__(self) -> None:
        self.figures: list[tuple[int, dict]] = []

    def on_restructure(self, step, figures) -> None:
        self.figures.append((step, figures))


def test_a_run_ends_with_small_networks_and_reports_the_cut(tmp_path, capsys):
    record = RecordFigures()
    method = DSP(interval=10, begin=0.1, end=0.6, floor=0.3, tolerance=1.0)
    options = OFTEN | {"steps": 200, "quiet": False}
    sparl.train("environments:Steps-v0", replace(TINY_DQN, hidden=(12, 10)), method,
                out=tmp_path / "run", callbacks=[record], **options)  # fmt: skip
    policy = sparl.load(tmp_path / "run").policy
    assert neurons.widths(policy.network) == (4, 3)
    counts = [figures["neurons_q"] for _, figures in record.figures]
    assert counts[0] == 22 and counts[-1] == 7 and counts == sorted(counts, reverse=True)
    printed = capsys.readouterr().err
    assert re.search(r"neurons cut out: q 12-10 -> 4-3", printed)
    assert "compiling for the smaller networks took" in printed
    report = inspect(tmp_path / "run")
    assert report["networks"]["q"]["neurons"] == 7
    assert report["networks"]["q"]["neurons_total"] == 22
    summary = sparl.storage.RunFolder(tmp_path / "run").read_summary()
    assert summary is not None
    assert summary["policy_weights_kept"] < 0.4 * summary["policy_weights_total"]
    assert summary["average_compression_ratio"] > 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"interval": 0}, "interval is 0: it must be at least 1"),
        ({"begin": 0.9, "end": 0.2}, "begin is 0.9 and end 0.2"),
        ({"epsilon": 1.1}, "epsilon is 1.1: it must be within 0 and 1"),
        ({"critic_floor": -0.1}, "critic_floor is -0.1"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"penalty": float("inf")}, "penalty is inf: it must be finite"),
    ],
)
def test_invalid_options_are_refused_by_name(options, message):
    with pytest.raises(BadValue, match=re.escape(message)):
        DSP(**options)
