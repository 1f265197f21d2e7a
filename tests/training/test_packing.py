import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.training.packing import pack_lengths

LENGTHS = st.lists(st.integers(1, 64), max_size=200)


@given(LENGTHS)
def test_every_item_is_in_exactly_one_bin_that_holds_it(lengths):
    bins = pack_lengths(lengths, 64)
    assert sorted(index for items in bins for index in items) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in items) <= 64 for items in bins)


@given(LENGTHS)
def test_no_two_bins_could_be_one(lengths):
    sums = sorted(sum(lengths[index] for index in items) for items in pack_lengths(lengths, 64))
    assert len(sums) < 2 or sums[0] + sums[1] > 64


@pytest.mark.parametrize(
    ("lengths", "bins"),
    [([], []), ([5], [[0]]), ([6, 4, 5, 5], [[0, 1], [2, 3]]), ([3, 3, 3, 3], [[0, 1, 2], [3]])],
)
def test_small_cases_are_as_by_hand(lengths, bins):
    assert pack_lengths(lengths, 10) == bins


def test_alpaca_like_lengths_fill_the_rows():
    lengths = [40 + (index * 7919) % 400 for index in range(2000)]
    bins = pack_lengths(lengths, 512)
    assert sum(lengths) / (512 * len(bins)) > 0.97
