import base64
import hashlib
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from alpaca_lora.reporting.page import render_report
from alpaca_lora.reporting.summary import ListedRow, RunSummary

_VOID = {"meta", "br", "line", "polyline"}


class Page(HTMLParser):
    """A parsed page: its words, its elements, and what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.style = ""
        self.faults: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.faults += [
            f"<{tag} {name}> acts or loads"
            for name, _ in attrs
            if name.startswith("on") or name in {"src", "href", "srcset", "style", "action", "data", "poster"}
        ]
        if tag in {"script", "iframe", "object", "embed", "link", "img", "base", "form"}:
            self.faults.append(f"<{tag}>")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another element")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def attribute(self, tag: str, name: str) -> list[str | None]:
        return [attributes[name] for element, attributes in self.elements if element == tag and name in attributes]


def test_the_page_has_the_numbers_of_the_run(summary: RunSummary, metrics: list[dict[str, float]]) -> None:
    text = Page(render_report(summary, metrics)).text
    for words in (
        "smollm2-135m on alpaca-mini",
        "completed",
        "240 of 240 steps · 4,884,480 adapter parameters · cpu, 2 cores",
        "2.000 → 1.500 −25.0 %",
        "perplexity 7.39 → 4.48",
        "3,187 tokens in 40 rows",
        "6 % → 94 %",
        "95 % interval: 72 % to 99 %",
        "40 held out, 3 dropped",
        "491,520 tokens in all",
        "6 min 53 s",
        "1,240 tokens/s",
        "2.1 GB memory at most",
        "Name two primary colours.",
        "Red and yellow.",
        "column 'response' was read as 'output'",
        "epochs: 3, because the data has fewer than 1,000 rows",
        "alpaca-lora finetune --data alpaca-mini",
        "ab" * 32,
    ):
        assert words in text


def test_the_page_is_well_formed_and_loads_nothing(summary: RunSummary, metrics: list[dict[str, float]]) -> None:
    page = Page(render_report(summary, metrics))
    assert page.faults == []
    assert not re.search(r"url\(|@import|https?:", page.style)


def test_the_policy_allows_the_pages_own_style_and_nothing_else(summary: RunSummary) -> None:
    page = Page(render_report(summary, []))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    (policy,) = (
        e["content"] for t, e in page.elements if t == "meta" and e.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_light_dark_and_paper_are_provided_for(summary: RunSummary) -> None:
    style = Page(render_report(summary, [])).style
    for rule in ("@media screen and (prefers-color-scheme: dark)", "@media print", "@media (max-width: 460px)"):
        assert rule in style
    assert set(re.findall(r"var\((--[\w-]+)\)", style)) <= set(re.findall(r"(--[\w-]+):", style))


def test_no_text_can_become_markup(summary: RunSummary, nasty: str, written_by) -> None:
    clean, dirty = (Page(render_report(written_by(summary, text), [])) for text in ("plain", nasty or "plain"))
    assert dirty.faults == []
    assert [tag for tag, _ in dirty.elements if tag != "pre"] == [tag for tag, _ in clean.elements if tag != "pre"]
    assert "\x1b" not in dirty.text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<p><b>x</p>", "</p> closes another element"),
        ("<p>", "<p> is not closed"),
        ("<script></script>", "<script>"),
        ('<p onclick="x"></p>', "<p onclick> acts or loads"),
        ('<a href="http://evil.example"></a>', "<a href> acts or loads"),
    ],
)
def test_the_checker_of_these_tests_finds_what_it_looks_for(text: str, fault: str) -> None:
    assert fault in Page(text).faults


def test_a_model_that_writes_html_is_quoted_as_it_wrote(summary: RunSummary) -> None:
    sample = replace(summary.samples[0], after="<script>alert(1)</script> & \x1b[31m")
    assert "<script>alert(1)</script> & ␛[31m" in Page(render_report(replace(summary, samples=(sample,)), [])).text


def test_texts_of_either_direction_keep_to_themselves(summary: RunSummary) -> None:
    page = Page(render_report(summary, []))
    assert page.attribute("pre", "dir") == ["auto"] * 3


def test_long_answers_and_many_answers_are_cut_with_a_count(summary: RunSummary) -> None:
    sample = replace(summary.samples[0], after="a" * 10_000)
    many = replace(summary, samples=(sample,) * 40, stop_rate_records=40)
    page = Page(render_report(many, []))
    assert "… (9,000 more characters)" in page.text
    assert "the first 16 of 40 held-out records" in page.text
    assert page.attribute("pre", "dir") == ["auto"] * 48


def test_an_empty_answer_is_named(summary: RunSummary) -> None:
    sample = replace(summary.samples[0], after=" \n")
    assert "After ended by itself(nothing)" in Page(render_report(replace(summary, samples=(sample,)), [])).text


def test_the_first_fifty_dropped_rows_are_listed_and_the_rest_counted(summary: RunSummary) -> None:
    dropped = tuple(ListedRow(f"data.jsonl:{line}", "too long", 1234) for line in range(1, 61))
    text = Page(render_report(replace(summary, data=replace(summary.data, dropped=dropped)), [])).text
    assert "data.jsonl:50" in text
    assert "data.jsonl:51" not in text
    assert "… and 10 more." in text
    assert "dropped: too long60" in text


def test_a_run_with_nothing_held_out_and_nothing_logged_has_a_page(without_heldout: RunSummary) -> None:
    page = Page(render_report(without_heldout, []))
    assert page.faults == []
    assert page.attribute("svg", "viewbox") == []
    assert "no rows were held out" in page.text
    assert "nan" not in page.text.lower()


def test_numbers_that_are_not_finite_reach_no_curve(summary: RunSummary) -> None:
    metrics = [{"step": 1, "loss": math.nan}, {"step": 2, "loss": math.inf}, {"step": 3, "loss": 1.0}]
    page = Page(render_report(replace(summary, heldout_loss_after=math.nan), metrics))
    assert not re.search("nan|inf", " ".join(filter(None, page.attribute("polyline", "points"))))
    assert "2.000 → not finite" in page.text


def test_the_curve_is_drawn_for_wide_and_for_narrow_screens(
    summary: RunSummary, metrics: list[dict[str, float]]
) -> None:
    page = Page(render_report(summary, metrics))
    assert page.attribute("svg", "viewbox") == ["0 0 1040 360", "0 0 420 320", *["0 0 340 170"] * 3]
    assert page.attribute("polyline", "class")[:3] == ["raw", "smoothed", "heldout"]


def test_a_worse_loss_is_marked_as_worse(summary: RunSummary) -> None:
    page = Page(render_report(replace(summary, heldout_loss_after=2.5), []))
    assert ("small", {"class": "worse"}) in page.elements
    assert "The held-out loss rose by 25.0 %" in page.text


def test_equal_runs_give_equal_pages(summary: RunSummary, metrics: list[dict[str, float]]) -> None:
    assert render_report(summary, metrics) == render_report(summary, list(metrics))


def test_directories_of_the_machine_are_not_in_the_title(summary: RunSummary) -> None:
    page = Page(render_report(replace(summary, base_model="/home/somebody/llama-7b"), []))
    assert "llama-7b on alpaca-mini" in page.text
    assert "somebody" not in page.text


def test_reporting_loads_nothing_heavy(run_python) -> None:
    code = """
import sys
import alpaca_lora.reporting
heavy = {"torch", "transformers", "trl", "peft", "datasets", "numpy", "pandas", "matplotlib", "pydantic", "rich"}
print(sorted(heavy & sys.modules.keys()))
"""
    assert run_python("-c", code).stdout == "[]\n"
