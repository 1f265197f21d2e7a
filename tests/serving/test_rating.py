"""The page of a blind comparison in Chromium without a window, and its server killed in the middle."""

import json
import re
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
HOSTILE = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">{{ 7 * 7 }}"
DOUBLE_CLICK_MS = 550


@pytest.fixture
def serve(repository, tmp_path, monkeypatch):
    """Start the command in a process of its own: `serve()` returns it and the address of its page."""
    pytest.importorskip("gradio", reason="the extra ui is not installed")
    monkeypatch.setenv("PYTHONPATH", str(repository))
    for name, word in (("secret-new", "good"), ("secret-old", "bad")):
        rows = [{"instruction": f"task {n}", "output": f"{word} {n} {HOSTILE}", "generator": name} for n in range(20)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    sides = ["--outputs", "secret-new.json", "--baseline", "secret-old.json", "--num", "10", "--output-dir", "run"]
    command = [sys.executable, "-m", "alpaca_lora", "compare", *sides, "--port", "0"]
    started = []

    def start():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=tmp_path, **pipes))
        said = started[-1].stderr.readline()
        return started[-1], re.search(r"http://\S+", said)[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Rater:
    """A tab, and what went wrong in it."""

    def __init__(self, browser, url):
        self.tab = browser.new_page(viewport={"width": 1280, "height": 800})
        self.faults, self.texts = [], []
        self.tab.on("request", lambda request: self.note(request.url, request.url.startswith((url, "data:", "blob:"))))
        self.tab.on("pageerror", lambda error: self.note(str(error), fine=False))
        self.tab.on("response", lambda response: self.note(response.url, response.status < 400))
        self.tab.goto(url)

    def note(self, what, fine):
        if not fine:
            self.faults.append(what)

    def await_pair(self, number):
        self.tab.get_by_text(f"Comparison {number} of 10").wait_for(timeout=120_000)
        self.tab.wait_for_timeout(DOUBLE_CLICK_MS)
        self.texts.append(self.tab.content())

    def shown(self, part):
        return self.tab.locator(f".{part} textarea").input_value()

    def prefer_good(self, *, key):
        left = self.shown("left").startswith("good")
        if key:
            self.tab.keyboard.press("1" if left else "2")
        else:
            self.tab.get_by_role("button", name="Left" if left else "Right").click()


def votes(directory):
    return [json.loads(line)["vote"] for line in (directory / "votes.jsonl").read_text().splitlines()]


def test_ten_comparisons_are_played_through_killed_and_resumed_and_the_key_stays_sealed(serve, browser, tmp_path):
    run = tmp_path / "run"
    process, url = serve()
    first = Rater(browser, url)
    for number in range(1, 5):
        first.await_pair(number)
        first.prefer_good(key=number % 2 == 0)
    first.await_pair(5)
    sealed = (run / "key.json").read_bytes(), (run / "comparison.json").read_bytes()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first.faults == []
    first.tab.close()
    assert len(votes(run)) == 4
    assert not (run / "result.json").exists()

    process, url = serve()
    second = Rater(browser, url)
    second.await_pair(5)
    other = Rater(browser, url)
    other.await_pair(5)
    second.tab.get_by_role("button", name="Neither").dblclick()
    second.await_pair(6)
    assert len(votes(run)) == 5  # a double click is one vote
    other.tab.keyboard.press("1")  # on a pair that has its vote by now
    other.await_pair(6)
    assert len(votes(run)) == 5
    for number in range(6, 11):
        second.await_pair(number)
        assert not (run / "result.json").exists()
        second.prefer_good(key=True)
    second.tab.get_by_text("Done: thank you").wait_for(timeout=60_000)
    told = second.shown("result")
    assert told.startswith("secret-new against secret-old, 10 comparisons without names\n")
    assert "votes       9 won, 1 drawn, 0 lost" in told
    assert not any("secret" in text for rater in (first, second, other) for text in rater.texts)
    assert second.tab.title() == "Blind comparison · alpaca-lora"
    assert second.tab.locator("img[src=x]").count() == 0
    assert second.tab.get_by_role("button", name="Neither").count() == 0
    assert second.faults == other.faults == []
    assert ((run / "key.json").read_bytes(), (run / "comparison.json").read_bytes()) == sealed
    result = json.loads((run / "result.json").read_text())
    assert (result["wins"], result["losses"], result["ties"]) == (9, 0, 1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert out.startswith("secret-new against secret-old")


def test_the_page_fits_the_width_of_a_phone(serve, browser):
    _, url = serve()
    rater = Rater(browser, url)
    rater.tab.set_viewport_size({"width": 390, "height": 800})
    rater.await_pair(1)
    assert rater.tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert rater.shown("left").endswith(HOSTILE)
