"""RNM: its start, its restructurings, and what holds throughout training."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import (
    active,
    adam_state,
    at,
    most_per_group,
    normal,
    rows,
    same_bits,
    stored,
    with_random_moments,
    with_weight,
)

import sparl
from sparl.agents import TD3
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.layouts import Dense, RowSparse, StraightThrough
from sparl.learner import Learner
from sparl.methods import RNM, Returns, Signals
from sparl.networks import Network, accounting, build, feature_tower, plain
from sparl.replay import Columns

SIGNALS = Signals("reselect", jnp.zeros(()), Returns(), dict)
SIX = {f"{t}{n}" for t in ("", "target_") for n in ("actor", "critic_0", "critic_1")}

# 12 observations and 4 actions: every layer's inputs divide by 4.
COLUMNS = Columns(12, 4)
SMALL = TD3(hidden=(16, 16), batch_size=8, learning_rate=3e-2, tau=0.2)


def flips(figures: dict[str, int | float]) -> list[float]:
    """The SAD of each network."""
    return [value for name, value in figures.items() if name.startswith("sad_")]


ROLES = {"actor": "actor"}


def start(method: RNM, network: Network) -> tuple[Network, dict]:
    """The network in its first layouts, and the method's state."""
    parts, state = method.start({"actor": {"actor": network}}, jax.random.key(0), ROLES)
    return parts["actor"]["actor"], state


def learner_of(network: Network) -> Learner:
    """A learner of one network with a target."""
    optimizers = {"actor": optax.adam(1e-3)}
    return Learner.start({"actor": {"actor": network}}, optimizers, frozenset({"actor"}), ROLES)


def with_online(learner: Learner, network: Network) -> Learner:
    part, structure = learner.parts["actor"], learner.structures["actor"]
    return learner.with_parts(
        {"actor": part._replace(values=structure.flatten({"actor": network}))}
    )


def network_of(learner: Learner) -> Network:
    return learner.networks("actor")["actor"]


# Where it starts


@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("pattern", ["2:4", "1:8"])
def test_start_keeps_the_frobenius_norm_of_each_sparse_layer(pattern, straight_through):
    dense = build(jax.random.key(1), (10, 16))
    method = RNM(pattern, sparse_layers="all", straight_through=straight_through)
    sparse, _ = start(method, dense)
    for before, after in zip(dense.layers, sparse.layers, strict=True):
        norms = [np.linalg.norm(np.asarray(la.to_dense(), np.float64)) for la in (before, after)]
        assert norms[1] == pytest.approx(norms[0], rel=1e-6)
        assert same_bits(after.bias, before.bias)
        # All kept weights grow by one factor, so the order of their magnitudes stays.
        ratio = (
            np.asarray(after.to_dense())[active(after)] / np.asarray(before.weight)[active(after)]
        )
        assert ratio == pytest.approx(np.full(after.kept, ratio[0]), rel=1e-5)
        assert ratio[0] > 1


def test_start_without_keep_norm_keeps_the_largest_as_they_are():
    dense = plain((Dense(jnp.array([[1.0, -4.0, 3.0, 2.0]]), jnp.zeros(1)),), False)
    sparse, state = start(RNM("2:4", sparse_layers="all", keep_norm=False), dense)
    assert sparse.layers[0].to_dense().tolist() == [[0.0, -4.0, 3.0, 0.0]]
    assert state["actor"]["0"][0, [0, 3]].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("straight_through", [False, True])
def test_start_with_n_equal_to_m_changes_no_bit(straight_through):
    dense = build(jax.random.key(1), (10, 7))  # 10 does not divide by 4
    method = RNM("4:4", sparse_layers="all", straight_through=straight_through)
    sparse, _ = start(method, dense)
    for before, after in zip(dense.layers, sparse.layers, strict=True):
        assert isinstance(after, StraightThrough if straight_through else RowSparse)
        assert same_bits(stored(after, after.weight), before.weight)
        assert same_bits(after.bias, before.bias)


@pytest.mark.parametrize(
    "sparse_layers, sizes, positions",
    [
        # 31 inputs are fewer than 8 M = 32: a small first layer stays dense, and so does the head.
        ("hidden", (31, 64, 64, 2), [1]),
        ("hidden", (32, 64, 64, 2), [0, 1]),
        ("hidden", (31, 16, 16, 16, 2), [1, 2]),  # narrow hidden layers are sparse
        ("hidden", (31, 64, 2), []),
        ("all", (3, 64, 64, 2), [0, 1, 2]),
    ],
)
def test_sparse_layers_selects_the_layers(sparse_layers, sizes, positions):
    method = RNM("2:4", sparse_layers=sparse_layers)
    sparse, dormant = start(method, build(jax.random.key(0), sizes))
    assert [i for i, la in enumerate(sparse.layers) if isinstance(la, RowSparse)] == positions
    assert list(dormant["actor"]) == [str(i) for i in positions]
    assert all(isinstance(la, Dense) for i, la in enumerate(sparse.layers) if i not in positions)


def test_notes_name_networks_without_sparse_layers_and_rows_shorter_than_m():
    networks = {"actor": {"actor": build(jax.random.key(0), (3, 16, 2))}}
    (note,) = RNM("2:4").notes(networks, ROLES, None)
    assert "actor has no layer to make sparse" in note
    (note,) = RNM("2:4", sparse_layers="auto", least_inputs=9).notes(networks, ROLES, None)
    assert "would keep fewer than 9 inputs" in note
    (note,) = RNM("2:4", sparse_layers="all").notes(networks, ROLES, None)
    assert "actor.hidden_0 has 3 inputs, fewer than M = 4" in note and "keeps 2" in note
    # An actor with a pattern of its own goes by that one.
    wide = {"actor": {"actor": build(jax.random.key(0), (16, 32, 3))}}
    assert RNM("1:16", actor_pattern="1:2").notes(wide, ROLES, None) == []
    every = RNM("1:16", sparse_layers="all", actor_pattern="none")
    assert every.notes(wide, ROLES, None) == []


def test_a_layer_that_begins_with_zeros_stays_finite():
    zeros = plain((Dense(jnp.zeros((2, 8)), jnp.zeros(2)),), False)
    sparse, _ = start(RNM("2:4", sparse_layers="all"), zeros)
    assert not np.asarray(sparse.layers[0].weight).any()


@pytest.mark.parametrize(
    "options, critic, actor",
    [
        ({}, ["", "2:4", ""], ["", "2:4", ""]),
        ({"actor_pattern": "1:8"}, ["", "2:4", ""], ["", "1:8", ""]),
        # The pattern of a layer goes before that of the actor, and before sparse_layers.
        (
            {"first_pattern": "1:2", "head_pattern": "1:16x2", "actor_pattern": "1:8"},
            ["1:2", "2:4", "1:16x2"],
            ["1:2", "1:8", "1:16x2"],
        ),
        (
            {"first_pattern": "none", "head_pattern": "none", "sparse_layers": "all"},
            ["", "2:4", ""],
            ["", "2:4", ""],
        ),
        (
            {"first_pattern": "1:2", "sparse_layers": "auto", "least_inputs": 9},
            ["1:2", "", ""],
            None,
        ),
        # An actor without a pattern is dense, whatever layers have.
        ({"first_pattern": "1:2", "actor_pattern": "none"}, ["1:2", "2:4", ""], ["", "", ""]),
    ],
)
def test_patterns_by_layer(options, critic, actor):
    network, method = build(jax.random.key(0), (12, 16, 16, 3)), RNM("2:4", **options)
    for role, expected in (("critic", critic), ("actor", actor or critic)):
        assert [str(method.patterns(network, role).get(i, "")) for i in range(3)] == expected


@pytest.mark.parametrize(
    "method, actor, critic",
    [
        (RNM("1:2", actor_pattern="1:16"), [1], [0, 1]),
        (RNM("1:16", actor_pattern="1:2"), [0, 1], [1]),
    ],
)
def test_whether_a_first_layer_is_large_enough_goes_by_its_own_pattern(method, actor, critic):
    network = build(jax.random.key(0), (20, 32, 32, 3))
    assert list(method.patterns(network, "actor")) == actor
    assert list(method.patterns(network, "critic")) == critic


@pytest.mark.parametrize(
    "method, sizes, positions",
    [
        # 2:4 keeps 8 of 15 inputs (2 of each whole group, 2 of the last 3), and 7 of 13.
        (RNM("2:4"), (15, 64, 64, 2), [0, 1]),
        (RNM("2:4"), (13, 64, 64, 2), [1]),
        (RNM("2:4"), (32, 12, 64, 2), [0]),  # a layer that reads 12 neurons keeps 6 of them
        (RNM("1:8"), (348, 256, 256, 17), [0, 1]),  # Humanoid-v5: 44 of 348
        (RNM("1:8", least_inputs=45), (348, 256, 256, 17), []),
        (RNM("1:8", actor_pattern="1:4", least_inputs=45), (348, 256, 256, 17), [0, 1]),
    ],
)
def test_auto_makes_layers_sparse_by_what_a_neuron_keeps(method, sizes, positions):
    widths = itertools.pairwise(sizes)
    network = plain([Dense(jnp.zeros((out, inputs)), jnp.zeros(out)) for inputs, out in widths])
    auto = replace(method, sparse_layers="auto")
    assert list(auto.patterns(network, "actor")) == positions


def test_a_network_without_a_head_has_no_head_pattern():
    tower = feature_tower(jax.random.key(0), 40, (8, 8), "relu")
    patterns = RNM("2:4", head_pattern="1:8").patterns(tower, "representation")
    assert {i: str(pattern) for i, pattern in patterns.items()} == {0: "2:4", 1: "2:4"}


@pytest.mark.parametrize("option", ["actor_pattern", "first_pattern", "head_pattern"])
def test_a_pattern_that_there_is_not_is_refused_by_the_option(option):
    with pytest.raises(
        BadValue, match=f"{option}: pattern 'some' is not of the form N:M.* or none"
    ):
        RNM(**{option: "some"})


def test_a_pattern_that_is_no_text_is_told_how_it_is_written():
    method = RNM()
    object.__setattr__(method, "pattern", 2)  # RNM(2) is stopped by the tests' own checks of types
    with pytest.raises(BadValue, match="pattern is 2: write it as a text, '2:4'"):
        method.__post_init__()


def test_the_same_pattern_written_in_two_ways_is_the_same_method():
    assert RNM(" 1:8x1 ") == RNM("1:8")
    assert RNM("1:8x4") != RNM("1:8")


# What a restructuring does


def test_dormant_weights_wake_up_at_their_dormant_value():
    method = RNM("2:4", sparse_layers="all", keep_norm=False)
    dense = plain((Dense(jnp.array([[4.0, 3.0, 2.0, -1.0]]), jnp.array([0.5])),), False)
    network, state = start(method, dense)
    learner = with_random_moments(learner_of(network), np.random.default_rng(0))
    before = adam_state(learner.parts["actor"].optimizer)
    target = learner.structures["actor"].target(learner.parts["actor"])["actor"].layers[0]

    def train_to(weights):
        """Sets the active weights, in the order of their columns, as training would."""
        return with_online(learner, with_weight(network_of(learner), 0, weights))

    # 3 shrinks to 0.5, below the dormant 2. So the 2 wakes up, and the 4 stays active.
    learner = train_to([4.0, 0.5])
    learner, state, figures = method.restructure(learner, state, SIGNALS)
    assert network_of(learner).layers[0].to_dense().tolist() == [[4.0, 0.0, 2.0, 0.0]]
    assert figures["sad_actor"] == 2  # column 1 off, column 2 on
    after = adam_state(learner.parts["actor"].optimizer)
    for was, now in ((before.mu, after.mu), (before.nu, after.nu)):
        # Stored are column 0, column 2, which woke up, and the bias.
        assert now.tolist() == [was[0], 0.0, was[2]]
    now = learner.structures["actor"].target(learner.parts["actor"])["actor"].layers[0]
    assert now.weight.tolist() == [target.weight[0], 2.0]
    assert now.bias.tolist() == target.bias.tolist()

    # Magnitude decides, not sign: -1 is larger than 0.25. Dormant weights kept their last value.
    learner = train_to([0.25, 2.0])
    learner, state, figures = method.restructure(learner, state, SIGNALS)
    assert network_of(learner).layers[0].to_dense().tolist() == [[0.0, 0.0, 2.0, -1.0]]
    assert figures["sad_actor"] == 2
    learner = train_to([0.1, 0.1])
    learner, state, figures = method.restructure(learner, state, SIGNALS)
    assert network_of(learner).layers[0].to_dense().tolist() == [[0.25, 0.5, 0.0, 0.0]]
    assert figures["sad_actor"] == 4

    # The weights have not changed, so the mask does not change.
    learner, state, figures = method.restructure(learner, state, SIGNALS)
    assert network_of(learner).layers[0].to_dense().tolist() == [[0.25, 0.5, 0.0, 0.0]]
    assert figures["sad_actor"] == 0


def test_sad_is_the_sum_of_flipped_mask_bits_over_all_layers():
    method = RNM("2:4", sparse_layers="all")
    network, state = start(method, build(jax.random.key(0), (16, 16, 4)))
    learner, rng = learner_of(network), np.random.default_rng(0)
    for _ in range(3):
        network = network_of(learner)
        for i, layer in enumerate(network.layers):
            network = with_weight(network, i, 0.2 * normal(rng, *layer.weight.shape))
        learner, state, figures = method.restructure(with_online(learner, network), state, SIGNALS)
        flips = [
            np.sum(active(was) != active(now))
            for was, now in zip(network.layers, network_of(learner).layers, strict=True)
        ]
        assert all(flips)
        assert figures["sad_actor"] == sum(flips)


# What holds throughout training
@pytest.fixture(scope="module", params=["hidden", "all"])
def trained(request) -> Engine:
    """An engine after three restructurings, trained at a large learning rate."""
    engine = Engine(SMALL, RNM("2:4", sparse_layers=request.param), COLUMNS, seed=0)
    rng = np.random.default_rng(0)
    for _ in range(3):
        for _ in range(10):
            engine.update(rows(rng, 8, COLUMNS))
        figures = engine.restructure("reselect", at(0.0))
        assert min(flips(figures)) > 0  # or these tests would show nothing
    engine.update(rows(rng, 8, COLUMNS))
    engine.update(rows(rng, 8, COLUMNS))
    return engine


def test_all_six_networks_hold_n_of_every_m(trained):
    networks = trained.learner.all_networks()
    assert set(networks) == SIX
    everywhere = trained.method.sparse_layers == "all"
    for network in networks.values():
        for i, layer in enumerate(network.layers):
            values = np.asarray(layer.to_dense())
            if isinstance(layer, RowSparse):
                assert most_per_group(values != 0, 4) == 2
            else:
                assert not everywhere and i in (0, 2)
                assert most_per_group(values != 0, 4) == min(4, values.shape[1])
        assert everywhere or isinstance(network.layers[1], RowSparse)


@pytest.mark.parametrize("trained", ["all"], indirect=True)
def test_all_layers_sparse_keeps_exactly_half_of_all_weights(trained):
    networks = trained.learner.all_networks()
    total = 2 * (12 * 16 + 16 * 16 + 16 * 4) + 4 * (16 * 16 + 16 * 16 + 16)
    kept = sum(np.count_nonzero(la.to_dense()) for n in networks.values() for la in n.layers)
    assert 2 * kept == total
    assert accounting.footprint(networks).compression_ratio == accounting.sparsity(networks) == 0.5


def test_values_moments_and_targets_exist_only_for_kept_weights(trained):
    hidden = 16 * 16 // 2
    if trained.method.sparse_layers == "all":
        actor, critic = (12 * 16 + 16 * 4) // 2 + hidden, (16 * 16 + 16) // 2 + hidden
    else:
        actor, critic = 12 * 16 + hidden + 16 * 4, 16 * 16 + hidden + 16
    sizes = {"actor": actor + 16 + 16 + 4, "critics": 2 * (critic + 16 + 16 + 1)}
    for name, part in trained.learner.parts.items():
        adam = adam_state(part.optimizer)
        assert {v.shape for v in (part.values, part.target, adam.mu, adam.nu)} == {(sizes[name],)}


def test_restructure_leaves_structures_and_shapes_as_they_were(trained):
    def described():
        shapes = jax.tree.map(lambda a: (a.shape, a.dtype), trained.arrays)
        return trained.learner.structures, shapes

    before = described()
    trained.update(rows(np.random.default_rng(2), 8, COLUMNS))
    trained.restructure("reselect", at(0.0))
    assert described() == before


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects the compilations that happen while the context is open."""
    events: list[str] = []
    open_ = True

    def listen(event: str, duration: float, **_: object) -> None:
        if open_ and event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    # jax has no public way to remove one listener, so this one does nothing when it is closed.
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        open_ = False


def test_the_context_collects_compilations():
    with compilations() as events:
        jax.jit(lambda x: x * 3.0 + 1.0)(jnp.ones(17))
    assert events


def test_a_restructure_compiles_nothing_new(trained):
    rng, observation = np.random.default_rng(0), np.zeros((1, 12), np.float32)

    def a_round() -> None:
        for _ in range(4):
            trained.update(rows(rng, 8, COLUMNS))
            trained.act(observation)
        assert max(flips(trained.restructure("reselect", at(0.0)))) > 0
        trained.take_metrics()
        accounting.footprint(trained.learner.all_networks())

    a_round()
    with compilations() as events:
        for _ in range(3):
            a_round()
    assert not events


class RecordSteps(sparl.Callback):
    """Keeps the steps at which a run restructured."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_restructure(self, step, figures) -> None:
        self.steps.append(step)


@pytest.mark.parametrize("interval, steps", [(0, []), (20, [30, 50, 70])])
def test_interval_counts_updates_and_zero_never_restructures(tmp_path, interval, steps):
    config = TD3(hidden=(16, 16), batch_size=8, learning_starts=10)
    record = RecordSteps()
    run = {"out": tmp_path / "run", "callbacks": [record], "quiet": True, "steps": 80}
    sparl.train("Pendulum-v1", config, RNM("2:4", interval=interval), eval_episodes=1, **run)
    assert record.steps == steps


def test_updates_leave_the_masks_alone(trained):
    # Copies, because an update donates the arrays that it is given.
    before = {name: np.array(part.indices) for name, part in trained.learner.parts.items()}
    values = np.array(trained.learner.parts["critics"].values)
    for _ in range(2):
        trained.update(rows(np.random.default_rng(1), 8, COLUMNS))
    assert not same_bits(trained.learner.parts["critics"].values, values)
    for name, part in trained.learner.parts.items():
        assert part.indices.size and same_bits(part.indices, before[name])


# Straight-through


def straight_through(weights, **options) -> tuple[RNM, Network]:
    """A method with straight-through gradients, and a network of one layer."""
    method = RNM("1:2", sparse_layers="all", keep_norm=False, straight_through=True, **options)
    dense = plain((Dense(jnp.array(weights), jnp.array([8.0])),), False)
    return method, start(method, dense)[0]


def test_decay_shrinks_dormant_weights_alone():
    method, network = straight_through([[4.0, 2.0, -1.0, 3.0]], dormant_decay=0.5)
    assert method.after_step is not None
    decayed = method.after_step("actor", {"actor": network}, {}, 0.25)["actor"]
    # Columns 0 and 3 are active; the others lose the learning rate times the decay, an eighth.
    assert decayed.layers[0].weight.tolist() == [[4.0, 1.75, -0.875, 3.0]]
    assert decayed.layers[0].bias.tolist() == [8.0]


def test_decay_of_zero_is_left_out_of_the_update():
    assert straight_through([[1.0, 2.0]], dormant_decay=0.0)[0].after_step is None
    assert RNM("2:4").after_step is None


def test_straight_through_chooses_again_among_all_weights():
    method, network = straight_through([[4.0, 2.0, -1.0, 3.0]])
    learner = with_random_moments(learner_of(network), np.random.default_rng(0))
    trained = with_online(learner, with_weight(network, 0, [[4.0, -5.0, 1.0, 3.0]]))
    after, state, figures = method.restructure(trained, {}, SIGNALS)
    assert state == {}
    assert figures["sad_actor"] == 2
    layer = network_of(after).layers[0]
    assert layer.to_dense().tolist() == [[0.0, -5.0, 0.0, 3.0]]
    # The mask alone changed: weights, moments and targets exist for all places at any time.
    was, now = trained.parts["actor"], after.parts["actor"]
    for name in ("values", "target", "optimizer"):
        for a, b in zip(
            jax.tree.leaves(getattr(was, name)), jax.tree.leaves(getattr(now, name)), strict=True
        ):
            assert same_bits(a, b)


def test_straight_through_trains_dormant_weights_and_keeps_the_masks_valid():
    method = RNM("2:4", straight_through=True, dormant_decay=0.0)
    engine = Engine(SMALL, method, COLUMNS, seed=0)
    first, rng = engine.learner.all_networks(), np.random.default_rng(0)
    for _ in range(2):
        for _ in range(6):
            engine.update(rows(rng, 8, COLUMNS))
        figures = engine.restructure("reselect", at(0.0))
    assert min(flips(figures)) > 0
    networks = engine.learner.all_networks()
    assert set(networks) == SIX
    for name, network in networks.items():
        layer, before = network.layers[1], first[name].layers[1]
        assert isinstance(layer, StraightThrough)
        assert most_per_group(np.asarray(layer.to_dense()) != 0, 4) == 2
        dormant = ~active(layer) & ~active(before)
        moved = np.asarray(layer.weight != before.weight)[dormant]
        assert moved.mean() > 0.5  # weights behind a dead unit have no gradient


def test_an_actor_may_have_a_pattern_of_its_own_or_none():
    kinds = {}
    for pattern in ("none", "1:4"):
        method = RNM("2:4", interval=1, sparse_layers="all", actor_pattern=pattern)
        engine = Engine(SMALL, method, COLUMNS, seed=0)
        figures = engine.restructure("reselect", at(0.0))
        assert figures is not None
        networks = engine.learner.all_networks()
        kinds[pattern] = {name: networks[name].layers[1] for name in ("actor", "target_actor")}
        critic = networks["critic_0"].layers[1]
        assert isinstance(critic, RowSparse) and critic.kept == 16 * 16 // 2
        assert ("kept_actor" in figures) == (pattern != "none") and "kept_critic_1" in figures
    assert all(isinstance(layer, Dense) for layer in kinds["none"].values())
    assert all(layer.kept == 16 * 16 // 4 for layer in kinds["1:4"].values())


def test_a_restructuring_chooses_anew_within_the_pattern_of_each_layer():
    method = RNM("2:4", first_pattern="1:4", head_pattern="1:8x2")
    network, state = start(method, build(jax.random.key(0), (16, 16, 4)))
    learner, rng = learner_of(network), np.random.default_rng(0)
    for i, layer in enumerate(network.layers):
        network = with_weight(network, i, 0.2 * normal(rng, *layer.weight.shape))
    learner, state, figures = method.restructure(with_online(learner, network), state, SIGNALS)
    first, head = network_of(learner).layers
    assert figures["sad_actor"] > 0
    assert most_per_group(active(first), 4) == 1 and most_per_group(active(head), 8) == 1
    assert (active(head)[::2] == active(head)[1::2]).all()
    assert (first.kept, head.kept) == (16 * 16 // 4, 16 * 4 // 8)
