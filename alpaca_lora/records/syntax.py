"""What this reader takes for JSON, and how it explains what is not.

The standard parser accepts duplicate keys and NaN and recurses as deep as the file says; here those are faults.
"""

import json
import re
from collections import Counter
from typing import Any, NoReturn

from alpaca_lora.records.record import Limits

__all__ = ["Refused", "explain", "is_deeper", "strict_decoder"]

_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+("?)|[\[\]{}]', re.DOTALL)
"""A string, whose group 1 is its closing quote if it has one, or a bracket."""

_CONTAINERS = {"{": "an object", "[": "a list"}


class Refused(ValueError):
    """A row that the standard parser accepts, and this reader does not."""


def strict_decoder(limits: Limits) -> json.JSONDecoder:
    """Return a decoder that raises `Refused` for duplicate keys, NaN, infinities and overlong integers."""

    def parse_int(digits: str) -> int:
        if len(digits.lstrip("-")) > limits.integer_digits:
            limit = f"the limit is {limits.integer_digits} (Limits.integer_digits)"
            raise Refused(f"integer of {len(digits.lstrip('-')):,} digits; {limit}: quote it as text")
        return int(digits)

    return json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=parse_int)


def is_deeper(text: str, limit: int) -> bool:
    """Return whether the brackets of a JSON text are nested deeper than `limit`, without recursion."""
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for token in _BRACKET.finditer(text):
        mark = token.group()
        depth += (mark in ("[", "{")) - (mark in ("]", "}"))
        if depth > limit:
            return True
    return False


def explain(error: json.JSONDecodeError) -> str:
    """Return what is wrong with a JSON text and how to correct it; the place is told by the caller."""
    text, position = error.doc, error.pos
    rest, before = text[position:].lstrip(), text[:position].rstrip()
    if error.msg == "Extra data":
        first = f"two JSON values: the first is characters 1 to {len(before)} of the row, the second begins here"
        return f"{first}; put each on its own line, or a comma between them in an array"
    if error.msg.startswith("Unterminated string") or not rest:
        return f"JSON ends inside {_innermost(text)}; complete or delete the row"
    if "trailing comma" in error.msg or (rest[0] in "}]" and before.endswith(",")):
        closing = rest.lstrip(", \t\r\n")[:1]
        return f"not JSON: a comma before the closing {closing!r}; delete the comma"
    if rest[0] == "'":
        return "not JSON: a single quote; write texts and keys in double quotes"
    if error.msg.startswith("Invalid control character"):
        return f"not JSON: the character {text[position]!r} inside a text; write it as an escape, such as \\n or \\t"
    what = error.msg.removesuffix(" at").replace("Expecting", "expected").replace("Invalid", "invalid")
    return f"not JSON: {what}, found {rest[:16]!r}; correct it here"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        [(key, count)] = Counter(key for key, _ in pairs).most_common(1)
        raise Refused(f"key {key!r} appears {count} times in one object; keep one")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise Refused(f"not JSON: {name}; write null, a number, or a text in double quotes")


def _innermost(text: str) -> str:
    """Name what was open where a text that is too short ends."""
    opened: list[str] = []
    for token in _BRACKET.finditer(text):
        mark = token.group()
        if mark in ("[", "{"):
            opened.append(mark)
        elif mark in ("]", "}"):
            del opened[-1:]
        elif not token[1]:
            return "a string"
    return _CONTAINERS[opened[-1]] if opened else "a value"
