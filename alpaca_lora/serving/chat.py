"""A conversation at a terminal that need not be one: lines come from a function, text goes to a stream.

Each question stands alone, as in training. What a model writes is foreign text: its control characters are shown as
symbols, so an answer can neither colour, clear nor retitle the terminal.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, TextIO

from alpaca_lora.errors import AlpacaLoraError
from alpaca_lora.models import Decoding
from alpaca_lora.prompts import Prompter, available_templates
from alpaca_lora.records import Record
from alpaca_lora.reporting.wording import visible
from alpaca_lora.serving.assistant import Assistant, make_decoding

__all__ = ["Chat"]

_HELP = """\
Type an instruction and press Enter. Each one stands alone; nothing said before is remembered.
  /input [TEXT]     give the next instruction an input; without TEXT type several lines, ended by an empty one
  /base             let the base model answer the last instruction again, without the adapter
  /settings         show how answers are decoded
  /set NAME VALUE   change that, as in  /set temperature 0.7
  /template [NAME]  show or change the prompt template
  /help             show this
  /quit             leave, as Ctrl-D does; Ctrl-C stops an answer"""


class Chat:
    """One conversation.

    Args:
        assistant: who answers.
        ask: shows a prompt and returns the line that was typed, as `input` does; EOFError or KeyboardInterrupt ends it.
        sink: where answers go, piece by piece.
        **decoding: fields of `models.Decoding` to begin with.

    Raises:
        ConfigError: a decoding option is unknown or out of range.
    """

    def __init__(self, assistant: Assistant, ask: Callable[[str], str], sink: TextIO, **decoding: Any) -> None:
        self._assistant, self._ask, self._sink = assistant, ask, sink
        self._trained_with = assistant.prompter
        self._decoding = make_decoding(decoding)
        self._input = ""
        self._last: Record | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: self._say(_HELP),
            "/input": self._take_input,
            "/base": lambda _: self._compare(),
            "/settings": lambda _: self._show_settings(),
            "/set": self._change_setting,
            "/template": self._change_template,
        }

    def run(self) -> None:
        """Answer until the person leaves."""
        self._say(f"template {self._trained_with.template.name!r}; /help lists the commands, /quit leaves")
        while (line := self._read("> ")) is not None:
            command, _, argument = line.strip().partition(" ")
            if command == "/quit":
                return
            if command.startswith("/"):
                self._obey(command, argument.strip())
            elif command:
                record, self._input = Record(line.strip(), self._input), ""
                self._attempt(self._answer, self._assistant, record)
        self._say("")

    def _read(self, prompt: str) -> str | None:
        """Return the next line, half characters replaced; None when the person leaves."""
        try:
            return self._ask(prompt).encode("utf-8", "replace").decode("utf-8")
        except EOFError:
            return None
        except KeyboardInterrupt as error:
            _end_if_told_to(error)
            return None

    def _obey(self, command: str, argument: str) -> None:
        action = self._commands.get(command)
        if action is None:
            self._say(f"unknown command {visible(command)!r}; /help lists them")
            return
        self._attempt(action, argument)

    def _attempt(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do what was asked for, or say why not."""
        try:
            action(*arguments)
        except AlpacaLoraError as error:
            self._say(visible(str(error)))

    def _answer(self, assistant: Assistant, record: Record) -> None:
        self._last = record
        decoding = dataclasses.asdict(self._decoding)
        shown, last = 0, None
        try:
            responses = assistant.stream_full(record.instruction, record.input, **decoding)
            with contextlib.closing(responses):
                for last in responses:
                    self._sink.write(visible(last.text[shown:]))
                    self._sink.flush()
                    shown = len(last.text)
        except KeyboardInterrupt as error:
            _end_if_told_to(error)
            self._say("\n(stopped)")
            return
        if last is not None and not last.text:
            self._sink.write("(an empty answer)")
        self._say("")
        if last is not None and not last.stopped:
            self._say(f"(cut off after {last.tokens} tokens; /set max_new_tokens {2 * last.tokens} allows more)")

    def _take_input(self, text: str) -> None:
        lines = [text] if text else []
        while not text and (line := self._read("input> ")):
            lines.append(line)
        self._input = "\n".join(lines)
        self._say("the next instruction gets this input" if lines else "the next instruction gets no input")

    def _compare(self) -> None:
        if self._last is None:
            self._say("nothing to compare yet: give an instruction first")
            return
        self._say("(base model, without the adapter)")
        self._answer(self._assistant.base, self._last)

    def _show_settings(self) -> None:
        for name, value in dataclasses.asdict(self._decoding).items():
            self._say(f"{name} {'none' if value is None else value}")

    def _change_setting(self, argument: str) -> None:
        if not argument:
            self._show_settings()
            return
        name, _, value = argument.partition(" ")
        self._decoding = make_decoding(dataclasses.asdict(self._decoding) | {name: _parsed(name, value.strip())})
        self._say(f"{name} is now {value.strip()}")

    def _change_template(self, name: str) -> None:
        if name:
            self._assistant = dataclasses.replace(self._assistant, prompter=Prompter(name))
        prompter = self._assistant.prompter
        self._say(f"template {prompter.template.name!r}; built-in: {', '.join(available_templates())}")
        if prompter.sha256 != self._trained_with.sha256:
            self._say(f"the adapter was loaded with {self._trained_with.template.name!r} and answers best there")

    def _say(self, text: str) -> None:
        self._sink.write(text + "\n")
        self._sink.flush()


def _end_if_told_to(error: KeyboardInterrupt) -> None:
    """Let another signal than Ctrl-C, which a command line makes a kind of it, end the session."""
    if type(error) is not KeyboardInterrupt:
        raise error


def _parsed(name: str, value: str) -> Any:
    """Return the typed value as a number of the option's kind, or as it is for the refusal to show."""
    if value.lower() == "none":
        return None
    kind = float if isinstance(getattr(Decoding, name, None), float) else int
    try:
        return kind(value)
    except ValueError:
        return value
