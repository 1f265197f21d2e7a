import dataclasses
import io
import threading
from collections.abc import Iterator

import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.models import Response
from alpaca_lora.prompts import Prompter
from alpaca_lora.reporting.wording import visible
from alpaca_lora.serving import Assistant, Chat


class Typed:
    """A person who types these lines; an exception among them is a key such as Ctrl-C."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self.lines = list(lines)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        if isinstance(line, str):
            return line
        raise line


class Scripted:
    """An assistant that says what it was told to and remembers what it was asked."""

    def __init__(self, assistant: Assistant, *pieces: str | type[BaseException]) -> None:
        self.prompter = assistant.prompter
        self.pieces = pieces
        self.asked: list[tuple[str, str]] = []

    def stream_full(self, instruction: str, input: str = "", **decoding: object) -> Iterator[Response]:
        self.asked.append((instruction, input))
        text = ""
        for number, piece in enumerate(self.pieces):
            if not isinstance(piece, str):
                raise piece
            text += piece
            yield Response(text, number, stopped=True)


def converse(assistant: object, *lines: str | type[BaseException], **decoding: object) -> str:
    sink = io.StringIO()
    Chat(assistant, Typed(*lines), sink, **decoding).run()  # type: ignore[arg-type]
    return sink.getvalue()


def test_an_instruction_is_answered_as_respond_answers_it(assistant: Assistant):
    shown = converse(assistant, "Say hello.", max_new_tokens=12)

    assert visible(assistant.respond("Say hello.", max_new_tokens=12)) in shown


@pytest.mark.parametrize("key", [EOFError, KeyboardInterrupt])
def test_a_key_at_the_prompt_leaves(assistant: Assistant, key: type[BaseException]):
    scripted = Scripted(assistant, "Hello!")

    assert converse(scripted, "one", key, "two").endswith("Hello!\n\n")
    assert scripted.asked == [("one", "")]


def test_quit_leaves(assistant: Assistant):
    scripted = Scripted(assistant, "Hello!")
    converse(scripted, "/quit", "one")

    assert scripted.asked == []


def test_ctrl_c_stops_an_answer_and_keeps_the_session(assistant: Assistant):
    scripted = Scripted(assistant, "Once upon", KeyboardInterrupt)

    assert "Once upon\n(stopped)\n" in converse(scripted, "one", "two")
    assert scripted.asked == [("one", ""), ("two", "")]


def test_another_signal_ends_the_session(assistant: Assistant):
    class Terminated(KeyboardInterrupt):
        """What a command line makes of SIGTERM."""

    for scripted, lines in ((Scripted(assistant, "Once upon", Terminated), ("one",)), (assistant, (Terminated,))):
        with pytest.raises(Terminated):
            converse(scripted, *lines)


def test_ctrl_c_stops_the_real_model(assistant: Assistant):
    class Interrupting(io.StringIO):
        def flush(self) -> None:
            if threading.active_count() > before:
                raise KeyboardInterrupt

    before = threading.active_count()
    sink = Interrupting()
    Chat(assistant, Typed("Say hello."), sink, max_new_tokens=512).run()

    assert "(stopped)" in sink.getvalue()
    assert threading.active_count() == before


def test_control_characters_of_an_answer_are_shown_and_not_sent(assistant: Assistant):
    shown = converse(Scripted(assistant, "\x1b[2J", "red\x07", "\x9b31m"), "one")

    assert "␛[2Jred␇�31m" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


def test_an_input_of_several_lines_goes_to_the_next_instruction_only(assistant: Assistant):
    scripted = Scripted(assistant, "ok")
    converse(scripted, "/input", "first", "second", "", "one", "two", "/input third", "three")

    assert scripted.asked == [("one", "first\nsecond"), ("two", ""), ("three", "third")]


def test_base_answers_the_last_instruction_without_the_adapter(assistant: Assistant):
    shown = converse(assistant, "/base", "Say hello.", "/base", max_new_tokens=12)
    untuned = assistant.base.respond("Say hello.", max_new_tokens=12)

    assert "nothing to compare yet" in shown
    assert shown.partition("(base model, without the adapter)\n")[2].startswith(visible(untuned))


def test_settings_can_be_changed_and_shown(assistant: Assistant):
    shown = converse(assistant, "/set temperature 0.7", "/set seed 3", "/set max_new_tokens 4", "/set")

    assert "temperature 0.7\n" in shown
    assert "seed 3\n" in shown
    assert "max_new_tokens 4\n" in shown


def test_an_answer_says_that_it_was_cut_off_or_is_empty(assistant: Assistant):
    cut = converse(assistant, "Say hello.", max_new_tokens=3)

    assert "(cut off after 3 tokens; /set max_new_tokens 6 allows more)\n" in cut
    assert "cut off" not in converse(Scripted(assistant, "Hello!"), "one")
    assert "(an empty answer)\n" in converse(Scripted(assistant, ""), "one")


def test_an_instruction_that_cannot_be_answered_keeps_the_session(assistant: Assistant):
    shown = converse(assistant, "Say hello. " * 200, "/help")

    assert "but the model reads at most 1024: shorten the instruction or the input" in shown
    assert "/settings" in shown


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("/set temperature hot", "temperature must be a number, got 'hot'"),
        ("/set top_p 2", "top_p must be above 0 and at most 1, got 2.0"),
        ("/set mood good", "unknown decoding option 'mood'; allowed: max_new_tokens"),
        ("/template alpca", "unknown template 'alpca'; did you mean 'alpaca'?"),
        ("/sing", "unknown command '/sing'; /help lists them"),
    ],
)
def test_a_refused_command_keeps_the_session(assistant: Assistant, line: str, refusal: str):
    scripted = Scripted(assistant, "Hello!")
    shown = converse(scripted, line, "one")

    assert refusal in shown
    assert scripted.asked == [("one", "")]


def test_another_template_is_used_and_its_risk_is_told(assistant: Assistant):
    shown = converse(assistant, "/template alpaca_short", "Say hello.", max_new_tokens=12)
    short = dataclasses.replace(assistant, prompter=Prompter("alpaca_short"))

    assert "the adapter was loaded with 'alpaca' and answers best there" in shown
    assert visible(short.respond("Say hello.", max_new_tokens=12)) in shown


def test_help_names_every_command(assistant: Assistant):
    shown = converse(assistant, "/help")

    assert all(f"  {command}" in shown for command in ("/input", "/base", "/settings", "/set", "/template", "/quit"))


def test_half_a_character_does_not_end_the_session(assistant: Assistant):
    assert "(stopped)" not in converse(assistant, "gar\udcc3", max_new_tokens=2)


def test_a_wrong_option_is_refused_at_the_start(assistant: Assistant):
    with pytest.raises(ConfigError, match="unknown decoding option 'mood'"):
        Chat(assistant, input, io.StringIO(), mood="good")
