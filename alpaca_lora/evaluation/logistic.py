"""The one model of this package: log odds of a share that are linear in a few features.

It takes the order in which a judge saw two answers out of a win rate, and their lengths.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alpaca_lora.evaluation.statistics import Interval, deviations

__all__ = ["LogisticFit", "fit_logistic"]

_PRIOR = 0.01
"""Precision of the coefficients before any data: a standard deviation of 10 in log odds, which rules nothing out."""

_LARGEST_STEP, _SMALLEST_STEP, _STEPS = 2.0, 1e-10, 200


class LogisticFit(NamedTuple):
    """Coefficients in log odds, and how sure they are."""

    coefficients: NDArray[np.float64]
    """One per feature, shape (F,)."""

    covariance: NDArray[np.float64]
    """Shape (F, F), robust to rows of one cluster depending on each other."""

    def share(self, level: float = 0.95) -> tuple[float, Interval]:
        """Return the share where the first feature is 1 and all others are 0, with its interval."""
        center = float(self.coefficients[0])
        spread = deviations(level) * math.sqrt(float(self.covariance[0, 0]))
        return _logistic(center), Interval(_logistic(center - spread), _logistic(center + spread))


def fit_logistic(
    features: ArrayLike, shares: ArrayLike, *, clusters: Sequence[int] | None = None, weights: ArrayLike | None = None
) -> LogisticFit:
    """Fit log odds that are linear in the features, without an intercept of its own, by Newton's method.

    One draw is added at the first feature alone: where all verdicts agree, the share stays off its end and is as unsure
    as so many verdicts leave it. A weak normal prior keeps the other coefficients finite. It enters the covariance too,
    so that a coefficient on which the data say nothing is as unsure as before.

    Args:
        features: shape (N, F); the first is 1 for the comparisons that are asked about.
        shares: from 0 to 1, shape (N,).
        clusters: rows of the same number depend on each other, as those about one instruction; None: none do.
        weights: how much each row counts, shape (N,); None: 1.

    Returns:
        The coefficients with their covariance (the sandwich estimator, clustered).
    """
    given = np.asarray(features, dtype=float)
    numbers = np.arange(len(given)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    x, y = np.vstack([given, np.eye(1, given.shape[1])]), np.append(np.asarray(shares, dtype=float), 0.5)
    w = np.append(np.ones(len(given)) if weights is None else np.asarray(weights, dtype=float), 1.0)
    prior = _PRIOR * np.eye(x.shape[1])
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-x @ beta))
        curvature = (x * (w * p * (1 - p))[:, None]).T @ x + prior
        step = np.linalg.solve(curvature, x.T @ (w * (y - p)) - prior @ beta)
        beta = beta + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    scores = x * (w * (y - 1 / (1 + np.exp(-x @ beta))))[:, None]
    sums = np.zeros((int(numbers.max()) + 2, x.shape[1]))
    np.add.at(sums, np.append(numbers, len(sums) - 1), scores)
    inverse = np.linalg.inv(curvature)
    return LogisticFit(beta, inverse @ (sums.T @ sums + prior) @ inverse)


def _logistic(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > 0 else math.exp(log_odds) / (1 + math.exp(log_odds))
