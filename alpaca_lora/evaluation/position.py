"""Does a judge mind which of two answers it sees first, and what is the win rate without that?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation.logistic import fit_logistic
from alpaca_lora.evaluation.statistics import Interval, sign_test

__all__ = ["PositionBias", "measure_position_bias"]


class PositionBias(NamedTuple):
    """What the order in which a judge saw two answers did to its verdicts."""

    pairs: int
    """Comparisons that were judged in both orders."""

    shown_first: float
    """Mean share of whichever answer was shown first; 0.5 for a judge that does not mind."""

    consistent: float
    """Share of the pairs in which both orders had the same winner, or both a draw."""

    p_value: float
    """Exact two-sided sign test of the pairs that the order changed; the probability if the order did nothing."""

    corrected: float
    """Share of the model without the effect of the order."""

    interval: Interval
    """95 % interval of `corrected`."""


def measure_position_bias(first: ArrayLike, second: ArrayLike) -> PositionBias:
    """Test whether a judge minds the order of two answers, and take the effect out of the win rate.

    The model for the correction is the one for home advantage: the order adds a constant to the log odds, so that the
    share of the model is half way between its two shares, in log odds. A judge that picks at random, or the first one
    without looking, in some of the cases pulls every rate towards one half; no order of showing takes that out.

    Args:
        first: share of the model where its answer was shown first, shape (N,).
        second: its share on the same comparisons where it was shown second, shape (N,).

    Raises:
        ConfigError: the two differ in length, or are empty.

    Source: R. Davidson and R. Beaver, On extending the Bradley-Terry model to incorporate within-pair order effects,
    Biometrics 33 (1977).
    """
    ahead, behind = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if ahead.shape != behind.shape or ahead.ndim != 1 or not ahead.size:
        raise ConfigError(f"first and second must have one share per pair each, got {ahead.shape} and {behind.shape}")
    pairs = ahead.size
    order = np.repeat([1.0, -1.0], pairs)
    corrected, interval = fit_logistic(
        np.column_stack([np.ones(2 * pairs), order]),
        np.concatenate([ahead, behind]),
        clusters=[*range(pairs)] * 2,
    ).share()
    return PositionBias(
        pairs=pairs,
        shown_first=float((ahead.mean() + 1 - behind.mean()) / 2),
        consistent=float((np.sign(ahead - 0.5) == np.sign(behind - 0.5)).mean()),
        p_value=sign_test(int((ahead > behind).sum()), int((ahead < behind).sum())),
        corrected=corrected,
        interval=interval,
    )
