"""What the web page does, without the page: questions of several users at once, each answered as it is written.

One model answers all of them, one after another in `models.generation`; a user who waits is told so. Each user has one
answer at a time, and stopping it stops no other. What is shown is plain text: escaping it is up to the page.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from alpaca_lora.errors import AlpacaLoraError, ConfigError
from alpaca_lora.models import Response, encode_prompt, split_ids
from alpaca_lora.prompts import Prompter, available_templates
from alpaca_lora.reporting.wording import count, duration, legible, visible
from alpaca_lora.serving.assistant import Assistant

__all__ = ["Answer", "Desk", "Question", "TokenView"]

_REFRESH_SECONDS = 0.05
_SHOWN_TOKENS = 1000
_EMPTY = "Write an instruction first."


@dataclass(frozen=True)
class Question:
    """What a user wants to know."""

    instruction: str
    input: str
    template: str
    """One of `Desk.templates`."""

    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `models.Decoding`."""

    streaming: bool = True
    """Whether the answer is shown while it is written."""

    compare: bool = False
    """Whether the base model alone answers too, after the adapter."""


@dataclass(frozen=True)
class Answer:
    """An answer as far as it is there."""

    text: str = ""
    note: str = ""
    """How it is going, or how it ended: its length, its speed and why it is no longer."""

    state: Literal["idle", "busy", "done", "error"] = "idle"


@dataclass(frozen=True)
class TokenView:
    """A prompt as the model reads it."""

    note: str
    pieces: tuple[str, ...]
    """The first tokens as text, control characters as symbols, line ends as an arrow before the line end."""

    ids: tuple[int, ...]
    """The ids of all tokens."""


class Desk:
    """Where users bring their questions.

    Args:
        assistant: who answers; its template is the one to begin with.
    """

    def __init__(self, assistant: Assistant) -> None:
        trained_with = assistant.prompter
        self._assistant = assistant
        self._prompters = {name: Prompter(name) for name in available_templates()}
        self._prompters[trained_with.template.name] = trained_with
        self._stops: dict[str, threading.Event] = {}

    @property
    def template(self) -> str:
        """Name of the template that the adapter was loaded with."""
        return self._assistant.prompter.template.name

    @property
    def templates(self) -> tuple[str, ...]:
        """Names of the templates that can be asked in: the built-in ones and the adapter's own."""
        return tuple(sorted(self._prompters))

    def answer(self, user: str, question: Question) -> Iterator[tuple[Answer, Answer]]:
        """Yield what to show of the adapter's answer and of the base model's, again and again until both are there.

        A new question of the same user stops the one before it.

        Args:
            user: who asks; any text that is another for each user.
            question: what is asked.
        """
        self.stop(user)
        stop = self._stops[user] = threading.Event()
        tuned, base = Answer(), Answer()
        try:
            assistant = self._asked_in(question.template)
            if not question.instruction.strip():
                raise ConfigError(_EMPTY)
            for tuned in _written(assistant, question, stop):
                yield tuned, base
            if question.compare and not stop.is_set():
                for base in _written(assistant.base, question, stop):
                    yield tuned, base
        except AlpacaLoraError as error:
            yield Answer(tuned.text, visible(str(error)), "error"), base
        finally:
            stop.set()
            if self._stops.get(user) is stop:
                del self._stops[user]

    def stop(self, user: str) -> None:
        """End the answer of a user at its next token; without one nothing happens."""
        if event := self._stops.get(user):
            event.set()

    def close(self) -> None:
        """End every answer."""
        for event in list(self._stops.values()):
            event.set()

    def look(self, instruction: str, input: str, template: str) -> TokenView:
        """Return the prompt of a question token by token.

        Raises:
            ConfigError: there is no such template.
        """
        assistant = self._asked_in(template)
        prompter, tokenizer = assistant.prompter, assistant.tokenizer
        ids = encode_prompt(tokenizer, prompter.generate_prompt(instruction, input))
        pieces = tuple(legible(text) for _, text in split_ids(tokenizer, ids[:_SHOWN_TOKENS]))
        note = f"{count(len(ids))} tokens in the words of template {template!r}"
        if len(ids) > _SHOWN_TOKENS:
            note += f", of which the first {count(_SHOWN_TOKENS)} are shown"
        if prompter.sha256 != self._assistant.prompter.sha256:
            note += f"; the adapter was loaded with {self.template!r} and answers best there"
        return TokenView(note, pieces, tuple(ids))

    def _asked_in(self, template: str) -> Assistant:
        if template not in self._prompters:
            raise ConfigError(f"template must be one of {', '.join(self.templates)}, got {template!r}")
        return replace(self._assistant, prompter=self._prompters[template])


def _written(assistant: Assistant, question: Question, stop: threading.Event) -> Iterator[Answer]:
    """Yield an answer from its waiting to its end."""
    yield Answer(note="waiting until another answer has ended …", state="busy")
    began = shown = time.perf_counter()
    last = Response("", 0, stopped=False)
    for last in assistant.stream_full(question.instruction, question.input, stop=stop, **question.decoding):
        now = time.perf_counter()
        if stop.is_set():
            continue
        if not last.tokens:
            began = shown = now
            yield Answer(note="reading the prompt …" if question.streaming else "writing …", state="busy")
        elif question.streaming and now - shown >= _REFRESH_SECONDS:
            shown = now
            yield Answer(visible(last.text), f"{_progress(last, now - began)} …", "busy")
    yield Answer(visible(last.text), _conclusion(last, time.perf_counter() - began, stop), "done")


def _progress(response: Response, seconds: float) -> str:
    number = "1 token" if response.tokens == 1 else f"{count(response.tokens)} tokens"
    return f"{number} in {duration(seconds)}, {response.tokens / max(seconds, 1e-9):.1f} tokens/s"


def _conclusion(response: Response, seconds: float, stop: threading.Event) -> str:
    """Return why an answer is no longer, with its length and speed."""
    if response.stopped:
        reason = "ended by the model"
    elif stop.is_set():
        reason = "stopped by you"
    else:
        reason = "cut off at the longest answer that was allowed"
    if not response.tokens:
        return reason
    return f"{_progress(response, seconds)}; {reason}" + ("" if response.text else "; the answer is empty")
