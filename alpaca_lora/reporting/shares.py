"""Wilson's interval of a share, which a report needs without the rest of the statistics, and without numpy."""

import math
from statistics import NormalDist
from typing import NamedTuple

from alpaca_lora.errors import ConfigError

__all__ = ["Interval", "check_counts", "deviations", "wilson_interval"]


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


def wilson_interval(successes: float, total: float, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share.

    Args:
        successes: how many; a fraction where draws count half.
        total: of how many, above 0.
        level: confidence, between 0 and 1.

    Raises:
        ConfigError: there are no comparisons, or more successes than comparisons.

    Source: E. B. Wilson, Probable inference, JASA 22 (1927).

    >>> "{:.3f} to {:.3f}".format(*wilson_interval(90, 179))
    '0.430 to 0.575'
    """
    check_counts(successes, total)
    z = deviations(level)
    share = successes / total
    center = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Interval(max(0.0, center - half), min(1.0, center + half))


def deviations(level: float) -> float:
    """Return how many standard deviations a two-sided interval reaches to each side.

    Raises:
        ConfigError: the confidence is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must be between 0 and 1, as 0.95, got {level!r}")
    return NormalDist().inv_cdf((1 + level) / 2)


def check_counts(successes: float, total: float) -> None:
    """Refuse counts that make no share with a ConfigError."""
    if not total > 0 or not 0 <= successes <= total:
        raise ConfigError(f"successes must be from 0 to total, and total above 0, got {successes!r} of {total!r}")
