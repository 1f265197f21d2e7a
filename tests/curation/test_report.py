import re
from html.parser import HTMLParser

import pytest

from alpaca_lora.curation import CurationSettings, curate

NASTY = '<script>alert(1)</script>" onload="x \u202e'


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.acting, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.acting += [name for name, _ in attrs if name.startswith("on") or name in {"src", "href", "style"}]

    def handle_data(self, data):
        self.words.append(data)


def page_of(rows, directory, **options):
    curate(rows, directory, **options)
    return Elements((directory / "report.html").read_text(encoding="utf-8"))


def test_the_page_has_the_counts_the_rules_and_what_the_set_is_like(rows, tmp_path):
    text = " ".join("".join(page_of(rows, tmp_path / "out").words).split())
    assert "8 of 12 records of records in memory" in text
    for words in (
        "kept + dropped = read",
        "near_duplicate",
        "Counts above 0.7.",
        "17 + 26 = 44 (it is 43)",
        "Abstained",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("actions", "flagged"),
    [
        ({}, 1),
        ({"refusal": "off"}, 0),
        ({"refusal": "drop"}, 0),
        ({"exact_duplicate": "flag", "near_duplicate": "flag"}, 4),
    ],
)
def test_as_flagged_counts_what_the_settings_flag(rows, tmp_path, actions, flagged):
    page = page_of(rows, tmp_path / "out", settings=CurationSettings(actions=actions))
    assert f"{flagged} kept and flagged" in "".join(page.words)


def test_no_text_of_a_record_becomes_markup(rows, tmp_path):
    hostile = [{name: text + NASTY if text else "" for name, text in row.items()} for row in rows]
    page = page_of(hostile, tmp_path / "out")
    assert page.acting == []
    assert "script" not in page.tags
    assert "\u202e" not in "".join(page.words)
    svg = (tmp_path / "out" / "verbs.svg").read_text(encoding="utf-8")
    assert not re.search(r"<script|onload=\"", svg)


def test_the_datasheet_has_the_numbers_and_names_what_is_missing(rows, tmp_path):
    curate(rows, tmp_path / "out")
    sheet = (tmp_path / "out" / "datasheet.md").read_text(encoding="utf-8")
    assert "**8** of them, from 12 that were read" in sheet
    assert "| `near_duplicate` | 3 | 2 | 0 | 0 | 0 |" in sheet
    assert sheet.count("*To be written:") == 4
    assert "$" not in sheet
