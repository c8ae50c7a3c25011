"""GST: which layers are grouped, which blocks are pruned, and how the target follows the return."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN, TINY_DQN
from support import rows, same_bits

import sparl
from sparl.engine import Engine, dense_gradients
from sparl.errors import BadValue
from sparl.layouts import BlockCirculant, Dense, RowSparse, projected
from sparl.methods import GST, Returns, TrainingProgress
from sparl.networks import build
from sparl.replay import Columns

WELL, BADLY = Returns(10.0, 10.0, 0.0), Returns(7.0, 10.0, 0.0)
SMALL: dict[str, Any] = {"group": 2, "smallest": 8, "sparsity": 0.3, "increment": 0.1}


def engine_of(**options: Any) -> Engine:
    """A DQN of 4-8-8-3: 32 + 64 + 24 weights, of which the 64 are large at `smallest` 8."""
    config = replace(TINY_DQN, hidden=(8, 8))
    return Engine(config, GST(**SMALL | options), Columns(4, 3, discrete=True), seed=1)


def look(engine: Engine, returns: Returns = WELL) -> dict:
    """The figures of one check of the return."""
    figures = engine.restructure("look", TrainingProgress(100, 1000, returns))
    assert figures is not None
    return figures


def trained(engine: Engine) -> Engine:
    """The engine after three updates."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        engine.update(rows(rng, 8, engine.columns))
    return engine


def middle(engine: Engine) -> Any:
    """The large layer."""
    return engine.learner.networks("q")["q"].layers[1]


def left(target: float) -> float:
    """The share of the 64 weights in the middle that stays at a target for all 120 weights."""
    return (round(120 * (1 - target)) - 56) / 64


def test_large_layers_start_grouped_and_keep_their_norm():
    dense = Engine(replace(TINY_DQN, hidden=(8, 8)), sparl.methods.Dense(),
                   Columns(4, 3, discrete=True), seed=1)  # fmt: skip
    engine = engine_of()
    first, grouped, head = engine.learner.networks("q")["q"].layers
    assert isinstance(first, Dense) and isinstance(head, Dense)
    assert isinstance(grouped, BlockCirculant) and grouped.group == 2 and grouped.kept == 32
    before, after = np.asarray(middle(dense).to_dense()), np.asarray(grouped.to_dense())
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), rel=1e-5)
    ratio = np.asarray(projected(jnp.asarray(after), 2)) / np.asarray(
        projected(jnp.asarray(before), 2)
    )
    assert ratio == pytest.approx(ratio.mean(), rel=1e-4)
    assert engine.sparsity == 0.0
    assert engine.footprint.compression_ratio == pytest.approx(1 - (56 + 32) / 120)


def test_blocks_of_the_smallest_norm_are_pruned_exactly_to_the_target():
    engine = trained(engine_of(increment=0.15))
    for level, target in ((1, 0.15), (2, 0.3), (2, 0.3)):
        before = middle(engine)
        figures = look(engine)
        after = middle(engine)
        assert figures["level"] == level and figures["gate"] == 1
        assert figures["target"] == pytest.approx(target)
        assert after.blocks == int(left(target) * 16)
        norms = np.asarray(jnp.linalg.norm(projected(before.to_dense(), 2), axis=-1))
        kept = np.asarray(after.active_blocks()) > 0
        pruned = (np.asarray(before.active_blocks()) > 0) & ~kept
        assert not pruned.any() or norms[pruned].max() <= norms[kept].min()
        assert same_bits(after.to_dense(), np.where(after.active() > 0, before.to_dense(), 0.0))
        engine.update(rows(np.random.default_rng(1), 8, engine.columns))
    assert not pruned.any()


def test_a_drop_in_return_holds_the_target_and_then_lowers_it():
    engine = trained(engine_of(patience=2))
    script = [WELL, BADLY, WELL, BADLY, BADLY, BADLY, BADLY]
    levels = [look(engine, returns)["level"] for returns in script]
    assert levels == [1, 1, 2, 2, 1, 1, 0]
    # The tolerance is 0.2 of the distance between 0 and 10.
    engine = trained(engine_of())
    assert look(engine, Returns(8.0, 10.0, 0.0))["level"] == 1
    assert look(engine, Returns(7.9, 10.0, 0.0))["level"] == 1
    without = trained(engine_of(tolerance=1.0, patience=1, increment=0.2))
    assert [look(without, BADLY)["level"] for _ in range(3)] == [1, 2, 2]


def test_blocks_come_back_at_zero_where_the_gradient_is_largest():
    engine = trained(engine_of(patience=1))
    for _ in range(3):
        look(engine)
    engine.update(rows(np.random.default_rng(1), 8, engine.columns))
    before = middle(engine)
    algorithm = engine.algorithm
    batch = engine.columns.split(jnp.asarray(engine._newest))
    gradients = dense_gradients(algorithm, engine.learner, batch, engine.journal)
    gradient = gradients["q"]["q"].layers[1].to_dense()
    look(engine, BADLY)
    after = middle(engine)
    assert after.blocks == int(left(0.2) * 16) > before.blocks
    pruned = np.asarray(before.active_blocks()) == 0
    back = pruned & (np.asarray(after.active_blocks()) > 0)
    assert same_bits(after.to_dense(), before.to_dense())  # blocks that came back are zero
    norms = np.asarray(jnp.linalg.norm(projected(gradient, 2), axis=-1))
    assert back.sum() == after.blocks - before.blocks
    assert norms[back].min() >= norms[pruned & ~back].max() > 0


def test_a_layer_is_ungrouped_where_pruning_alone_stores_less_and_grouped_again():
    engine = trained(engine_of(ungroup=True, patience=1))
    kinds, counts = [], []
    for returns in (WELL, WELL, WELL, BADLY, BADLY):
        before = middle(engine)
        look(engine, returns)
        kinds.append(type(middle(engine)))
        counts.append(int(middle(engine).active().sum()))
        if len(kinds) == 3:  # the weights that are left were there before
            assert not (np.asarray(middle(engine).active()) > np.asarray(before.active())).any()
        engine.update(rows(np.random.default_rng(1), 8, engine.columns))
    # Grouping stores half of the layer; pruning leaves 0.8, 0.62 and 0.44 of it.
    assert [left(t) > 0.5 for t in (0.1, 0.2, 0.3)] == [True, True, False]
    assert kinds == [BlockCirculant, BlockCirculant, RowSparse, BlockCirculant, BlockCirculant]
    assert counts[2] == int(left(0.3) * 64)
    assert counts[3] == 4 * int(left(0.2) * 16) and counts[4] == 4 * int(left(0.1) * 16)


def test_without_groups_single_entries_are_pruned():
    engine = trained(engine_of(group=1))
    assert isinstance(middle(engine), Dense)
    look(engine)
    before = np.abs(np.asarray(middle(engine).to_dense()))
    look(engine)
    layer = middle(engine)
    assert isinstance(layer, RowSparse) and layer.kept == int(left(0.2) * 64)
    kept = np.asarray(layer.active()) > 0
    pruned = (before > 0) & ~kept
    assert pruned.any() and before[pruned].max() <= before[kept].min()


def test_the_last_update_prunes_nothing():
    """What nothing trains after would be the policy that is left."""
    method = GST(interval=10)
    assert [u for u in range(1, 31) if method.stage(u, 30)] == [10, 20]


def test_a_network_without_large_layers_gives_a_note():
    import jax

    network = build(jax.random.key(0), (4, 8, 8, 3))
    (note,) = GST().notes({"q": {"q": network}}, {"q": "critic"}, None)
    assert note.startswith("q has no layer with 64 inputs and outputs: it stays dense.")
    assert GST(smallest=8).notes({"q": {"q": network}}, {"q": "critic"}, None) == []


def test_the_stored_bytes_of_a_run_agree_with_its_compression_ratio(tmp_path):
    method = GST(interval=20, tolerance=1.0, **SMALL | {"group": 4, "smallest": 16})
    agent = replace(TINY_DQN, hidden=(32, 32))
    sparl.train("environments:Steps-v0", agent, method, out=tmp_path / "run",
                **OFTEN | {"steps": 200})  # fmt: skip
    policy = sparl.load(tmp_path / "run").policy
    layer = policy.network.layers[1]
    assert isinstance(layer, BlockCirculant) and layer.blocks < 64
    summary = sparl.storage.RunFolder(tmp_path / "run").read_summary()
    assert summary is not None
    kept, total = summary["policy_weights_kept"], summary["policy_weights_total"]
    final = 1 - kept / total
    with_indices = summary["average_compression_ratio_with_indices"]
    assert 0.3 < with_indices < summary["average_compression_ratio"] < final
    # Besides the golden pairs, the file holds weights, biases and indices alone.
    import safetensors.numpy

    arrays = safetensors.numpy.load_file(tmp_path / "run" / "policy" / "policy.safetensors")
    stored = sum(a.nbytes for name, a in arrays.items() if not name.startswith("golden"))
    assert stored == summary["policy_bytes"]
    assert stored == 4 * kept + 4 * (32 + 32 + policy.network.layers[2].out_features) + (
        layer.blocks + 4 * 9
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"group": 3}, "group is 3: choose of 2, 4, 8, 16, or 1 for no grouping"),
        ({"sparsity": 1.0}, "sparsity is 1.0: it must be at least 0 and below 1"),
        ({"increment": 0.0}, "increment is 0.0: it must be above 0"),
        ({"tolerance": -0.1}, "tolerance is -0.1: it must be within 0 and 1"),
        ({"interval": 0}, "interval is 0: it must be at least 1"),
        ({"patience": 0}, "patience is 0: it must be at least 1"),
    ],
)
def test_invalid_options_are_refused_by_name(options, message):
    with pytest.raises(BadValue, match=re.escape(message)):
        GST(**options)


def test_a_sparsity_beyond_the_large_layers_is_refused_at_once():
    with pytest.raises(BadValue, match=r"sparsity is 0.6: q has 56 of 120 .* below 0.53"):
        engine_of(sparsity=0.6)
