r"""Tasks in the text of an answer. What is not exactly a task is counted with its reason, never mended by guessing.

The numbered form follows Stanford's parser to the letter. Its known defects: an answer is split at `###`, so a Markdown
heading inside an output ends the task, and the numbers of all later ones no longer fit. The JSON form takes every
complete object wherever it stands, in prose, in a fence or in a list that was cut.

Source: `post_process_gpt3_response` in
https://github.com/tatsu-lab/stanford_alpaca/blob/761dc5bfbdeeffa89b8bff5d038781a4055f796a/generate_instruction.py
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from alpaca_lora.records import Record
from alpaca_lora.records.record import FIELDS
from alpaca_lora.selfinstruct.fewshot import NO_INPUT
from alpaca_lora.teachers.protocol import Finish

__all__ = ["Parsed", "parse_json", "parse_numbered"]

_LOOKS_LIKE_TASK = re.compile(r'\{\s*"(instruction|input|output)"')
_NO_INPUT = re.compile(r"\W*(no[ _-]?input|n/?a|none)\W*", re.IGNORECASE)
_SHOWN = 300
_DECODER = json.JSONDecoder(strict=False)


class Parsed(NamedTuple):
    """One piece of an answer: a task, or what stands where one should be."""

    record: Record | None
    rule: str = ""
    """Why it is no task: `cut` or `malformed`."""

    raw: str = ""
    """The piece, where it is no task."""


def parse_numbered(text: str, *, first: int, finish: Finish, chat: bool = False) -> list[Parsed]:
    """Return the tasks of an answer in Stanford's form.

    Args:
        text: the answer, which goes on after `N. Instruction:`.
        first: N, the number of the first new task.
        finish: the last piece of an answer that was cut is dropped.
        chat: whether it comes from a chat model, which may begin with the heading itself.
    """
    heading = f"{first}. Instruction:"
    begun = text.lstrip(" #\n")
    whole = begun if chat and begun.startswith(heading) else f"{heading}{text}"
    pieces = re.split("###", whole)
    found = []
    for position, piece in enumerate(pieces):
        if position == len(pieces) - 1 and finish == "length":
            found.append(Parsed(None, "cut", piece.strip()[:_SHOWN]))
            continue
        parts = re.split(rf"{position + first}\.\s+(Instruction|Input|Output):", piece)
        if len(parts) != 7:
            if piece.strip():
                found.append(Parsed(None, "malformed", piece.strip()[:_SHOWN]))
            continue
        instruction, given, output = parts[2].strip(), parts[4].strip(), parts[6].strip()
        found.append(Parsed(Record(instruction, "" if given.lower() == NO_INPUT else given, output)))
    return found


def parse_json(text: str, *, finish: Finish) -> list[Parsed]:
    """Return the tasks of an answer in JSON.

    Args:
        text: the answer; anything may stand around the objects.
        finish: whether a piece at its end may have been cut.
    """
    found, position = [], 0
    while (start := text.find("{", position)) >= 0:
        position = start + 1
        try:
            value, position = _DECODER.raw_decode(text, start)
            found += list(_tasks(value))
        except (ValueError, RecursionError):
            if _LOOKS_LIKE_TASK.match(text, start):
                last = finish == "length" and "{" not in text[position:]
                found.append(Parsed(None, "cut" if last else "malformed", text[start : start + _SHOWN]))
    return found


def _tasks(value: Any) -> Iterator[Parsed]:
    if isinstance(value, Mapping) and "instruction" not in value:
        for item in value.values():
            yield from _tasks(item)
    elif isinstance(value, list):
        for item in value:
            yield from _tasks(item)
    elif isinstance(value, Mapping):
        fields = {name: _text(value.get(name)) for name in FIELDS}
        if all(isinstance(field, str) for field in fields.values()):
            fields = {name: field.strip() for name, field in fields.items()}
            if _NO_INPUT.fullmatch(fields["input"]):
                fields["input"] = ""
            yield Parsed(Record(**fields))
        else:
            yield Parsed(None, "malformed", json.dumps(value, ensure_ascii=False)[:_SHOWN])


def _text(value: Any) -> Any:
    """Return a missing field as empty and a number as its text; anything else stays what it is."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
