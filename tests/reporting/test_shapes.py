import math
import re
from xml.etree import ElementTree

import pytest

from alpaca_lora.reporting.shapes import Bar, draw_bars, draw_sunburst, standalone

GROUPS = {"write": {"story": 30, "poem": 10}, "name": {"colour": 20}, "sort": {"list": 20, "word <b>": 1}}


def test_bars_are_as_long_as_their_values_and_the_lost_part_lies_behind():
    svg = ElementTree.fromstring(draw_bars([Bar("read", 100), Bar("rule", 75, 25, "−25")], title="Funnel", width=600))
    bars = [(rect.get("class"), float(rect.get("x")), float(rect.get("width"))) for rect in svg.iter("rect")]
    (_, left, whole), (_, _, kept), (style, place, lost) = bars
    assert math.isclose(kept / whole, 0.75, abs_tol=0.01)
    assert math.isclose(lost / whole, 0.25, abs_tol=0.01)
    assert (style, math.isclose(place, left + kept, abs_tol=0.2)) == ("lost", True)
    assert [text.text for text in svg.iter("text")] == ["read", None, "rule", "−25"]


def test_a_lost_row_among_many_is_still_seen():
    svg = ElementTree.fromstring(draw_bars([Bar("rule", 10**6, 1)], title="Funnel", width=600))
    assert float(list(svg.iter("rect"))[1].get("width")) == 2


def angles(svg):
    """The angle that each slice covers, in degrees, from its outer corners, by name."""
    size, found = float(svg.get("viewBox").split()[2]), {}
    for group in svg.iter("g"):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", group.find("path").get("d"))]
        (x1, y1), (x2, y2) = numbers[2:4], numbers[9:11]
        first, last = (math.atan2(x - size / 2, size / 2 - y) for x, y in ((x1, y1), (x2, y2)))
        found[group.find("title").text] = math.degrees((last - first) % (2 * math.pi))
    return found


def test_slices_cover_angles_by_count_and_members_lie_behind_their_group():
    found = angles(ElementTree.fromstring(draw_sunburst(GROUPS, title="Verbs", size=600)))
    expected = {"write: 40": 40, "story: 30": 30, "poem: 10": 10, "name: 20": 20, "sort: 21": 21, "word <b>: 1": 1}
    for name, times in expected.items():
        assert math.isclose(found[name], 360 * times / 81, abs_tol=0.5), name


def test_one_group_alone_is_a_whole_ring():
    found = angles(ElementTree.fromstring(draw_sunburst({"write": {"story": 3}}, title="Verbs", size=600)))
    assert all(angle > 359 for angle in found.values())


def test_names_that_do_not_fit_are_left_to_the_tooltip():
    svg = ElementTree.fromstring(draw_sunburst(GROUPS, title="Verbs", size=300))
    shown = [text.text for text in svg.iter("text")]
    assert "story" in shown
    assert "word <b>" not in shown
    assert "word <b>: 1" in [title.text for title in svg.iter("title")]


@pytest.mark.parametrize("drawn", [draw_bars([], title="x", width=300), draw_sunburst({}, title="x", size=300)])
def test_nothing_is_drawn_for_nothing(drawn):
    assert drawn == ""


def test_a_file_of_its_own_has_a_namespace_and_colours():
    svg = ElementTree.fromstring(standalone(draw_sunburst(GROUPS, title='a "title"', size=600)))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert svg.get("aria-label") == 'a "title"'
    assert "fill" in svg.find("{http://www.w3.org/2000/svg}style").text
