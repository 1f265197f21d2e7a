"""How sure a number is: intervals of shares, paired bootstrap, standard errors, power, the sign test.

A share is what a model gets of its comparisons: 1 for a win, 0 for a loss, between for a draw or a judge that weighs.
Nothing here knows where the shares come from. numpy only.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from alpaca_lora.errors import ConfigError
from alpaca_lora.reporting.shares import Interval, check_counts, deviations, wilson_interval

__all__ = [
    "Interval",
    "bootstrap_difference",
    "comparisons_needed",
    "describe_resolution",
    "deviations",
    "exact_interval",
    "resolvable_share",
    "share_interval",
    "sign_test",
    "standard_error",
    "wilson_interval",
]

_HALVINGS = 60


def exact_interval(successes: int, total: int, level: float = 0.95) -> Interval:
    """Return the Clopper-Pearson interval: it covers at least as often as it says, whatever the true share.

    Args:
        successes: how many, a whole number.
        total: of how many, above 0.
        level: confidence, between 0 and 1.

    Raises:
        ConfigError: there are no comparisons, or more successes than comparisons.

    Source: C. Clopper and E. Pearson, Biometrika 26 (1934).

    >>> "{:.3f} to {:.3f}".format(*exact_interval(90, 179))
    '0.427 to 0.578'
    """
    check_counts(successes, total)
    deviations(level)
    outside = (1 - level) / 2
    low = _share_with_tail(successes, total, outside) if successes else 0.0
    high = 1 - _share_with_tail(total - successes, total, outside) if successes < total else 1.0
    return Interval(low, high)


def share_interval(shares: ArrayLike, level: float = 0.95) -> Interval:
    """Return a score interval of a mean share: Wilson's, with as many comparisons as the shares' variance is worth.

    For wins and losses alone it is Wilson's interval. Draws and weighted verdicts vary less than wins and losses do, so
    they are worth more comparisons, by the ratio of the variances (Kish's design effect).

    Args:
        shares: from 0 to 1, shape (N,), N at least 1.
        level: confidence, between 0 and 1.

    Raises:
        ConfigError: there are no shares.
    """
    values = np.asarray(shares, dtype=float)
    if not values.size:
        raise ConfigError("there are no comparisons; an interval needs at least one")
    mean, variance = float(values.mean()), float(values.var())
    worth = mean * (1 - mean) / variance if variance else 1.0
    total = values.size * max(1.0, worth)
    return wilson_interval(min(1.0, mean) * total, total, level)


def standard_error(values: ArrayLike) -> float:
    """Return the standard error of a mean, with N - 1; NaN for one value, as pandas and AlpacaEval have it."""
    numbers = np.asarray(values, dtype=float)
    return float(numbers.std(ddof=1)) / math.sqrt(numbers.size) if numbers.size > 1 else math.nan


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    seed: int,
    weights: ArrayLike | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Return the paired bootstrap interval of mean(first) - mean(second), by percentiles.

    Rows are drawn together, so what makes a row easy for both does not widen the interval.

    Args:
        first: a number per row, shape (N,).
        second: the other model's number on the same rows, shape (N,).
        seed: the same seed gives the same interval.
        weights: how much each row counts in both means, as tokens in a loss per token; None: 1.
        resamples: how many means are drawn.
        level: confidence, between 0 and 1.

    Raises:
        ConfigError: the two differ in length, or are empty.
    """
    left, right = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if left.shape != right.shape or left.ndim != 1 or not left.size:
        raise ConfigError(f"first and second must have one number per row each, got {left.shape} and {right.shape}")
    deviations(level)
    worth = np.ones_like(left) if weights is None else np.asarray(weights, dtype=float)
    differences, generator, means = (left - right) * worth, np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = generator.integers(left.size, size=left.size)
        means.append(differences[drawn].sum() / worth[drawn].sum())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def comparisons_needed(share: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """Return how many comparisons without draws it takes to tell a share from one half.

    Args:
        share: the true share, between 0 and 1, not 0.5.
        power: how often the difference shall be found.
        level: confidence of the two-sided test.

    Raises:
        ConfigError: the share is one half, or not between 0 and 1.

    >>> comparisons_needed(0.55), comparisons_needed(0.6)
    (783, 194)
    """
    if not 0 < share < 1 or share == 0.5:
        raise ConfigError(f"share must be between 0 and 1 and not 0.5, got {share!r}")
    spread = deviations(level) / 2 + NormalDist().inv_cdf(power) * math.sqrt(share * (1 - share))
    return math.ceil((spread / (share - 0.5)) ** 2)


def resolvable_share(total: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """Return the smallest share above one half that so many comparisons tell from it; 1 where none can be told.

    >>> round(resolvable_share(783), 3)
    0.55
    """
    low, high = 0.5, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = middle < 1 and comparisons_needed(middle, power=power, level=level) <= total
        low, high = (low, middle) if found else (middle, high)
    return high


def describe_resolution(total: int, what: str = "comparisons") -> str:
    """Say which share so many comparisons tell from one half.

    >>> describe_resolution(783), describe_resolution(3)
    ('783 comparisons tell 50 % from 55.0 %, four times in five', '3 comparisons tell no share from 50 %')
    """
    told = resolvable_share(total)
    found = f"50 % from {100 * told:.1f} %, four times in five" if told < 1 else "no share from 50 %"
    return f"{total:,} {what} tell {found}"


def sign_test(gained: int, lost: int) -> float:
    """Return the exact two-sided probability of changes as lopsided as these if both ways are as likely.

    Args:
        gained: pairs that changed one way.
        lost: pairs that changed the other way; those that did not change are not counted.

    >>> sign_test(5, 0)
    0.0625
    """
    return min(1.0, 2 * _tail(max(gained, lost), gained + lost, 0.5))


def _tail(successes: int, total: int, share: float) -> float:
    """Return the probability of at least so many successes; `share` between 0 and 1, both excluded."""
    terms = (
        math.lgamma(total + 1)
        - math.lgamma(k + 1)
        - math.lgamma(total - k + 1)
        + k * math.log(share)
        + (total - k) * math.log1p(-share)
        for k in range(successes, total + 1)
    )
    return math.fsum(map(math.exp, terms))


def _share_with_tail(successes: int, total: int, probability: float) -> float:
    """Return the true share at which at least so many successes have this probability."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(successes, total, middle) < probability else (low, middle)
    return (low + high) / 2
