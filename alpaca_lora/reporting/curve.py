"""From the lines of metrics.jsonl to curves that can be drawn.

One reading for both pictures, the page's and loss.png, so that they cannot tell two stories.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from alpaca_lora.reporting.summary import Metrics, RunSummary

__all__ = ["LossCurve", "Point", "read_loss_curve", "read_series"]

_DRAWN_BUCKETS = 800
_SMOOTHING_SHARE = 1 / 25


class Point(NamedTuple):
    """One measurement."""

    step: float
    value: float


@dataclass(frozen=True, slots=True)
class LossCurve:
    """What a picture of the loss shows; each series in the order of the steps."""

    training: tuple[Point, ...]
    smoothed: tuple[Point, ...]
    heldout: tuple[Point, ...]


def read_series(metrics: Metrics, key: str) -> tuple[Point, ...]:
    """Return the finite values of one quantity by step.

    A run that was resumed writes again the steps after its checkpoint: the last line of a step is the one that counts.

    Args:
        metrics: lines of metrics.jsonl.
        key: the quantity, such as `loss` or `heldout_loss`.

    Returns:
        The points in the order of their steps; lines without the quantity are passed over.
    """
    values: dict[float, float] = {}
    for line in metrics:
        step, value = line.get("step"), line.get(key)
        if isinstance(step, int | float) and isinstance(value, int | float) and math.isfinite(value):
            values[step] = float(value)
    return tuple(Point(step, values[step]) for step in sorted(values))


def read_loss_curve(metrics: Metrics, summary: RunSummary | None = None) -> LossCurve:
    """Return the training and held-out losses of a run, thinned to what a picture can show.

    Args:
        metrics: lines of metrics.jsonl.
        summary: adds its held-out losses before and after where the lines have none at these steps.
    """
    raw = read_series(metrics, "loss")
    heldout = {point.step: point for point in read_series(metrics, "heldout_loss")}
    if summary is not None:
        for step, loss in ((0, summary.heldout_loss_before), (summary.steps, summary.heldout_loss_after)):
            if loss is not None and math.isfinite(loss):
                heldout.setdefault(step, Point(step, loss))
    return LossCurve(_extremes(raw), _smooth(_means(raw)), tuple(heldout[step] for step in sorted(heldout)))


def _buckets(points: Sequence[Point]) -> list[Sequence[Point]]:
    size = max(1, math.ceil(len(points) / _DRAWN_BUCKETS))
    return [points[start : start + size] for start in range(0, len(points), size)]


def _means(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(
        Point(sum(p.step for p in bucket) / len(bucket), sum(p.value for p in bucket) / len(bucket))
        for bucket in _buckets(points)
    )


def _extremes(points: Sequence[Point]) -> tuple[Point, ...]:
    """Keep the lowest and highest of each bucket: a mean would hide the very spikes that a raw curve is drawn for."""
    kept: list[Point] = []
    for bucket in _buckets(points):
        kept += sorted({min(bucket, key=lambda p: p.value), max(bucket, key=lambda p: p.value)})
    return tuple(kept)


def _smooth(points: Sequence[Point]) -> tuple[Point, ...]:
    """Fit a straight line around each point, near points weighing more.

    A moving average lags behind a falling loss and is wrong at both ends, which are what people read off; a local line
    is neither. It looks at less around the first steps, where the loss falls fastest.

    Source: Cleveland (1979), with a Gaussian instead of the tricube weight and without the robustness iterations.
    """
    if len(points) < 2:
        return tuple(points)
    first, last = points[0].step, points[-1].step
    widest = (last - first) * _SMOOTHING_SHARE
    gap = max(after.step - before.step for before, after in pairwise(points))

    def width(step: float) -> float:
        return max(gap, widest * min(1.0, 0.25 + (step - first) / (8 * widest)))

    return tuple(Point(step, _local_line(points, step, width(step))) for step, _ in points)


def _local_line(points: Sequence[Point], at: float, width: float) -> float:
    weight_sum = offset_sum = square_sum = value_sum = cross_sum = 0.0
    for step, value in points:
        offset = (step - at) / width
        if abs(offset) > 4:
            continue
        weight = math.exp(-offset * offset / 2)
        weight_sum += weight
        offset_sum += weight * offset
        square_sum += weight * offset * offset
        value_sum += weight * value
        cross_sum += weight * offset * value
    return (square_sum * value_sum - offset_sum * cross_sum) / (weight_sum * square_sum - offset_sum * offset_sum)
