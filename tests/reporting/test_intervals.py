import re
import xml.etree.ElementTree as ET
from importlib.resources import files

import pytest

from alpaca_lora.reporting.intervals import Dot, Spread, draw_intervals, draw_scatter

PLOT = {"title": "t", "size": (500, 300), "x_label": "x", "y_label": "y", "y_range": (0, 100)}
SPREADS = [Spread("base", 0.25, 0.2, 0.3), Spread("adapter", 0.75, 0.7, 0.8)]


def marks(svg, name):
    return list(ET.fromstring(svg).iter(name))


def test_a_number_lies_within_its_interval_on_a_common_axis():
    svg = draw_intervals(SPREADS, title="Rate", width=600)
    dots = [float(dot.get("cx")) for dot in marks(svg, "circle")]
    bars = [(float(line.get("x1")), float(line.get("x2"))) for line in marks(svg, "line") if not line.get("class")]
    assert all(low < dot < high for dot, (low, high) in zip(dots, bars, strict=True))
    assert dots[1] - dots[0] == pytest.approx(10 * (dots[0] - bars[0][0]), abs=1)
    assert all(0 < x < 600 for pair in bars for x in pair)


def test_a_long_name_takes_nothing_from_the_axis():
    name = "mistralai/Mistral-7B-Instruct-v0.3-and-what-else-a-name-may-say"
    for label in ("a", name):
        svg = draw_intervals([Spread(label, 0.5, 0, 1)], title="Rate", width=420)
        (bar,) = [line for line in marks(svg, "line") if not line.get("class")]
        assert float(bar.get("x2")) - float(bar.get("x1")) == 380
    (shown,) = [node.text for node in marks(svg, "text") if node.get("class") == "start"]
    assert shown.endswith("…")
    assert name.startswith(shown[:50])


def test_shares_are_written_as_per_cent_and_the_middle_is_always_there():
    svg = draw_intervals([Spread("a", 0.8, 0.78, 0.82)], title="Rate", width=600, middle=0.5, percent=True)
    assert "50 %" in [node.text for node in marks(svg, "text")]
    (middle,) = [line for line in marks(svg, "line") if line.get("class") == "middle"]
    fifty = next(node for node in marks(svg, "text") if node.text == "50 %")
    assert middle.get("x1") == fifty.get("x")


def test_a_dot_lies_where_its_numbers_are():
    svg = draw_scatter(
        [Dot(-100, 0, "low"), Dot(100, 100, "high")],
        title="t",
        size=(500, 300),
        x_label="x",
        y_label="y",
        y_range=(0, 100),
    )
    low, high = marks(svg, "circle")
    assert float(low.get("cx")) < float(high.get("cx"))
    assert float(low.get("cy")) > float(high.get("cy"))
    assert [node.text for node in marks(svg, "title")] == ["low", "high"]


def test_equal_numbers_are_drawn_too():
    assert "nan" not in draw_intervals([Spread("a", 0, 0, 0)], title="t", width=300)
    assert "nan" not in draw_scatter(
        [Dot(0, 50, "")], title="t", size=(300, 200), x_label="", y_label="", y_range=(0, 100)
    )


def test_nothing_is_no_picture():
    assert draw_intervals([], title="t", width=300) == ""
    assert draw_scatter([], **PLOT) == ""


def test_names_of_models_cannot_end_the_picture():
    svg = draw_intervals([Spread("</svg><script>", 1, 0, 2)], title='"><script>', width=300)
    assert re.findall("<script", svg) == []
    marks(svg, "text")


@pytest.mark.parametrize("style", ["spread line", "middle", "grid"])
def test_the_style_sheet_of_the_page_gives_every_line_a_colour(style):
    """A line without a stroke is not seen."""
    css = (files("alpaca_lora.reporting") / "templates/report.css").read_text(encoding="utf-8")
    assert re.search(rf"^svg \.{style} {{ stroke: ", css, re.MULTILINE)
