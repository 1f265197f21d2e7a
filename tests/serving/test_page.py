import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from alpaca_lora.reporting.wording import visible
from alpaca_lora.serving import Assistant
from alpaca_lora.serving.desk import Answer, Desk, Question

gradio_client = pytest.importorskip("gradio_client", reason="the extra ui is not installed")

ASKED: dict[str, Any] = {
    "instruction": "Say hello.",
    "input": "",
    "template": "alpaca",
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "num_beams": 1,
    "max_new_tokens": 12,
    "seed": "",
    "streaming": True,
    "compare": False,
}


class Recording(Desk):
    """A desk that remembers what it was asked."""

    questions: list[Question]

    def answer(self, user: str, question: Question) -> Iterator[tuple[Answer, Answer]]:
        self.questions.append(question)
        return super().answer(user, question)


@pytest.fixture(scope="module")
def desk(assistant: Assistant) -> Recording:
    desk = Recording(assistant)
    desk.questions = []
    return desk


@pytest.fixture(scope="module")
def url(desk: Recording, publish) -> str:
    return publish(desk).url


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    return connect(url)


def connect(url: str) -> Any:
    return gradio_client.Client(url, verbose=False, analytics_enabled=False)


def ask(client: Any, **changed: Any) -> tuple[Any, ...]:
    """What the page shows in the end: the answer, its note, the base model's answer and its note."""
    return client.predict(**ASKED | changed, api_name="/answer")[:4]


@pytest.fixture(scope="module")
def plain(client: Any, desk: Recording) -> Question:
    """The question that the page makes of `ASKED`."""
    ask(client)
    return desk.questions[-1]


def test_the_page_shows_the_answer_of_the_assistant(client: Any, assistant: Assistant):
    tuned, note, base, base_note = ask(client)

    assert tuned == visible(assistant.respond("Say hello.", max_new_tokens=12))
    assert note.startswith('<span class="done">12 tokens in ')
    assert (base, base_note) == ("", '<span class="idle"></span>')


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("instruction", "Say bye."),
        ("input", "There."),
        ("template", "alpaca_short"),
        ("streaming", False),
        ("compare", True),
    ],
)
def test_a_control_changes_its_part_of_the_question(client, desk: Recording, plain: Question, control: str, value: Any):
    ask(client, **{control: value})

    assert desk.questions[-1] == replace(plain, **{control: value})


@pytest.mark.parametrize(
    ("control", "value", "reaches"),
    [
        ("temperature", 0.7, 0.7),
        ("top_p", 0.5, 0.5),
        ("top_k", 40, 40),
        ("num_beams", 4, 4),
        ("max_new_tokens", 5, 5),
        ("seed", " 7 ", 7),
    ],
)
def test_a_control_changes_its_part_of_the_decoding(
    client, desk: Recording, plain: Question, control: str, value: Any, reaches: Any
):
    ask(client, **{control: value})

    assert desk.questions[-1] == replace(plain, decoding={**plain.decoding, control: reaches})


def test_every_control_is_shown_to_change_something(client: Any):
    parameters = client.view_api(return_format="dict")["named_endpoints"]["/answer"]["parameters"]

    assert [parameter["parameter_name"] for parameter in parameters] == list(ASKED)


def test_the_base_model_answers_beside_the_adapter(client: Any, assistant: Assistant):
    tuned, _, base, base_note = ask(client, compare=True)

    assert base == visible(assistant.base.respond("Say hello.", max_new_tokens=12)) != tuned
    assert base_note.startswith('<span class="done">12 tokens in ')


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"instruction": " "}, "Write an instruction first."),
        ({"seed": "<b>x"}, "seed must be a whole number, got &#x27;&lt;b&gt;x&#x27;"),
        ({"temperature": 0.5, "num_beams": 2}, "num_beams above 1 works at temperature 0 only; set one of them"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_page_goes_on(client: Any, changed: dict[str, Any], sentence: str):
    assert ask(client, **changed)[1] == f'<span class="error">{sentence}</span>'
    assert ask(client)[1].startswith('<span class="done">')


def test_a_value_that_no_control_has_is_refused(client: Any):
    with pytest.raises(Exception, match="not in the list of choices"):
        ask(client, template="/etc/passwd")
    with pytest.raises(Exception, match="greater than"):
        ask(client, max_new_tokens=1_000_000)


def test_stop_ends_the_answer_of_its_user_only(url: str, client: Any):
    other = connect(url)
    job = client.submit(**ASKED | {"max_new_tokens": 900}, api_name="/answer")
    deadline = time.monotonic() + 30
    while not any(note for _, note, *_ in map(tuple, job.outputs()) if "tokens/s" in note):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    other.predict(api_name="/stop")
    running = job.done()
    client.predict(api_name="/stop")

    assert not running
    assert job.result()[1].endswith("; stopped by you</span>")


def test_a_second_user_waits_and_is_answered(url: str, client: Any, assistant: Assistant):
    long = client.submit(**ASKED | {"max_new_tokens": 300}, api_name="/answer")
    answer = ask(connect(url), instruction="Say bye.")

    assert answer[0] == visible(assistant.respond("Say bye.", max_new_tokens=12))
    assert long.result()[1].startswith('<span class="done">300 tokens in ')


def test_the_tokens_of_the_prompt_are_shown(client: Any, desk: Recording):
    note, spans, ids = client.predict("Say <b>hello</b>.", "", "alpaca", api_name="/tokens")
    view = desk.look("Say <b>hello</b>.", "", "alpaca")

    assert "tokens in the words of template &#x27;alpaca&#x27;" in note
    assert [span["token"] for span in spans] == list(view.pieces)
    assert ids == " ".join(map(str, view.ids))


def test_only_what_has_an_effect_can_be_set(assistant: Assistant):
    from alpaca_lora.serving.page import Page

    async def make() -> Page:
        return Page(Desk(assistant), "run", "")

    page = asyncio.run(make())
    greedy, drawing = page._allow(0), page._allow(0.5)

    assert [update["interactive"] for update in greedy] == [False, False, False, True]
    assert [update["interactive"] for update in drawing] == [True, True, True, False]
    assert drawing[3]["value"] == 1


def test_names_of_the_adapter_are_shown_as_text(url: str):
    import httpx

    assert "<b>run</b>" not in httpx.get(url, trust_env=False, timeout=60).text.replace("\\u003cb\\u003e", "")
