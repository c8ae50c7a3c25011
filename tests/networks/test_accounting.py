"""The numbers of `sparl inspect`, for networks small enough to count by hand."""

import jax.numpy as jnp
import pytest

from sparl.layouts import BlockCirculant, Dense, RowSparse, StraightThrough
from sparl.networks import accounting, plain
from sparl.topology import Kept, NofM, PerLayer

PATTERN = NofM(2, 4)


def matrix(out: int, inputs: int):
    return jnp.arange(1.0, out * inputs + 1).reshape(out, inputs)


def sparse(layout, out: int, inputs: int, pattern):
    dense = matrix(out, inputs)
    return layout.of(dense, jnp.zeros(out), pattern, pattern.select(dense))


ACTOR = plain(
    (
        Dense(matrix(8, 3), jnp.zeros(8)),
        sparse(RowSparse, 6, 8, PATTERN),
        sparse(RowSparse, 2, 6, PerLayer(5)),
    ),
    True,
)
CRITIC = plain((sparse(StraightThrough, 8, 10, PATTERN), Dense(matrix(1, 8), jnp.zeros(1))), False)


def test_report_of_hand_made_networks():
    report = accounting.report({"actor": ACTOR, "critic_0": CRITIC}, None, 0.25)
    assert report == {
        "networks": {
            "actor": {
                "weights_total": 24 + 48 + 12,
                "weights_kept": 24 + 24 + 5,
                "neurons_total": 8 + 6,
                "neurons": 8 + 6,
                "bytes": 4 * (24 + 8) + (24 * (4 + 1) + 4 * 6) + (5 * (4 + 1) + 4 * 2 + 4 * 3),
                "macs": 24 + 24 + 5,
                "layers": [
                    {
                        "name": "hidden_0",
                        "layout": "dense",
                        "pattern": None,
                        "shape": (8, 3),
                        "original_shape": (8, 3),
                        "kept": 24,
                        "max_per_group": None,
                        "norm_bytes": 0,
                        "bytes": 128,
                        "macs": 24,
                    },
                    {
                        "name": "hidden_1",
                        "layout": "row-sparse",
                        "pattern": "2:4",
                        "shape": (6, 8),
                        "original_shape": (6, 8),
                        "kept": 24,
                        "max_per_group": 2,
                        "norm_bytes": 0,
                        "bytes": 144,
                        "macs": 24,
                    },
                    {
                        "name": "head",
                        "layout": "row-sparse",
                        "pattern": "5 per layer",
                        "shape": (2, 6),
                        "original_shape": (2, 6),
                        "kept": 5,
                        "max_per_group": None,
                        "norm_bytes": 0,
                        "bytes": 45,
                        "macs": 5,
                    },
                ],
            },
            "critic_0": {
                "weights_total": 80 + 8,
                # 10 inputs: groups of 4, 4 and 2, which keep 2 each.
                "weights_kept": 48 + 8,
                "neurons_total": 8,
                "neurons": 8,
                "bytes": (48 * 5 + 4 * 8) + 4 * (8 + 1),
                "macs": 48 + 8,
                "layers": [
                    {
                        "name": "hidden_0",
                        "layout": "straight-through",
                        "pattern": "2:4",
                        "shape": (8, 10),
                        "original_shape": (8, 10),
                        "kept": 48,
                        "max_per_group": 2,
                        "norm_bytes": 0,
                        "bytes": 272,
                        "macs": 48,
                    },
                    {
                        "name": "head",
                        "layout": "dense",
                        "pattern": None,
                        "shape": (1, 8),
                        "original_shape": (1, 8),
                        "kept": 8,
                        "max_per_group": None,
                        "norm_bytes": 0,
                        "bytes": 36,
                        "macs": 8,
                    },
                ],
            },
        },
        # A straight-through layer stores all of its 80 weights while it trains.
        "compression_ratio": pytest.approx(1 - (53 + 88) / (84 + 88)),
        "average_compression_ratio": 0.25,
    }


def test_sparsity_counts_products_and_compression_counts_storage():
    networks = {"actor": ACTOR, "critic_0": CRITIC}
    assert accounting.sparsity(networks) == pytest.approx(1 - (53 + 56) / (84 + 88))
    assert accounting.sparsity({"critic_0": CRITIC}) == pytest.approx(1 - 56 / 88)
    assert accounting.footprint({"critic_0": CRITIC}).compression_ratio == 0.0


def test_footprint_counts_every_pass_over_weights_and_indices():
    # 53 weights; columns take a byte each, and the unstructured layer has starts of rows.
    values, indices = 4 * 53, (24 + 5) + 4 * 3
    found = accounting.footprint({"actor": ACTOR, "target_actor": ACTOR})
    total = 2 * 4 * 84
    assert found.compression_ratio == pytest.approx(1 - 2 * values / total)
    assert found.compression_ratio_with_indices == pytest.approx(1 - 2 * (values + indices) / total)
    forward, backward, optimizer = values + indices, values + indices, values
    averaging = values + values  # of both networks
    assert found.weight_bytes_read == forward + backward + optimizer + forward + averaging
    assert found.weight_bytes_written == 2 * values


def test_sparsity_of_a_block_circulant_layer_counts_only_pruned_blocks():
    kept = Kept.of(jnp.array([[True, False], [True, True]]), 3)
    layer = BlockCirculant.of(matrix(4, 4), jnp.zeros(4), 2, kept)
    networks = {"q": plain((layer,), False)}
    assert accounting.sparsity(networks) == pytest.approx(1 / 4)
    assert accounting.footprint(networks).compression_ratio == pytest.approx(1 - 6 / 16)
    (found,) = accounting.report(networks)["networks"]["q"]["layers"]
    assert (found["kept"], found["macs"], found["bytes"]) == (6, 12, 4 * 10 + 3 + 4 * 3)
    assert found["pattern"] == "G 2: 3 of 4"


@pytest.mark.parametrize(
    "columns, fullest",
    [([0, 1, 4, 5], 2), ([0, 1, 2, 4], 3), ([0, 2, 4, 8], 2), ([4, 5, 6, 7], 4), ([0, 1, 8, 9], 2)],
)
def test_max_per_group_is_counted_from_the_mask_whatever_the_pattern_says(columns, fullest):
    """So that an inspection would tell if a layer broke its pattern."""
    kept = Kept(jnp.array(columns), jnp.array([0, 4]))
    layer = RowSparse.packed(jnp.ones(4), jnp.zeros(1), 10, PATTERN, kept)
    network = accounting.report({"actor": plain((layer,), True)})["networks"]["actor"]
    assert network["layers"][0]["max_per_group"] == fullest


def test_neurons_that_were_cut_out_count_in_the_original_shapes():
    narrow = plain((Dense(matrix(2, 3), jnp.zeros(2)), Dense(matrix(4, 2), jnp.zeros(4))), False)
    originals = {"q": ((8, 3), (4, 8))}
    networks = {"q": narrow, "target_q": narrow}
    assert accounting.sparsity(networks, originals) == pytest.approx(1 - 14 / 56)
    assert accounting.footprint(networks, originals).compression_ratio == pytest.approx(1 - 14 / 56)
    report = accounting.report(networks, originals)["networks"]["target_q"]
    assert (report["neurons"], report["neurons_total"]) == (2, 8)
    assert (report["weights_kept"], report["weights_total"]) == (14, 56)
    assert report["layers"][0]["original_shape"] == (8, 3)
