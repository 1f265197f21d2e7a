"""What the parts of a page, and the pictures on it, make of text that somebody else wrote."""

import pytest

from alpaca_lora.reporting.curve import Point
from alpaca_lora.reporting.elements import bullets, escaped, pairs, table
from alpaca_lora.reporting.intervals import Dot, Spread, draw_intervals, draw_scatter
from alpaca_lora.reporting.shapes import Bar, draw_bars, draw_sunburst
from alpaca_lora.reporting.svg import Series, draw_chart

FOREIGN = "<b>\x1b[2J\u202egnp.exe\ud800"


@pytest.mark.parametrize(
    "drawn",
    [
        bullets([FOREIGN], "x"),
        pairs({FOREIGN: FOREIGN}),
        table(["a"], [[FOREIGN]], numbers=0, shown=1),
        draw_intervals([Spread(FOREIGN, 1, 0, 2)], title=FOREIGN, width=600),
        draw_scatter(
            [Dot(1, 1, FOREIGN)], title=FOREIGN, size=(600, 300), x_label=FOREIGN, y_label=FOREIGN, y_range=(0, 2)
        ),
        draw_bars([Bar(FOREIGN, 1, note=FOREIGN)], title=FOREIGN, width=600),
        draw_sunburst({FOREIGN: {FOREIGN: 1}}, title=FOREIGN, size=900),
        draw_chart(
            [Series([Point(0, 1.0), Point(1, 2.0)], "x", label=lambda _: FOREIGN)],
            title=FOREIGN,
            size=(600, 300),
            y_label=FOREIGN,
            y_format=lambda _: FOREIGN,
        ),
    ],
)
def test_foreign_text_is_shown_and_neither_obeyed_nor_in_the_way(drawn):
    assert escaped(FOREIGN) in drawn
    assert not {"\x1b", "\u202e", "\ud800"} & set(drawn)
    assert "<b>" not in drawn
