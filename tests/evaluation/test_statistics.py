import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation import (
    bootstrap_difference,
    comparisons_needed,
    exact_interval,
    resolvable_share,
    share_interval,
    standard_error,
    wilson_interval,
)
from alpaca_lora.evaluation.statistics import sign_test

SIMULATIONS = 1000


def tail(successes, total, share):
    """The probability of at least so many successes, in whole numbers."""
    share = Fraction(share)
    return float(sum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(successes, total + 1)))


@pytest.mark.parametrize(("successes", "total"), [(1, 7), (90, 179), (63, 252), (250, 252)])
def test_beyond_each_end_of_the_exact_interval_lies_half_of_what_it_leaves_out(successes, total):
    low, high = exact_interval(successes, total)
    assert tail(successes, total, low) == pytest.approx(0.025, rel=1e-9)
    assert 1 - tail(successes + 1, total, high) == pytest.approx(0.025, rel=1e-9)


def test_the_exact_interval_of_none_and_of_all_has_its_closed_form():
    assert exact_interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert exact_interval(10, 10) == (pytest.approx(0.025**0.1), 1.0)


def test_at_the_ends_of_wilson_s_interval_the_score_test_just_rejects():
    for end in wilson_interval(90, 179):
        assert abs(90 / 179 - end) / math.sqrt(end * (1 - end) / 179) == pytest.approx(1.959964, rel=1e-6)


@pytest.mark.parametrize("successes", [0, 1, 25, 50])
def test_the_interval_of_wins_and_losses_alone_is_wilson_s(successes):
    shares = [1.0] * successes + [0.0] * (50 - successes)
    assert share_interval(shares) == pytest.approx(wilson_interval(successes, 50))


def test_draws_and_weights_make_the_interval_narrower_and_nothing_else():
    narrow, wide = share_interval([1.0, 0.0] * 10 + [0.5] * 80), wilson_interval(50, 100)
    assert sum(narrow) == pytest.approx(sum(wide))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2
    assert share_interval([0.5] * 10) == pytest.approx(wilson_interval(5, 10))


def wins(generator):
    return (generator.random(400) < 0.2646).astype(float), 0.2646


def wins_and_draws(generator):
    return generator.choice([0.0, 0.5, 1.0], p=[0.55, 0.15, 0.3], size=200), 0.375


def weighted(generator):
    return generator.beta(0.3, 0.9, size=200), 0.25


@pytest.mark.parametrize("draw", [wins, wins_and_draws, weighted])
def test_share_intervals_cover_the_truth_as_often_as_they_say(draw):
    generator, covered = np.random.default_rng(20230313), 0
    for _ in range(SIMULATIONS):
        shares, truth = draw(generator)
        low, high = share_interval(shares)
        covered += low <= truth <= high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_wilson_s_interval_covers_as_often_as_it_says_and_the_exact_one_no_less():
    generator = np.random.default_rng(252)
    drawn = Counter(generator.binomial(252, 0.5, size=SIMULATIONS).tolist())
    covered = dict.fromkeys((wilson_interval, exact_interval), 0.0)
    for successes, times in drawn.items():
        for interval in covered:
            low, high = interval(successes, 252)
            covered[interval] += (low <= 0.5 <= high) * times / SIMULATIONS
    assert 0.93 <= covered[wilson_interval] <= 0.97
    assert covered[wilson_interval] <= covered[exact_interval] <= 0.98


def test_paired_bootstrap_intervals_cover_as_often_as_they_say():
    generator, covered = np.random.default_rng(805), 0
    for seed in range(SIMULATIONS):
        row = generator.normal(size=100)
        first, second = row + generator.normal(0.3, 1, size=100), row + generator.exponential(1, size=100) - 1
        low, high = bootstrap_difference(first, second, seed=seed, resamples=300)
        covered += low <= 0.3 <= high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_an_interval_that_is_too_narrow_fails_the_same_look():
    drawn = np.random.default_rng(1).binomial(252, 0.5, size=SIMULATIONS)
    covered = sum(low <= 0.5 <= high for low, high in (wilson_interval(int(k), 252, 0.9) for k in drawn))
    assert covered / SIMULATIONS < 0.93


def test_pairing_takes_out_what_the_rows_have_in_common_and_a_seed_repeats_it():
    generator = np.random.default_rng(7)
    row = generator.normal(0, 10, size=60)
    first, second = row + 1 + generator.normal(size=60) / 10, row
    low, high = bootstrap_difference(first, second, seed=3, resamples=500)
    assert 0.9 < low < high < 1.1
    assert bootstrap_difference(first, second, seed=3, resamples=500) == (low, high)


def test_the_standard_error_is_that_of_pandas():
    assert standard_error([1, 2, 4]) == pytest.approx(math.sqrt(7 / 3) / math.sqrt(3))
    assert math.isnan(standard_error([1]))


def test_power_is_what_a_simulation_finds():
    total = comparisons_needed(0.55)
    drawn = np.random.default_rng(783).binomial(total, 0.55, size=4000)
    found = np.abs(drawn / total - 0.5) / math.sqrt(0.25 / total) > 1.959964
    assert found.mean() == pytest.approx(0.8, abs=0.02)
    assert resolvable_share(total) == pytest.approx(0.55, abs=1e-4)
    assert comparisons_needed(0.45) == total
    assert resolvable_share(3) == 1.0


def test_the_sign_test_has_its_exact_probability():
    assert sign_test(9, 1) == sign_test(1, 9) == pytest.approx(2 * 11 / 1024)
    assert sign_test(0, 0) == sign_test(5, 5) == 1.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: wilson_interval(3, 0), "total above 0, got 3 of 0"),
        (lambda: exact_interval(5, 4), "successes must be from 0 to total, and total above 0, got 5 of 4"),
        (lambda: wilson_interval(1, 2, 95), "level must be between 0 and 1, as 0.95, got 95"),
        (lambda: share_interval([]), "there are no comparisons"),
        (lambda: bootstrap_difference([1, 2], [1], seed=0), r"one number per row each, got \(2,\) and \(1,\)"),
        (lambda: comparisons_needed(0.5), "between 0 and 1 and not 0.5, got 0.5"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, said):
    with pytest.raises(ConfigError, match=said):
        call()
