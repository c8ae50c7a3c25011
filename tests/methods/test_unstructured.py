"""Static, SET, RigL, RLx2, gradual and iterative pruning, ASP: which weights are kept and grown."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sparse_agents import SPARSE, engine_of, online
from support import (
    active,
    adam_state,
    at,
    rows,
    stored,
    with_random_moments,
)

from sparl.agents import TD3
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.layouts import Dense, RowSparse
from sparl.learner import Learner
from sparl.methods import (
    ASP,
    SET,
    Iterative,
    Magnitude,
    Method,
    Returns,
    RigL,
    RLx2,
    Signals,
    Static,
    Unstructured,
    layer_of,
)
from sparl.networks import Network, build, plain
from sparl.replay import Columns
from sparl.topology import Kept, PerRow, allocation

UPDATES = 100
ROLES = {"actor": "actor", "critics": "critic"}
METHODS = {
    method.name: method
    for method in (
        Static(**SPARSE),
        SET(interval=10, drop_fraction=0.2, **SPARSE),
        RigL(interval=10, **SPARSE),
        RLx2(interval=10, **SPARSE),
        Magnitude(prunings=2, **SPARSE),
        Iterative(prunings=2, **SPARSE),
        ASP(swaps=200),
    )
}


def stages(method: Method) -> list[tuple[int, Any]]:
    """(update, stage) of every restructuring of a run."""
    answers = ((update, method.stage(update, UPDATES)) for update in range(1, UPDATES + 1))
    return [(update, stage) for update, stage in answers if stage is not None]


def kept(network: Network) -> int:
    """The number of kept weights, counted from the indices themselves."""
    return sum(int(active(layer).sum()) for layer in network.layers)


def weights(network: Network) -> int:
    return sum(math.prod(layer.shape) for layer in network.layers)


def requested(method: Method, stage: Any, part: str, network: Network) -> int:
    """The budget of a network, computed from what the papers say."""
    total = weights(network)
    if isinstance(method, ASP):
        fits = [la.shape[0] % 8 == 0 and la.shape[1] % 16 == 0 for la in network.layers]
        sizes = [math.prod(la.shape) for la in network.layers]
        return sum(s // 2 if f else s for s, f in zip(sizes, fits, strict=True)) if stage else total
    assert isinstance(method, Unstructured)
    final = 0.7 if part == "actor" else 0.8
    if isinstance(method, Iterative):
        sparsity = 1 - (1 - final) ** ((stage or 0) / 2)
    elif isinstance(method, Magnitude):
        sparsity = final * (1 - (1 - (stage or 0) / 2) ** 3)
    else:
        sparsity = final
    return total - math.floor(sparsity * total + 0.5)


def moments(learner: Learner) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Both Adam moments of every layer's weights, in dense coordinates."""
    result = {}
    for part in learner.network_parts:
        state, structure = learner.parts[part], learner.structures[part]
        adam = adam_state(state.optimizer)
        both = [structure.networks(moment, state.indices) for moment in (adam.mu, adam.nu)]
        for name, network in learner.networks(part).items():
            result[name] = [
                tuple(stored(layer, moment[name].layers[i].weight) for moment in both)
                for i, layer in enumerate(network.layers)
            ]
    return result


# All methods with one network, a few with several: nine layers take long to compile.
PAIRS = [
    *(("dqn", name) for name in METHODS),
    ("td3", "set"),
    ("sac", "rigl"),
    ("crossq", "rlx2"),
]


@pytest.mark.parametrize("agent, name", PAIRS)
def test_networks_keep_their_budget_and_dropped_weights_leave_no_moments_or_targets(agent, name):
    method = METHODS[name]
    engine = engine_of(agent, method)
    for part, network in online(engine.learner).values():
        assert kept(network) == requested(method, None, part, network)
    rng = np.random.default_rng(0)
    assert stages(method) or method.name == "static"
    for update, stage in stages(method):
        engine.update(rows(rng, 8, engine.columns))
        engine.learner = with_random_moments(engine.learner, rng)
        before, moments_before = engine.learner, moments(engine.learner)
        figures = engine.restructure(stage, at(update / UPDATES))
        after, moments_after = engine.learner, moments(engine.learner)
        targets, old_targets = after.all_networks(), before.all_networks()
        for name, (part, network) in online(after).items():
            assert (
                kept(network) == requested(method, stage, part, network) == figures[f"kept_{name}"]
            )
            old = online(before)[name][1]
            flips = sum(
                (active(a) != active(b)).sum()
                for a, b in zip(old.layers, network.layers, strict=True)
            )
            assert flips == figures[f"sad_{name}"]
            if isinstance(method, ASP):
                continue  # it starts afresh: see below
            for i, (a, b) in enumerate(zip(old.layers, network.layers, strict=True)):
                stays, grown = active(a) & active(b), active(b) & ~active(a)
                w, w_before = stored(b, b.weight), stored(a, a.weight)
                assert np.array_equal(w[stays], w_before[stays]) and not w[grown].any()
                for new, was in zip(moments_after[name][i], moments_before[name][i], strict=True):
                    assert np.array_equal(new[stays], was[stays]) and not new[grown].any()
                if f"target_{name}" in targets:
                    c, d = (of[f"target_{name}"].layers[i] for of in (targets, old_targets))
                    assert np.array_equal(active(c), active(b))
                    t, t_before = stored(c, c.weight), stored(d, d.weight)
                    assert np.array_equal(t[stays], t_before[stays]) and not t[grown].any()
        engine.update(rows(rng, 8, engine.columns))  # compiled for what there is now


@pytest.mark.parametrize("name", ["set", "rigl", "rlx2"])
def test_topologies_change_at_restructurings_and_not_in_updates(name):
    engine, rng = engine_of("td3", METHODS[name]), np.random.default_rng(0)
    masks = []
    for _ in range(3):
        for _ in range(3):
            engine.update(rows(rng, 8, engine.columns))
        masks.append(
            [active(la) for _, net in online(engine.learner).values() for la in net.layers]
        )
        engine.restructure("regrow", at(0.1))
    changed = [any((a != b).any() for a, b in zip(m, masks[0], strict=True)) for m in masks]
    assert changed == [False, True, True]


def test_actor_and_critics_have_their_own_sparsity_divided_by_er():
    engine = Engine(TD3(), Static(actor_sparsity=0.95), Columns(17, 6), seed=0)
    counts = {
        name: [layer.kept for layer in network.layers]
        for name, (_, network) in online(engine.learner).items()
    }
    sizes = {
        "actor": [(256, 17), (256, 256), (6, 256)],
        "critic": [(256, 23), (256, 256), (1, 256)],
    }
    assert counts["actor"] == allocation.allocate(sizes["actor"], 71_424 - 67_853, "er")
    assert counts["critic_0"] == counts["critic_1"]
    assert counts["critic_0"] == allocation.allocate(sizes["critic"], 71_680 - 64_512, "er")
    assert counts["critic_0"][-1] == 256
    head = engine.learner.networks("critics")["critic_0"].layers[-1]
    assert isinstance(head, Dense)  # saturated


def test_hidden_keeps_heads_dense_within_the_same_budget():
    method = Static(sparsity=0.8, allocation="uniform", sparse_layers="hidden")
    network = build(jax.random.key(0), (10, 20, 20, 5))
    assert method.counts("actor", "actor", network) == [13, 27, 100]
    assert replace(method, sparse_layers="all").counts("actor", "actor", network) == [40, 80, 20]


@pytest.mark.parametrize("least, counts", [(4, [180, 720, 200]), (5, [400, 500, 200])])
def test_auto_keeps_layers_dense_whose_neurons_would_keep_too_few_inputs(least, counts):
    # Beside the head half of the weights leaves 180 for 40 neurons: 4.5 inputs each.
    method = Static(0.5, allocation="uniform", sparse_layers="auto", least_inputs=least)
    network = build(jax.random.key(0), (10, 40, 40, 5))
    assert method.counts("actor", "actor", network) == counts


def test_keep_norm_keeps_the_norm_of_each_layer_at_the_start():
    network = build(jax.random.key(0), (10, 20, 20, 5))

    def norms(method: Method) -> list[float]:
        parts, _ = method.start({"actor": {"actor": network}}, jax.random.key(1), ROLES)
        return [float(jnp.linalg.norm(la.to_dense())) for la in parts["actor"]["actor"].layers]

    dense = [float(jnp.linalg.norm(la.weight)) for la in network.layers]
    assert np.allclose(norms(Static(0.7, keep_norm=True)), dense, rtol=1e-5)
    assert all(a < 0.9 * b for a, b in zip(norms(Static(0.7)), dense, strict=True))


def test_random_starts_differ_between_layers_networks_and_seeds():
    def masks(seed: int) -> list[np.ndarray]:
        engine = Engine(TD3(hidden=(16, 16, 16)), Static(0.7), Columns(5, 3), seed)
        return [active(net.layers[1]) for _, net in online(engine.learner).values()] + [
            active(engine.learner.networks("actor")["actor"].layers[2])
        ]

    every = masks(0) + masks(1)
    assert all((a != b).any() for i, a in enumerate(every) for b in every[:i])


def test_rlx2_starts_with_the_largest_weights():
    network = build(jax.random.key(0), (10, 20, 5))
    parts, _ = RLx2(0.8).start({"actor": {"actor": network}}, jax.random.key(1), ROLES)
    for before, after in zip(network.layers, parts["actor"]["actor"].layers, strict=True):
        magnitude, mask = np.abs(before.to_dense()), active(after)
        assert magnitude[mask].min() > magnitude[~mask].max()


def of_one_layer(
    weight: list[list[float]], pattern: PerRow | None = None
) -> tuple[Learner, RowSparse]:
    """A learner whose only layer keeps the weights that are not zero."""
    dense = jnp.asarray(weight, jnp.float32)
    kept = Kept.of(dense != 0, int((dense != 0).sum()))
    layer = layer_of(dense, jnp.zeros(len(weight)), kept, pattern)
    assert isinstance(layer, RowSparse)
    networks = {"critics": {"critic": plain((layer,), squash=False)}}
    return Learner.start(networks, {"critics": optax.adam(1e-3)}, frozenset(), ROLES), layer


def after(method: Method, weight: list[list[float]], gradient: Any = None, progress: float = 0.0,
          stage: Any = "regrow", pattern: PerRow | None = None) -> np.ndarray:  # fmt: skip
    """The mask of the only layer after one restructuring."""
    learner, _ = of_one_layer(weight, pattern)
    dense = Dense(jnp.asarray(gradient or weight, jnp.float32), jnp.zeros(len(weight)))
    gradients = {"critics": {"critic": plain((dense,), squash=False)}}
    signals = Signals(stage, jnp.float32(progress), Returns(), lambda: gradients)
    state = {"key": jax.random.key_data(jax.random.key(3))}
    learner, _, _ = method.restructure(learner, state, signals)
    return active(learner.networks("critics")["critic"].layers[0])


LAYER = [[5.0, -1.0, 0.5, 0.0], [-6.0, 0.0, 3.0, -4.0]]


def test_set_drops_by_sign_and_grows_at_empty_places():
    # A third of 5, 0.5, 3 and of -1, -6, -4 are dropped: 0.5 and -1. Two places were empty.
    mask = after(SET(drop_fraction=1 / 3), LAYER)
    assert mask.tolist() == [[True, False, False, True], [True, True, True, True]]
    # By magnitude, a third of six are 0.5 and -1 as well. A half has 3, too; then one of the
    # dropped places is grown again, because only two were empty.
    assert (after(SET(drop_fraction=1 / 3, drop="magnitude"), LAYER) == mask).all()
    half = after(SET(drop_fraction=0.5, drop="magnitude"), LAYER)
    assert (
        half.sum() == 6 and half[0, 0] and half[1, 0] and half[1, 3] and half[0, 3] and half[1, 1]
    )


def test_rigl_grows_where_the_gradient_is_largest_dropped_places_included():
    gradient = [[0.0, 9.0, 1.0, 2.0], [0.0, 3.0, 0.0, 0.0]]
    # At the start 1/3 of six weights are dropped, 0.5 and -1; -1 has gradient 9 and grows again.
    mask = after(RigL(drop_fraction=1 / 3), LAYER, gradient)
    assert mask.tolist() == [[True, True, False, False], [True, True, True, True]]
    # By the cosine half as many are dropped half way, and none at the end.
    assert (after(RigL(drop_fraction=1 / 3, until=0.8), LAYER, gradient, 0.4)).tolist() == [
        [True, True, False, False],
        [True, True, True, True],
    ]
    assert (after(RigL(drop_fraction=1 / 3, until=0.8), LAYER, gradient, 0.8) == (
        np.array(LAYER) != 0
    )).all()  # fmt: skip


def test_the_last_drop_grows_nothing():
    method = SET(drop_fraction=1 / 3, interval=10, until=0.5, last_drop=True)
    mask = after(method, LAYER, stage="last drop")
    assert mask.tolist() == [[True, False, False, False], [True, False, True, True]]
    assert stages(method)[-2:] == [(50, "regrow"), (51, "last drop")]
    assert stages(replace(method, last_drop=False))[-1] == (50, "regrow")


def test_a_prolonged_run_has_no_second_last_drop():
    method = SET(interval=10, drop_fraction=0.3, until=0.5, last_drop=True, **SPARSE)
    engine = engine_of("dqn", method)

    def kept():
        return [la.kept for _, network in online(engine.learner).values() for la in network.layers]

    before = kept()
    engine.restructure("last drop", at(0.6))
    once = kept()
    engine.restructure("regrow", at(0.4))
    engine.restructure("last drop", at(0.6))
    assert kept() == once and sum(once) < sum(before)


SHARED = [[5.0, -1.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, -6.0], [0.0, 0.0, -3.0, 4.0]]
PAIRS_OF_ROWS = PerRow(2, 2)


def test_rows_that_share_their_inputs_drop_and_grow_them_together():
    # Of the means 4 and 1, 2.5 and 5 of two rows each, a quarter is dropped: 1.
    drop: dict[str, Any] = {"drop_fraction": 0.25, "shared_rows": 2}
    mask = after(SET(drop="magnitude", **drop), SHARED, pattern=PAIRS_OF_ROWS)
    assert mask[2:].tolist() == [[False, False, True, True]] * 2
    assert (mask[0] == mask[1]).all() and mask[0, :2].tolist() == [True, False]
    assert mask[0].sum() == 2
    # The sum of two gradients decides what grows: 2, 3 and 2.5 here.
    gradient = [[0.0, 1.0, 0.0, 2.5], [0.0, 1.0, 3.0, 0.0], [9.0, 9.0, 0.0, 0.0], [0.0] * 4]
    mask = after(RigL(**drop), SHARED, gradient, pattern=PAIRS_OF_ROWS)
    assert mask[:2].tolist() == [[True, False, True, False]] * 2
    # By signs of their sums: 4 and 1 are positive, 2.5 and 5 negative; half of either goes.
    method = SET(drop_fraction=0.5, until=0.5, last_drop=True, shared_rows=2)
    mask = after(method, SHARED, stage="last drop", pattern=PAIRS_OF_ROWS)
    assert mask.tolist() == [[True, False, False, False]] * 2 + [[False, False, False, True]] * 2


@pytest.mark.parametrize("name", [name for name in METHODS if name != "asp"])
def test_neighbouring_neurons_keep_the_same_inputs_from_the_start_to_the_end(name):
    method = METHODS[name]
    assert isinstance(method, Unstructured)
    method = replace(method, shared_rows=4)
    engine, rng = engine_of("dqn", method), np.random.default_rng(0)
    for update, stage in [(1, None), *stages(method)]:
        if stage is not None:
            engine.restructure(stage, at(update / UPDATES))
        engine.update(rows(rng, 8, engine.columns))
        for part, network in online(engine.learner).values():
            for layer in network.layers:
                mask = active(layer)
                assert len(set(mask.sum(axis=1))) == 1
                assert all((mask[i : i + 4] == mask[i]).all() for i in range(0, len(mask), 4))
            neurons = sum(layer.out_features for layer in network.layers)
            asked = requested(method, stage, part, network)
            assert abs(kept(network) - asked) <= neurons / 2


def test_lambdas_give_the_counts_of_the_paper():
    # DS-TD3 on HalfCheetah: 7 (17 + 256), 64 (256 + 256), a dense head; 51 % of the actor.
    network = build(jax.random.key(0), (17, 256, 256, 6))
    counts = SET(lambdas=(7.0, 64.0)).counts("actor", "actor", network)
    assert counts == [1911, 32768, 1536]
    assert SET(lambdas=(70.0,)).counts("actor", "actor", network)[0] == 17 * 256
    with pytest.raises(BadValue, match="4 lambdas for the 3 layers of actor"):
        SET(lambdas=(1.0,) * 4).counts("actor", "actor", network)


@pytest.mark.parametrize("method", [Magnitude(0.9), Iterative(0.9)], ids=lambda method: method.name)
def test_pruning_ends_at_the_final_sparsity_and_compiles_a_bounded_number_of_times(method):
    schedule = stages(method)
    assert len(schedule) == method.prunings
    assert schedule[-1] == (80, method.prunings)
    assert all(a < b for a, b in itertools.pairwise(update for update, _ in schedule))
    assert method.share(method.prunings, 0.9) == pytest.approx(1.0)


def test_the_smallest_weights_are_pruned_layer_by_layer():
    engine = engine_of("dqn", METHODS["magnitude"])
    for stage in (1, 2):
        before = {name: net for name, (_, net) in online(engine.learner).items()}
        engine.restructure(stage, at(0.5))
        for name, (_, network) in online(engine.learner).items():
            for old, new in zip(before[name].layers, network.layers, strict=True):
                magnitude, mask = np.abs(stored(old, old.weight)), active(new)
                pruned = active(old) & ~mask
                if pruned.any():
                    assert magnitude[mask].min() >= magnitude[pruned].max()


def test_a_prolonged_run_grows_no_weights_back():
    """Its progress is a smaller share of the run than it was before."""
    engine = engine_of("dqn", METHODS["magnitude"])
    engine.restructure(2, at(0.6))
    masks = [active(la) for _, net in online(engine.learner).values() for la in net.layers]
    figures = engine.restructure(1, at(0.5))
    later = [active(la) for _, net in online(engine.learner).values() for la in net.layers]
    assert all((a == b).all() for a, b in zip(masks, later, strict=True))
    assert not any(value for name, value in figures.items() if name.startswith("sad"))


def test_asp_prunes_to_the_pattern_and_resets_moments_and_targets():
    engine, rng = engine_of("td3", ASP(permute=False)), np.random.default_rng(0)
    engine.learner = with_random_moments(engine.learner, rng)
    before = engine.learner.networks("critics")["critic_0"]
    engine.restructure("prune", at(0.5))
    part = engine.learner.parts["critics"]
    adam = adam_state(part.optimizer)
    assert not np.asarray(adam.mu).any() and not np.asarray(adam.nu).any() and adam.count == 0
    assert np.array_equal(part.target, part.values)
    layer = engine.learner.networks("critics")["critic_0"].layers[1]  # 24 x 16
    weight = np.asarray(before.layers[1].weight)
    groups = np.abs(weight).reshape(24, 4, 4)
    expected = groups >= np.sort(groups, axis=-1)[..., 2:3]
    assert np.array_equal(active(layer), expected.reshape(24, 16))
    assert np.array_equal(stored(layer, layer.weight), weight * active(layer))
    # The hardware does not support 16 x 8 and 1 x 24.
    layers = engine.learner.networks("critics")["critic_0"].layers
    assert [type(la) for la in layers] == [Dense, RowSparse, Dense]


def test_asp_repeats_the_training_once_even_in_a_prolonged_run():
    engine, rng = engine_of("td3", ASP(permute=False)), np.random.default_rng(0)
    engine.restructure("prune", at(0.5))
    engine.learner = with_random_moments(engine.learner, rng)
    assert engine.restructure("prune", at(0.5)) is None
    assert np.asarray(adam_state(engine.learner.parts["critics"].optimizer).mu).any()


def test_asp_permutes_units_without_changing_the_function_and_keeps_more_magnitude():
    network = build(jax.random.key(0), (5, 32, 16, 3))
    method = ASP(swaps=2000)
    permuted = method._permute_inputs(network, 1, jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), (5, 7))
    assert np.allclose(permuted(x), network(x), atol=1e-5)
    assert not np.array_equal(permuted.layers[0].bias, network.layers[0].bias)

    def magnitude(method: ASP) -> float:
        pruned = method._prune(network, jax.random.key(1))
        return float(jnp.abs(pruned.layers[1].to_dense()).sum())

    assert magnitude(method) > 1.02 * magnitude(ASP(permute=False))


@pytest.mark.parametrize(
    "create, message",
    [
        (lambda: Static(sparsity=1.0), "sparsity is 1.0: it must be at least 0 and below 1"),
        (lambda: Static(critic_sparsity=-0.1), "critic_sparsity is -0.1"),
        (
            lambda: Static(allocation="lottery"),
            "allocation is 'lottery': choose er, erk or uniform",
        ),
        (
            lambda: Static(sparse_layers="none"),
            "sparse_layers is 'none': choose all, hidden or auto",
        ),
        (lambda: Static(least_inputs=0), "least_inputs is 0: it must be at least 1"),
        (
            lambda: Static(shared_rows=17),
            "V, the rows that share their choice, must be from 1 to 16",
        ),
        (lambda: SET(lambdas=(7.0,), sparse_layers="auto"), "sparse_layers is auto and lambdas"),
        (
            lambda: engine_of("dqn", Static(0.9, sparse_layers="auto")),
            "q at sparsity 0.9: 56 weights are too few where 1 of 3 layers are dense and",
        ),
        (lambda: SET(interval=-1), "interval is -1: it must be 0"),
        (lambda: SET(drop_fraction=1.5), "drop_fraction is 1.5: it must be within 0 and 1"),
        (lambda: SET(until=float("nan")), "until is nan"),
        (lambda: SET(lambdas=(7.0, 0.0)), "each must be above 0"),
        (lambda: SET(drop_fraction=1.0, last_drop=True), "drop_fraction is 1, and last_drop"),
        (lambda: SET(until=1.0, last_drop=True), "until is 1, and last_drop"),
        (lambda: Magnitude(keep_norm=True), "keep_norm is for a start that is sparse: magnitude"),
        (lambda: RigL(last_drop=True), "last_drop is an option of set: rigl drops nothing"),
        (lambda: Magnitude(begin=0.8, end=0.2), "begin is 0.8 and end 0.2"),
        (lambda: Iterative(prunings=0), "prunings is 0: it must be at least 1"),
        (lambda: ASP(prune_at=1.0), "prune_at is 1.0: it must lie between 0 and 1"),
        (lambda: ASP(swaps=-1), "swaps is -1"),
        (lambda: ASP("5:4"), "pattern 5:4 is not possible"),
        (
            lambda: engine_of("dqn", Static(0.999)),
            "q at sparsity 0.999: 1 weights",
        ),
        (lambda: engine_of("dqn", Magnitude(0.999)), "q at sparsity 0.999: 1 weights"),
    ],
)
def test_invalid_options_are_refused_by_name(create, message):
    with pytest.raises(BadValue, match=re.escape(message)):
        create()
