import xml.etree.ElementTree as ElementTree

import pytest

from alpaca_lora.reporting.curve import Point
from alpaca_lora.reporting.svg import Series, draw_chart, round_ticks


def draw(*values: float, **options) -> ElementTree.Element:
    points = [Point(step, value) for step, value in enumerate(values)]
    series = Series(points, "line", label=str)
    return ElementTree.fromstring(draw_chart([series], title="a & b", size=(600, 300), **options))


def test_every_point_lies_inside_the_picture() -> None:
    svg = draw(2.4, 1.2, 1.9, 1.1)
    places = [place.split(",") for place in svg.find("polyline").get("points").split()]
    assert len(places) == 4
    for x, y in places:
        assert 0 <= float(x) <= 600
        assert 0 <= float(y) <= 300


def test_a_higher_value_is_drawn_higher() -> None:
    first, second = (float(circle.get("cy")) for circle in draw(1.0, 2.0).findall("circle"))
    assert first > second


def test_each_marked_point_has_its_value_as_tooltip() -> None:
    assert [circle.find("title").text for circle in draw(1.5, 1.25).findall("circle")] == [
        "step 0: 1.5",
        "step 1: 1.25",
    ]


def test_the_title_is_for_those_who_cannot_see_the_picture() -> None:
    assert (draw(1.0).get("role"), draw(1.0).get("aria-label")) == ("img", "a & b")


@pytest.mark.parametrize("values", [(0.0,), (1.0, 1.0), (0.0, 0.0), (1e-9, 1e9), (-1.0, 1.0)])
def test_any_range_can_be_drawn(values: tuple[float, ...]) -> None:
    assert len(draw(*values).findall("circle")) == len(values)
    assert len(draw(*values, from_zero=True).findall("circle")) == len(values)


def test_nothing_to_draw_is_no_picture() -> None:
    assert draw_chart([Series([], "line")], title="", size=(600, 300)) == ""


def test_axis_labels_have_the_decimals_that_tell_them_apart() -> None:
    labels = [text.text for text in draw(1.0, 2.0, y_label="loss").findall("text") if text.get("class") == "tick end"]
    assert labels == ["1.0", "1.2", "1.4", "1.6", "1.8", "2.0"]


@pytest.mark.parametrize(
    ("low", "high", "whole", "ticks"),
    [
        (0, 240, True, [0, 50, 100, 150, 200, 250]),
        (0, 3, True, [0, 1, 2, 3]),
        (1.1, 2.4, False, [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5]),
        (2, 2, False, [2.0, 2.5, 3.0, 3.5, 4.0]),
    ],
)
def test_ticks_are_round_and_enclose_the_range(low: float, high: float, whole: bool, ticks: list[float]) -> None:
    assert round_ticks(low, high, 6, whole=whole) == ticks
