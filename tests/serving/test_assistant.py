import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.models import Response
from alpaca_lora.records import Record
from alpaca_lora.serving import Assistant

RECORDS = [
    Record("Name the capital of France."),
    Record("Turn the sentence into a question.", "The train leaves at noon, and nobody knows when it will arrive."),
    Record("Add the numbers.", "12 and 30"),
    Record("Say hello."),
    Record("Write a short story about a friendly robot that eats a balanced diet and sleeps well every day."),
]


def test_a_batch_answers_as_one_by_one(assistant: Assistant):
    alone = [assistant.respond(record.instruction, record.input, max_new_tokens=10) for record in RECORDS]

    assert assistant.respond_batch(RECORDS, max_new_tokens=10) == alone
    assert assistant.respond_batch(RECORDS, max_new_tokens=10, batch_size=2) == alone
    assert len(set(alone)) > 1


def test_the_pieces_of_a_stream_are_the_answer(assistant: Assistant):
    for record in RECORDS:
        pieces = list(assistant.stream(record.instruction, record.input, max_new_tokens=10))
        assert "".join(pieces) == assistant.respond(record.instruction, record.input, max_new_tokens=10)


def test_a_beam_search_streams_one_piece(assistant: Assistant):
    pieces = list(assistant.stream("Say hello.", num_beams=2, max_new_tokens=8))

    assert pieces == [assistant.respond("Say hello.", num_beams=2, max_new_tokens=8)]


def test_a_closed_stream_stops_the_model(assistant: Assistant):
    before = threading.active_count()
    pieces = assistant.stream("Say hello.", max_new_tokens=512)
    next(pieces)
    pieces.close()

    assert threading.active_count() == before


def test_a_growing_answer_begins_empty_and_ends_as_the_whole(assistant: Assistant):
    record = RECORDS[1]
    stop = threading.Event()
    first, *others = assistant.stream_full(record.instruction, record.input, stop=stop, max_new_tokens=10)

    assert (first.text, first.tokens, first.stopped) == ("", 0, False)
    assert not stop.is_set()
    assert others[-1:] == assistant.respond_full([record], max_new_tokens=10)
    assert all(later.text.startswith(sooner.text) for sooner, later in itertools.pairwise(others))
    assert len({response.tokens for response in others}) > 5


@pytest.mark.parametrize("num_beams", [1, 3])
def test_an_answer_that_somebody_stops_is_what_was_written_so_far(assistant: Assistant, num_beams: int):
    stop = threading.Event()
    hook = assistant.model.get_base_model().register_forward_hook(lambda *_: stop.set())
    try:
        *_, last = assistant.stream_full("Say hello.", stop=stop, max_new_tokens=512, num_beams=num_beams)
    finally:
        hook.remove()

    assert (last.tokens, last.stopped) == (1, False)


def test_the_base_alone_streams_what_it_answers(assistant: Assistant):
    pieces = list(assistant.base.stream("Say hello.", max_new_tokens=16))

    assert "".join(pieces) == assistant.base.respond("Say hello.", max_new_tokens=16)


def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused(assistant: Assistant):
    for ask in (assistant.respond, assistant.stream):
        with pytest.raises(ConfigError, match=r"the answer may have 900, but the model reads at most 1024: shorten"):
            ask("Say hello. " * 40, max_new_tokens=900)


def test_adapter_and_base_answer_two_users_at_once_as_they_answer_one(assistant: Assistant):
    asked = [(assistant, 1), (assistant.base, 1), (assistant, 2), (assistant.base, 2)] * 2

    def ask(one: tuple[Assistant, int]) -> str:
        return "".join(one[0].stream("Say hello.", max_new_tokens=24, temperature=1.5, seed=one[1]))

    alone = [ask(one) for one in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(ask, asked)) == alone
    assert len(set(alone)) > 2


def test_an_empty_batch_has_no_answers(assistant: Assistant):
    assert assistant.respond_batch([]) == []


def test_an_answer_says_whether_the_model_ended_it(assistant: Assistant):
    (response,) = assistant.respond_full([Record("Say hello.")], max_new_tokens=3)

    assert (response.tokens, response.stopped) == (3, False)


def test_equal_seeds_draw_equal_answers(assistant: Assistant):
    def draw(seed: int) -> str:
        return assistant.respond("Say hello.", max_new_tokens=16, temperature=1.5, seed=seed)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_the_base_answers_without_the_adapter_and_the_adapter_comes_back(assistant: Assistant):
    tuned = assistant.respond("Say hello.", max_new_tokens=16)
    untuned = assistant.base.respond("Say hello.", max_new_tokens=16)

    assert untuned != tuned
    assert assistant.respond("Say hello.", max_new_tokens=16) == tuned


def test_wrong_decoding_options_are_named_together(assistant: Assistant):
    with pytest.raises(ConfigError) as caught:
        assistant.respond("Say hello.", warmth=0.7, top_p="high")

    assert str(caught.value).splitlines() == [
        "top_p must be a number, got 'high'",
        "unknown decoding option 'warmth'; allowed: max_new_tokens, num_beams, repetition_penalty, seed, "
        "temperature, top_k, top_p",
    ]


def test_a_wrong_option_is_refused_before_the_stream_begins(assistant: Assistant):
    with pytest.raises(ConfigError, match="top_p must be above 0 and at most 1, got 2"):
        assistant.stream("Say hello.", top_p=2)


def test_white_space_around_an_answer_is_held_back_and_inside_it_kept():
    from alpaca_lora.serving.assistant import _pieces, _stripped

    written = ["", "\n", "\n Red\n", "\n Red\n\n", "\n Red\n\ngreen ", "\n Red\n\ngreen \n"]
    responses = (_stripped(Response(text, tokens, stopped=False)) for tokens, text in enumerate(written))
    assert list(_pieces(responses)) == ["Red", "\n\ngreen"]
