"""Numbers with their intervals, and pairs of numbers, as SVG; colours are the page's, through class names."""

from collections.abc import Sequence
from typing import NamedTuple

from alpaca_lora.reporting.elements import escaped
from alpaca_lora.reporting.svg import decimals, framed, round_ticks

__all__ = ["Dot", "Spread", "draw_intervals", "draw_scatter"]

_ROW, _TOP, _AXIS, _EDGE = 40, 4, 26, 20
_CHARACTER_WIDTH = 7.2
_LEFT, _RIGHT, _BOTTOM = 52, 16, 44
_PIXELS_PER_TICK = 90


class Spread(NamedTuple):
    """A number with an interval around it."""

    label: str
    value: float
    low: float
    high: float


class Dot(NamedTuple):
    """A point of a scatter plot."""

    x: float
    y: float
    text: str
    """Shown when the pointer rests on it."""


def draw_intervals(
    spreads: Sequence[Spread], *, title: str, width: int, middle: float | None = None, percent: bool = False
) -> str:
    """Draw numbers with their intervals under each other, over one axis; each has its label above it.

    Args:
        spreads: from top to bottom.
        title: what a screen reader says instead of the picture.
        width: in the style sheet's pixels.
        middle: where nothing differs, marked by a line and always on the axis; None marks nothing.
        percent: write shares of one as per cent.

    Returns:
        An `<svg>` element; the empty string for no spreads.
    """
    if not spreads:
        return ""
    scale = 100 if percent else 1
    ends = [end * scale for spread in spreads for end in (spread.low, spread.high, spread.value)]
    ends += [] if middle is None else [middle * scale]
    ticks = round_ticks(min(ends), max(ends), width // _PIXELS_PER_TICK)
    reach = (width - 2 * _EDGE) / (ticks[-1] - ticks[0])
    longest = int((width - _EDGE) // _CHARACTER_WIDTH)
    bottom = _TOP + _ROW * len(spreads)

    def x(value: float) -> float:
        return _EDGE + (value * scale - ticks[0]) * reach

    written = decimals(ticks)
    parts = [_tick(x(tick / scale), _TOP, bottom, written(tick) + " %" * percent) for tick in ticks]
    if middle is not None:
        parts.append(f'<line class="middle" x1="{x(middle):.1f}" x2="{x(middle):.1f}" y1="{_TOP}" y2="{bottom}"/>')
    for number, spread in enumerate(spreads):
        y = _TOP + _ROW * (number + 0.75)
        label = spread.label if len(spread.label) <= longest else f"{spread.label[: longest - 1]}…"
        told = f"{spread.label}: {spread.value * scale:.4g} ({spread.low * scale:.4g} to {spread.high * scale:.4g})"
        parts.append(
            f'<g class="spread"><title>{escaped(told)}</title>'
            f'<text class="start" x="0" y="{y - 12:.1f}">{escaped(label)}</text>'
            f'<line x1="{x(spread.low):.1f}" x2="{x(spread.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle cx="{x(spread.value):.1f}" cy="{y:.1f}" r="5"/></g>'
        )
    return framed(width, bottom + _AXIS, title, "".join(parts))


def draw_scatter(
    dots: Sequence[Dot], *, title: str, size: tuple[int, int], x_label: str, y_label: str, y_range: tuple[float, float]
) -> str:
    """Draw points, with a line where x is zero and one in the middle of the y axis.

    Args:
        dots: the points; those in the same place make it darker.
        title: what a screen reader says instead of the picture.
        size: width and height in the style sheet's pixels.
        x_label: what x is, and its unit.
        y_label: what y is, and its unit.
        y_range: ends of the y axis.

    Returns:
        An `<svg>` element; the empty string for no points.
    """
    if not dots:
        return ""
    width, height = size
    x_ticks = round_ticks(min(0.0, *(dot.x for dot in dots)), max(0.0, *(dot.x for dot in dots)), width // 110)
    y_ticks = round_ticks(*y_range, 4)
    right, bottom = width - _RIGHT, height - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + (value - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (right - _LEFT)

    def y(value: float) -> float:
        return bottom - (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (bottom - _TOP)

    x_text, y_text, half = decimals(x_ticks), decimals(y_ticks), sum(y_range) / 2
    parts = [_tick(x(tick), _TOP, bottom, x_text(tick)) for tick in x_ticks]
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}">{y_text(tick)}</text>')
    parts.append(f'<line class="middle" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{_TOP}" y2="{bottom}"/>')
    parts.append(f'<line class="middle" x1="{_LEFT}" x2="{right}" y1="{y(half):.1f}" y2="{y(half):.1f}"/>')
    for dot in dots:
        parts.append(
            f'<circle class="dot" cx="{x(dot.x):.1f}" cy="{y(dot.y):.1f}" r="5">'
            f"<title>{escaped(dot.text)}</title></circle>"
        )
    turned = f'transform="translate(12 {(bottom + _TOP) / 2:.1f}) rotate(-90)"'
    parts.append(f'<text x="{(_LEFT + right) / 2:.1f}" y="{height - 6}">{escaped(x_label)}</text>')
    parts.append(f"<text {turned}>{escaped(y_label)}</text>")
    return framed(width, height, title, "".join(parts))


def _tick(x: float, top: float, bottom: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
        f'<text x="{x:.1f}" y="{bottom + 18}">{text}</text>'
    )
