"""Line charts as inline SVG, so that a page shows its curves with no library and no request.

Colours and type are left to the page's style sheet through class names; this file only decides where things go.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alpaca_lora.reporting.curve import Point
from alpaca_lora.reporting.elements import escaped

__all__ = ["Series", "decimals", "draw_chart", "framed", "round_ticks"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 18, 16, 44
_CHARACTER_WIDTH = 7


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    points: Sequence[Point]
    style: str
    """Class of the line in the style sheet."""

    label: Callable[[float], str] | None = None
    """Draw a dot with this text as tooltip at each point, and write it beside the first and the last; None: no dots."""


def draw_chart(
    series: Sequence[Series],
    *,
    title: str,
    size: tuple[int, int],
    y_label: str = "",
    y_format: Callable[[float], str] | None = None,
    from_zero: bool = False,
) -> str:
    """Draw series over optimizer steps.

    Args:
        series: the lines, the last one on top; those without points are passed over.
        title: what a screen reader says instead of the picture.
        size: width and height in units of the style sheet's pixels.
        y_label: the quantity and its unit, along the axis; the empty string leaves it to the text around.
        y_format: how a value is written on the axis; None takes as many decimals as the axis needs.
        from_zero: whether the axis starts at zero, for quantities whose height is read and not only their change.

    Returns:
        An `<svg>` element; the empty string when there is no point at all.
    """
    points = [point for line in series for point in line.points]
    if not points:
        return ""
    last_step = max(p.step for p in points)
    x_ticks = round_ticks(0.0, last_step, size[0] // 90, whole=True)
    low = 0.0 if from_zero else min(p.value for p in points)
    y_ticks = round_ticks(low, max(p.value for p in points), size[1] // 50)
    y_labels = {value: (y_format or decimals(y_ticks))(value) for value in y_ticks}
    frame = _Frame(
        left=max(_LEFT, 14 + 14 * bool(y_label) + _CHARACTER_WIDTH * max(map(len, y_labels.values()))),
        right=size[0] - _RIGHT,
        top=_TOP,
        bottom=size[1] - _BOTTOM,
        x_range=(x_ticks[0], last_step),
        y_range=(y_ticks[0], y_ticks[-1]),
    )
    axes = _axes(frame, x_ticks, y_labels, y_label, size[1])
    lines = "".join(_line(frame, line) for line in series)
    return framed(*size, title, axes + lines)


def framed(width: float, height: float, title: str, content: str) -> str:
    """Return markup as a picture of this size; a screen reader says the title instead."""
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escaped(title)}">{content}</svg>'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    left: float
    right: float
    top: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, step: float) -> float:
        low, high = self.x_range
        return self.left + (self.right - self.left) * ((step - low) / (high - low) if high > low else 0.5)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (self.bottom - self.top) * ((value - low) / (high - low) if high > low else 0.5)


def _axes(frame: _Frame, x_ticks: Sequence[float], y_ticks: Mapping[float, str], y_label: str, height: int) -> str:
    parts = []
    for value, label in y_ticks.items():
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{frame.left:.1f}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="{frame.left - 8:.1f}" y="{y + 4:.1f}">{escaped(label)}</text>')
    for step in x_ticks:
        if step <= frame.x_range[1]:
            parts.append(f'<text class="tick" x="{frame.x(step):.1f}" y="{frame.bottom + 18:.1f}">{step:,.0f}</text>')
    centre = (frame.left + frame.right) / 2
    parts.append(f'<text class="label" x="{centre:.1f}" y="{height - 6}">optimizer step</text>')
    middle = (frame.top + frame.bottom) / 2
    if y_label:
        parts.append(
            f'<text class="label" transform="translate(12 {middle:.1f}) rotate(-90)">{escaped(y_label)}</text>'
        )
    return "".join(parts)


def _line(frame: _Frame, line: Series) -> str:
    if not line.points:
        return ""
    path = " ".join(f"{frame.x(p.step):.1f},{frame.y(p.value):.1f}" for p in line.points)
    parts = [f'<polyline class="{line.style}" points="{path}"/>']
    if line.label is None:
        return parts[0]
    for point in line.points:
        parts.append(
            f'<circle class="{line.style}" cx="{frame.x(point.step):.1f}" cy="{frame.y(point.value):.1f}" r="4.5">'
            f"<title>step {point.step:,.0f}: {escaped(line.label(point.value))}</title></circle>"
        )
    for point, anchor, shift in ((line.points[0], "start", 9), (line.points[-1], "end", 0))[-len(line.points) :]:
        parts.append(
            f'<text class="value {anchor}" x="{frame.x(point.step) + shift:.1f}" y="{frame.y(point.value) - 9:.1f}">'
            f"{escaped(line.label(point.value))}</text>"
        )
    return "".join(parts)


def decimals(ticks: Sequence[float]) -> Callable[[float], str]:
    """Return how the numbers of an axis are written, with as many decimals as the axis needs."""
    needed = next((places for places in range(7) if all(math.isclose(round(t, places), t) for t in ticks)), 7)
    return lambda value: f"{value:,.{needed}f}"


def round_ticks(low: float, high: float, wanted: int, *, whole: bool = False) -> list[float]:
    """Return round numbers, about `wanted` of them, of which the first and last enclose the range."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(1, wanted)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    unit = magnitude * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))
    if whole:
        unit = max(1.0, math.ceil(unit))
    first, last = math.floor(low / unit + 1e-9), math.ceil(high / unit - 1e-9)
    return [round(index * unit, 12) for index in range(first, last + 1)]
