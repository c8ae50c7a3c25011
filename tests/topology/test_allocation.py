"""Counts of kept weights per layer: by hand, and exact for any network."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparl.errors import BadValue
from sparl.topology import RULES, allocate, allocate_beside, apportion, budget

# TD3 on HalfCheetah-v5: 71,424 and 71,680 weights.
ACTOR = [(256, 17), (256, 256), (6, 256)]
CRITIC = [(256, 23), (256, 256), (1, 256)]


def test_a_budget_is_the_nearest_number_of_weights():
    assert budget(71_424, 0.9) == 7_142
    assert budget(10, 0.25) == 7  # 2.5 left out counts as 3
    assert budget(304, 0.0) == 304


def test_uniform_gives_every_layer_the_same_density():
    assert allocate([(10, 10), (10, 20), (5, 10)], 35, "uniform") == [10, 20, 5]


def test_erdos_renyi_counts_are_proportional_to_inputs_plus_outputs():
    # 30, 60 and 40 neurons at the ends: 130 shares for 260 weights, two weights to a share.
    assert allocate([(10, 20), (40, 20), (20, 20)], 260, "er") == [60, 120, 80]


def test_a_layer_denser_than_1_becomes_dense_and_the_rest_is_solved_again():
    # By the first solution (shares 273, 512, 262) the head would get 1787 of its 1536 weights.
    assert allocate(ACTOR, 7_142, "er") == [1950, 3656, 1536]
    # Solved twice: first the 40 are too many for their layer, then 20 for the layer of 16.
    assert allocate([(1, 40), (10, 10), (2, 8)], 100, "er") == [40, 44, 16]


def test_only_erk_counts_kernel_sizes():
    shapes = [(8, 4, 3, 3), (8, 8, 1, 1)]
    assert allocate(shapes, 100, "erk") == [50, 50]  # 18 and 18
    assert allocate(shapes, 100, "er") == [43, 57]  # 12 and 16
    assert allocate(CRITIC, 7_168, "erk") == allocate(CRITIC, 7_168, "er")


def test_the_largest_remainders_get_the_last_weights():
    thirds = [Fraction(10, 3)] * 3
    assert apportion(thirds, 10, [9, 9, 9]) == [4, 3, 3]
    assert apportion([Fraction(1, 10), Fraction(29, 10)], 3, [5, 5]) == [1, 2]
    assert apportion([Fraction(5), Fraction(5)], 8, [2, 9]) == [2, 6]


@given(
    shapes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=5),
    share=st.floats(0, 1),
    rule=st.sampled_from(RULES),
)
def test_any_budget_is_met_to_the_weight(shapes, share, rule):
    sizes = [math.prod(shape) for shape in shapes]
    kept = len(shapes) + math.floor(share * (sum(sizes) - len(shapes)))
    counts = allocate(shapes, kept, rule)
    assert sum(counts) == kept
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))


@given(widths=st.lists(st.integers(4, 80), min_size=3, max_size=5), share=st.floats(0.05, 0.95))
def test_layers_that_are_not_full_follow_the_rule(widths, share):
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    sizes = [math.prod(shape) for shape in shapes]
    kept = max(len(shapes), math.floor(share * sum(sizes)))
    counts = allocate(shapes, kept, "er")
    scales = [
        count / sum(shape)
        for count, shape, size in zip(counts, shapes, sizes, strict=True)
        if 1 < count < size
    ]
    # Whole numbers: a count may be one off what the rule says.
    for one, shape in zip(scales, shapes, strict=False):
        assert abs(one - scales[0]) <= 2 / min(map(sum, shapes)), (counts, shape)


@pytest.mark.parametrize("kept", [2, 101])
def test_impossible_budgets_are_refused(kept):
    with pytest.raises(BadValue, match=f"{kept} weights cannot be shared among 3 layers with 100"):
        allocate([(4, 10), (5, 10), (1, 10)], kept, "er")


def test_a_layer_is_sparse_where_its_neurons_keep_enough_inputs_on_average():
    # Beside the head 794 weights of the first layer are 3.1 inputs for each of 256 neurons.
    assert allocate_beside({2}, ACTOR, 14_285, "uniform", 3) == [794, 11_955, 1_536]
    assert allocate_beside({2}, ACTOR, 14_285, "uniform", 4) == [4_352, 8_397, 1_536]
    # At half of that the first layer keeps 7.6; dense, it leaves the second one 4.9.
    assert allocate_beside({2}, ACTOR, 7_142, "er", 7) == [1_950, 3_656, 1_536]
    with pytest.raises(BadValue, match="too few where 3 of 3 layers are dense"):
        allocate_beside({2}, ACTOR, 7_142, "er", 8)


@given(
    shapes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=5),
    share=st.floats(0, 1),
    rule=st.sampled_from(RULES),
    least=st.integers(0, 20),
)
def test_beside_dense_layers_a_budget_is_met_to_the_weight_or_refused(shapes, share, rule, least):
    sizes = [math.prod(shape) for shape in shapes]
    last = len(shapes) - 1
    kept = len(shapes) + math.floor(share * (sum(sizes) - len(shapes)))
    try:
        counts = allocate_beside({last}, shapes, kept, rule, least)
    except BadValue:
        assert kept < sum(sizes)
        return
    assert sum(counts) == kept and counts[last] == sizes[last]
    for count, size, (outputs, _) in zip(counts, sizes, shapes, strict=True):
        assert count == size or count >= max(1, least * outputs)
