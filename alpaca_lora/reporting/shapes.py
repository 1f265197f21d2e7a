"""Bars, funnels and sunbursts as SVG; colours are the page's, through class names, or `standalone`'s own."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from alpaca_lora.reporting.elements import escaped
from alpaca_lora.reporting.svg import framed
from alpaca_lora.reporting.wording import count

__all__ = ["Bar", "draw_bars", "draw_sunburst", "standalone"]

_ROW, _BAR = 26, 15
_CHARACTER_WIDTH = 7.2
_HUES = 20
_STYLE = (
    "svg{font:12px system-ui,sans-serif;background:#fff}text{fill:#42505e;text-anchor:middle}.start{text-anchor:start}"
    ".end{text-anchor:end}.bar{fill:#2f6f9f}.lost{fill:#c04f14}.slice text,.slice{fill:#fff}"
)


class Bar(NamedTuple):
    """One row of a bar chart."""

    label: str
    value: float
    lost: float = 0
    """What is gone, drawn behind the bar in another colour."""

    note: str = ""
    """Stands at the right end."""


def draw_bars(bars: Sequence[Bar], *, title: str, width: int) -> str:
    """Draw horizontal bars under each other, from a common zero.

    Args:
        bars: from top to bottom; a funnel is a chart whose bars get shorter by what the bar before lost.
        title: what a screen reader says instead of the picture.
        width: in the style sheet's pixels; the height follows from the number of bars.

    Returns:
        An `<svg>` element; the empty string for no bars.
    """
    if not bars:
        return ""
    left = 12 + _CHARACTER_WIDTH * max(len(bar.label) for bar in bars)
    right = width - 12 - _CHARACTER_WIDTH * max(len(bar.note) for bar in bars)
    scale = max(10.0, right - left) / (max(bar.value + bar.lost for bar in bars) or 1)
    parts = []
    for number, bar in enumerate(bars):
        y, kept = number * _ROW + 4, bar.value * scale
        parts.append(f'<text class="end" x="{left - 8:.1f}" y="{y + 12}">{escaped(bar.label)}</text>')
        parts.append(f'<rect class="bar" x="{left:.1f}" y="{y}" width="{kept:.1f}" height="{_BAR}" rx="2"/>')
        if bar.lost:
            lost = max(2.0, bar.lost * scale)
            parts.append(
                f'<rect class="lost" x="{left + kept:.1f}" y="{y}" width="{lost:.1f}" height="{_BAR}" rx="2"/>'
            )
        parts.append(f'<text class="end" x="{width - 4}" y="{y + 12}">{escaped(bar.note)}</text>')
    return framed(width, len(bars) * _ROW + 4, title, "".join(parts))


def draw_sunburst(groups: Mapping[str, Mapping[str, int]], *, title: str, size: int) -> str:
    """Draw groups as the inner ring and their members as the outer one, areas by count, largest first.

    Args:
        groups: counts of members, by group.
        title: what a screen reader says instead of the picture.
        size: width and height in the style sheet's pixels.

    Returns:
        An `<svg>` element; the empty string where nothing is counted.
    """
    totals = {name: sum(members.values()) for name, members in groups.items()}
    whole = sum(totals.values())
    if not whole:
        return ""
    radii = (size * 0.14, size * 0.32, size * 0.49)
    parts, angle = [], 0.0
    for number, (name, total) in enumerate(sorted(totals.items(), key=lambda item: -item[1])):
        hue = number * 360 // _HUES % 360
        span = 2 * math.pi * total / whole
        parts.append(_slice(size, (angle, angle + span), radii[:2], f"hsl({hue} 45% 38%)", name, total))
        inner = angle
        for place, (member, times) in enumerate(sorted(groups[name].items(), key=lambda item: -item[1])):
            part = 2 * math.pi * times / whole
            colour = f"hsl({hue} 40% {46 + place % 4 * 4}%)"
            parts.append(_slice(size, (inner, inner + part), radii[1:], colour, member, times))
            inner += part
        angle += span
    return framed(size, size, title, "".join(parts))


def standalone(svg: str) -> str:
    """Return an `<svg>` element as a file of its own, with a namespace and colours."""
    head, _, rest = svg.partition(">")
    named = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{named}><style>{_STYLE}</style>{rest}\n"


def _slice(
    size: float, angles: tuple[float, float], radii: tuple[float, float], colour: str, name: str, times: int
) -> str:
    """Return a piece of a ring with its name along the radius, where there is room for it."""
    first, last = angles[0], min(angles[1], angles[0] + 2 * math.pi - 1e-3)  # an arc that ends where it begins is none
    corners = [
        _at(size, first, radii[0]),
        _at(size, first, radii[1]),
        _at(size, last, radii[1]),
        _at(size, last, radii[0]),
    ]
    far = int(last - first > math.pi)
    path = (
        f"M{corners[0]}L{corners[1]}A{radii[1]:.1f} {radii[1]:.1f} 0 {far} 1 {corners[2]}"
        f"L{corners[3]}A{radii[0]:.1f} {radii[0]:.1f} 0 {far} 0 {corners[0]}Z"
    )
    shape = f'<path d="{path}" fill="{colour}" stroke="#fff"/><title>{escaped(name)}: {count(times)}</title>'
    middle, radius = (first + last) / 2, sum(radii) / 2
    if (last - first) * radius < 11:
        return f'<g class="slice">{shape}</g>'
    room = max(3, int((radii[1] - radii[0] - 8) / _CHARACTER_WIDTH))
    shown = name if len(name) <= room else f"{name[: room - 1]}…"
    turn = math.degrees(middle) - 90 + (180 if middle > math.pi else 0)
    place = _at(size, middle, radius).replace(" ", ",")
    text = f'<text transform="translate({place}) rotate({turn:.1f})" dy="4">{escaped(shown)}</text>'
    return f'<g class="slice">{shape}{text}</g>'


def _at(size: float, angle: float, radius: float) -> str:
    """Return the point at an angle from the top, clockwise."""
    return f"{size / 2 + radius * math.sin(angle):.2f} {size / 2 - radius * math.cos(angle):.2f}"
