"""Ollama's Modelfile, written and read again exactly as Ollama reads it.

A value stands in one or three quotes, and nothing in it can be escaped; it ends at the first line end where the quotes
are closed. Characters without a picture are dropped, so a template holds them as string literals of Go (see
`prompts.dialects`), and a stop that holds one is left out: the token in the GGUF file still ends the answer.

Source: `ParseFile` in
https://github.com/ollama/ollama/blob/00dc3af848b5ed632aef2c68c990a58fa83da2ec/parser/parser.go.
"""

import json
import re
from collections.abc import Iterable

from alpaca_lora.errors import ExportError
from alpaca_lora.prompts import Prompter

__all__ = ["read_modelfile", "stated_template", "write_modelfile"]

_HEAD = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*(?:(?i:parameter)[ \t]+(?P<parameter>\w+)|(?P<command>[A-Za-z]+))[ \t]")
_STATED = re.compile(r"^# template .* sha256 ([0-9a-f]{64})$", re.MULTILINE)


def write_modelfile(model: str, prompter: Prompter, *, eos_token: str, stops: Iterable[str]) -> str:
    """Return the text of a Modelfile.

    It asks for the likeliest token each time, as `alpaca-lora chat` does; Ollama alone would draw, and avoid words that
    the text has already.

    Args:
        model: name of the GGUF file beside it.
        prompter: renders the prompt of training.
        eos_token: text of the token that ends an answer.
        stops: texts of all tokens that end an answer; the headings of the template are added.
    """
    template = prompter.template
    texts = map(_quoted, dict.fromkeys([*stops, *prompter.stop_strings]))
    lines = [
        f"# template {json.dumps(template.name)} sha256 {template.sha256}",
        f"FROM ./{model}",
        "",
        f"TEMPLATE {_quoted(prompter.ollama_template(eos_token=eos_token))}",
        "",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        *(f"PARAMETER stop {text}" for text in texts if text),
    ]
    return "\n".join(lines) + "\n"


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """Return the commands of a Modelfile, names in lower case, that of a parameter being its own.

    Raises:
        ExportError: a value does not end.
    """
    commands, position = [], 0
    while head := _HEAD.match(text, position):
        value, position = _value(text, head.end())
        commands.append((head["parameter"] or str(head["command"]).lower(), value))
    return commands


def stated_template(text: str) -> str | None:
    """Return the digest of the template that a Modelfile of ours states."""
    found = _STATED.search(text)
    return found[1] if found else None


def _value(text: str, start: int) -> tuple[str, int]:
    """Return the value that begins at `start`, and where it ends."""
    ends = [match.start() for match in re.finditer(r"[\r\n]", text[start:])]
    for end in [*(start + place for place in ends), len(text)]:
        read = "".join(char for char in text[start:end] if char.isprintable() or char in "\t\r\n").strip()
        quotes = '"""' if read.startswith('"""') else '"' if read.startswith('"') else ""
        if len(read) >= 2 * len(quotes) and read.endswith(quotes):
            return read[len(quotes) : len(read) - len(quotes)], end
    raise ExportError(f"a value in the Modelfile does not end: {text[start : start + 40]!r}")


def _quoted(text: str) -> str | None:
    """Return a text in quotes, None where it would be read as another."""
    ways = (f"{quotes}{text}{quotes}" for quotes in (('"""', '"') if "\n" in text else ('"', '"""')))
    return next((written for written in ways if _reads_as(written, text)), None)


def _reads_as(written: str, text: str) -> bool:
    try:
        return _value(f"{written}\n", 0) == (text, len(written))
    except ExportError:
        return False
