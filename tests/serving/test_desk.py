import re
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from alpaca_lora.models import encode_prompt
from alpaca_lora.prompts import Prompter
from alpaca_lora.reporting.wording import visible
from alpaca_lora.serving import Assistant
from alpaca_lora.serving.desk import Answer, Desk, Question

HELLO = Question("Say hello.", "", "alpaca", {"max_new_tokens": 12})
INNOCENT = Answer()


@pytest.fixture
def desk(assistant: Assistant) -> Desk:
    return Desk(assistant)


@pytest.fixture
def prompts(assistant: Assistant):
    """The ids of each prompt that the model has read, as it read them."""
    seen: list[list[int]] = []

    def note(_module, _args, kwargs):
        ids = kwargs["input_ids"]
        if ids.shape[1] > 1:
            seen.append(ids[0].tolist())

    hook = assistant.model.get_base_model().register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    hook.remove()


def last(desk: Desk, question: Question, user: str = "ann") -> tuple[Answer, Answer]:
    *_, end = desk.answer(user, question)
    return end


def test_what_the_model_reads_is_the_prompt_that_is_shown(desk: Desk, assistant: Assistant, prompts: list[list[int]]):
    last(desk, replace(HELLO, input="There."))

    assert prompts == [encode_prompt(assistant.tokenizer, assistant.prompter.generate_prompt("Say hello.", "There."))]
    assert prompts == [list(desk.look("Say hello.", "There.", "alpaca").ids)]


@pytest.mark.parametrize("change", [{"instruction": "Say bye."}, {"input": "There."}, {"template": "alpaca_short"}])
def test_instruction_input_and_template_change_what_the_model_reads(
    desk: Desk, prompts: list[list[int]], change: dict[str, str]
):
    last(desk, HELLO)
    last(desk, replace(HELLO, **change))

    assert prompts[0] != prompts[1]


def test_the_answer_is_that_of_the_assistant_and_its_end_is_explained(desk: Desk, assistant: Assistant):
    tuned, base = last(desk, HELLO)

    assert tuned.text == visible(assistant.respond("Say hello.", max_new_tokens=12))
    assert tuned.state == "done"
    assert tuned.note.startswith("12 tokens in ")
    assert tuned.note.endswith(" tokens/s; cut off at the longest answer that was allowed")
    assert base == INNOCENT


def test_an_answer_that_the_model_ends_says_so(assistant: Assistant):
    model = assistant.model.get_base_model()
    stops = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = list(range(model.config.vocab_size))
    try:
        tuned, _ = last(Desk(assistant), HELLO)
    finally:
        model.generation_config.eos_token_id = stops

    assert tuned.text == ""
    assert tuned.note.startswith("1 token in ")
    assert tuned.note.endswith("; ended by the model; the answer is empty")


def test_the_answer_is_shown_while_it_is_written_only_if_that_is_wanted(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alpaca_lora.serving.desk._REFRESH_SECONDS", 0)
    streamed = [tuned.text for tuned, _ in desk.answer("ann", HELLO) if tuned.text]
    at_once = [tuned.text for tuned, _ in desk.answer("ann", replace(HELLO, streaming=False)) if tuned.text]

    assert len(streamed) > 3
    assert at_once == streamed[-1:]
    assert all(streamed[-1].startswith(text) for text in streamed)


def test_the_base_model_answers_after_the_adapter(desk: Desk, assistant: Assistant):
    tuned, base = last(desk, replace(HELLO, compare=True))

    assert (tuned.text, base.text) == (
        visible(assistant.respond("Say hello.", max_new_tokens=12)),
        visible(assistant.base.respond("Say hello.", max_new_tokens=12)),
    )
    assert tuned.text != base.text


def answers_with(desk: Desk, *options: dict[str, object]) -> list[str]:
    return [last(desk, replace(HELLO, decoding=HELLO.decoding | changed))[0].text for changed in options]


def test_a_temperature_draws_and_a_seed_repeats_it(desk: Desk):
    greedy, first, again, other = answers_with(
        desk,
        {},
        {"temperature": 1.5, "seed": 1},
        {"temperature": 1.5, "seed": 1},
        {"temperature": 1.5, "seed": 2},
    )
    assert first == again
    assert len({greedy, first, other}) == 3


@pytest.mark.parametrize("limit", [{"top_k": 1}, {"top_p": 0.0001}])
def test_top_p_and_top_k_limit_what_is_drawn(desk: Desk, limit: dict[str, float]):
    greedy, free, limited = answers_with(
        desk, {}, {"temperature": 1.5, "seed": 1}, {"temperature": 1.5, "seed": 1} | limit
    )
    assert greedy == limited != free


def test_beams_find_another_answer(desk: Desk, assistant: Assistant):
    one, several = answers_with(desk, {}, {"num_beams": 4})

    assert several == visible(assistant.respond("Say hello.", max_new_tokens=12, num_beams=4))
    assert one != several


def test_the_longest_answer_is_no_longer(desk: Desk):
    assert last(desk, replace(HELLO, decoding={"max_new_tokens": 5}))[0].note.startswith("5 tokens in ")


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (replace(HELLO, instruction=" \n"), "Write an instruction first."),
        (replace(HELLO, template="/etc/passwd"), "template must be one of alpaca, alpaca_legacy, .* got '/etc/passwd'"),
        (
            replace(HELLO, decoding={"temperature": 0.5, "num_beams": 2}),
            "num_beams above 1 works at temperature 0 only",
        ),
        (replace(HELLO, instruction="word " * 2000), "the prompt has .* shorten the instruction or the input"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_sentence(
    desk: Desk, prompts: list[list[int]], question: Question, sentence: str
):
    tuned, _ = last(desk, question)

    assert tuned.state == "error"
    assert tuned.text == ""
    assert re.match(sentence, tuned.note), tuned.note
    assert prompts == []
    assert last(desk, HELLO)[0].state == "done"


def slowly(assistant: Assistant, act: Callable[[], None]):
    """Do something after the model's third token."""
    passes = []

    def note(*_):
        passes.append(None)
        if len(passes) == 3:
            act()

    return assistant.model.get_base_model().register_forward_hook(note)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_stop_ends_the_answer_at_the_next_token_and_asks_no_base(desk: Desk, assistant: Assistant, options):
    hook = slowly(assistant, lambda: desk.stop("ann"))
    try:
        tuned, base = last(desk, replace(HELLO, compare=True, decoding={"max_new_tokens": 900} | options))
    finally:
        hook.remove()

    assert tuned.note.startswith("3 tokens in ")
    assert tuned.note.endswith("; stopped by you")
    assert base == INNOCENT


def test_two_users_at_once_get_their_own_answers_and_stop_only_their_own(desk: Desk, assistant: Assistant):
    alone = visible(assistant.respond("Say bye.", max_new_tokens=40))
    ended: dict[str, tuple[Answer, Answer]] = {}
    begun = threading.Event()
    hook = assistant.model.get_base_model().register_forward_hook(lambda *_: begun.set())

    def ask(user: str, question: Question) -> None:
        ended[user] = last(desk, question, user)

    ann = threading.Thread(target=ask, args=("ann", replace(HELLO, decoding={"max_new_tokens": 900})))
    ben = threading.Thread(target=ask, args=("ben", Question("Say bye.", "", "alpaca", {"max_new_tokens": 40})))
    ann.start()
    assert begun.wait(10)
    hook.remove()
    ben.start()
    desk.stop("nobody")
    desk.stop("ann")
    ann.join(30)
    ben.join(30)

    assert ended["ann"][0].note.endswith("; stopped by you")
    assert (ended["ben"][0].text, ended["ben"][0].note[:9]) == (alone, "40 tokens")


def test_who_waits_is_told_so_and_can_leave(desk: Desk, assistant: Assistant):
    running = desk.answer("ann", replace(HELLO, decoding={"max_new_tokens": 900}))
    while next(running)[0].note != "reading the prompt …":
        pass
    waiting = desk.answer("ben", HELLO)

    assert next(waiting)[0] == Answer(note="waiting until another answer has ended …", state="busy")
    desk.stop("ben")
    assert next(waiting)[0] == Answer(note="stopped by you", state="done")
    running.close()


def test_a_second_question_of_a_user_stops_the_first(desk: Desk):
    first = desk.answer("ann", replace(HELLO, decoding={"max_new_tokens": 900}))
    next(first)

    assert last(desk, HELLO)[0].note.startswith("12 tokens in ")
    *_, (tuned, _) = first
    assert tuned.note.endswith("stopped by you")


def test_closing_the_desk_ends_every_answer(desk: Desk):
    running = desk.answer("ann", replace(HELLO, decoding={"max_new_tokens": 900}))
    next(running)
    desk.close()

    *_, (tuned, _) = running
    assert tuned.note.endswith("stopped by you")


def test_the_tokens_of_a_prompt_are_its_text(desk: Desk, assistant: Assistant):
    view = desk.look("Say {hello} 🦙\x1b.", "", "alpaca_short")

    assert "".join(view.pieces).replace("↵\n", "\n") == Prompter("alpaca_short").generate_prompt("Say {hello} 🦙␛.")
    assert "🦙" in "".join(view.pieces)
    assert view.note == (
        f"{len(view.ids)} tokens in the words of template 'alpaca_short'; "
        "the adapter was loaded with 'alpaca' and answers best there"
    )


def test_a_long_prompt_is_shown_in_part(desk: Desk):
    view = desk.look("word " * 2000, "", "alpaca")

    assert len(view.ids) > 2000
    assert ", of which the first 1,000 are shown" in view.note
    assert len(view.pieces) <= 1000


def test_the_template_of_the_adapter_itself_can_be_chosen(assistant: Assistant):
    own = Prompter(replace(assistant.prompter.template, name="ours"))
    desk = Desk(replace(assistant, prompter=own))

    assert desk.template == "ours"
    assert {"ours", "alpaca", "alpaca_short"} < set(desk.templates)
    assert last(desk, replace(HELLO, template="ours"))[0].text == last(Desk(assistant), HELLO)[0].text


def test_control_characters_of_an_answer_are_shown_as_symbols(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    from alpaca_lora.models import Response

    def stream_full(self, instruction, input="", *, stop=None, **decoding):
        yield Response("\x1b[2J<b>red</b>", 3, stopped=True)

    monkeypatch.setattr(Assistant, "stream_full", stream_full)

    assert last(desk, HELLO)[0].text == "␛[2J<b>red</b>"
