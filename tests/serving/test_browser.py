"""The page as a person sees it, in Chromium without a window."""

from collections.abc import Iterator
from typing import Any

import pytest

from alpaca_lora.serving import Assistant
from alpaca_lora.serving.desk import Desk

pytestmark = pytest.mark.slow
HOSTILE = (
    "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">{{ 7 * 7 }} ![](http://x)"
)


@pytest.fixture(scope="module")
def url(assistant: Assistant, publish) -> str:
    return publish(Desk(assistant)).url


class Visitor:
    """A tab, and what went wrong in it."""

    def __init__(self, browser: Any, url: str, width: int = 1280) -> None:
        self.tab = browser.new_page(viewport={"width": width, "height": 900})
        self.faults: list[str] = []
        self.tab.on("request", lambda request: self.note(request.url, request.url.startswith((url, "data:", "blob:"))))
        self.tab.on("response", lambda response: self.note(response.url, response.status < 400))
        self.tab.on("console", lambda message: self.note(message.text, message.type != "error"))
        self.tab.on("pageerror", lambda error: self.note(str(error), fine=False))
        self.tab.goto(url)
        self.tab.get_by_role("textbox", name="Instruction").wait_for(timeout=120_000)

    def note(self, what: str, fine: bool) -> None:
        if not fine:
            self.faults.append(what)

    def fill(self, name: str, text: str) -> None:
        self.tab.get_by_role("textbox", name=name, exact=True).fill(text)

    def limit(self, tokens: int) -> None:
        field = self.tab.get_by_role("spinbutton", name="number input for Longest answer in tokens")
        field.fill(str(tokens))
        field.blur()

    def press(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click(timeout=120_000)

    def await_note(self, text: str) -> str:
        note = self.tab.locator(".answers .note", has_text=text).first
        note.wait_for(timeout=120_000)
        return note.inner_text()

    def shown(self, part: str) -> str:
        return self.tab.locator(f".{part} textarea").input_value()


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Any]:
    visitors = []

    def come(**options: Any) -> Visitor:
        visitors.append(Visitor(browser, url, **options))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.tab.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []


def test_type_stream_and_read_why_it_ended(visit):
    ann = visit()
    ann.fill("Instruction", "Say hello.")
    ann.limit(60)
    ann.press("Answer")

    assert "60 tokens in " in ann.await_note("cut off at the longest answer that was allowed")
    assert ann.shown("tuned") != ""
    ann.tab.get_by_role("button", name="Answer", exact=True).click(trial=True, timeout=60_000)  # waits for it


def test_one_of_two_users_stops_and_the_other_is_answered(visit):
    ann, ben = visit(), visit()
    for visitor, tokens in ((ann, 800), (ben, 20)):
        visitor.fill("Instruction", "Say hello.")
        visitor.limit(tokens)
    ann.press("Answer")
    ann.await_note("tokens/s …")
    ben.press("Answer")
    ben.await_note("waiting until another answer has ended …")
    ann.press("Stop")

    assert ann.await_note("stopped by you")
    assert ben.await_note("20 tokens in ").endswith("cut off at the longest answer that was allowed")


def test_another_template_and_the_base_beside_the_adapter(visit):
    ann = visit()
    ann.fill("Instruction", "Say hello.")
    ann.limit(8)
    ann.tab.get_by_text("What the model reads").click()
    ann.tab.get_by_text("in the words of template 'alpaca'").wait_for()
    before = ann.shown("ids")
    ann.tab.locator(".template input").click()
    ann.tab.get_by_role("option", name="alpaca_short").click()
    ann.tab.get_by_text("the adapter was loaded with 'alpaca' and answers best there").wait_for()
    ann.tab.get_by_label("Let the base model answer too").check()
    ann.press("Answer")
    ann.tab.locator(".answers .note .done").nth(1).wait_for(timeout=120_000)

    assert ann.shown("ids") != before
    assert ann.shown("base") not in ("", ann.shown("tuned"))


def test_a_control_without_effect_cannot_be_moved(visit):
    ann = visit()
    top_k = ann.tab.get_by_role("slider", name="range slider for Top-k")
    beams = ann.tab.get_by_role("slider", name="range slider for Beams")
    assert (top_k.is_disabled(), beams.is_disabled()) == (True, False)

    ann.tab.get_by_role("spinbutton", name="number input for Temperature").fill("0.7")
    ann.tab.get_by_role("spinbutton", name="number input for Temperature").blur()
    ann.tab.wait_for_function("document.querySelectorAll('input[type=range]:disabled').length === 1")
    assert (top_k.is_disabled(), beams.is_disabled()) == (False, True)


def test_hostile_text_is_shown_as_text(visit, monkeypatch: pytest.MonkeyPatch):
    from alpaca_lora.models import Response

    def echo(self, instruction, input="", *, stop=None, **decoding):
        yield Response(instruction, 3, stopped=True)

    monkeypatch.setattr(Assistant, "stream_full", echo)
    ann = visit()
    ann.fill("Instruction", HOSTILE)
    ann.tab.get_by_text("What the model reads").click()
    ann.press("Answer")
    ann.await_note("ended by the model")

    assert ann.shown("tuned") == HOSTILE
    assert ann.tab.locator(".pieces").inner_text().replace("\n", "").count("onerror") <= 1
    assert ann.tab.locator("img[src=x]").count() == 0
    assert ann.tab.title() == "<b>run</b> · alpaca-lora"
    assert ann.tab.locator(".title").first.inner_text().startswith("<b>run</b>")


def test_a_refusal_is_shown_as_one_sentence(visit):
    ann = visit()
    ann.press("Answer")

    assert ann.await_note("Write an instruction first.") == "Write an instruction first."


def test_leaving_the_page_ends_the_answer(visit, assistant: Assistant):
    ann, ben = visit(), visit()
    ann.fill("Instruction", "Say hello.")
    ann.limit(900)
    ann.press("Answer")
    ann.await_note("tokens/s …")
    ann.tab.close()
    ben.fill("Instruction", "Say hello.")
    ben.limit(5)
    ben.press("Answer")

    assert ben.await_note("5 tokens in ")


def test_it_fits_the_width_of_a_phone(visit):
    ann = visit(width=390)
    boxes = [ann.tab.locator(f".{part}").first.bounding_box() for part in ("ask", "answers", "settings")]

    assert ann.tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
    assert len({box["x"] for box in boxes}) == 1
