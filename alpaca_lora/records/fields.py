"""What the text of one field must be, and the words for what it is instead."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from alpaca_lora.records.record import Limits

__all__ = ["Problem", "describe", "exceeds", "quoted", "text_problem"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 40


class Problem(NamedTuple):
    """One thing that is wrong with one field of one row."""

    field: str
    """Name of the field or column."""

    kind: str
    """What sort of thing, to tell a fault of every row from faults of single rows."""

    text: str
    """What is wrong, and what to do."""


def text_problem(field: str, value: object, limits: Limits) -> Problem | None:
    """Return what keeps a value from being the text of a field, or None."""
    if value is None:
        return Problem(field, "null", "is null; write the text, or delete the row")
    if not isinstance(value, str):
        return Problem(field, "type", f"must be text (found {describe(value)}); quote it, or store it as text")
    if "\0" in value:
        return Problem(field, "NUL", "holds the character U+0000, which cuts text short in tokenizers; delete it")
    if not value.isascii() and (surrogate := _SURROGATE.search(value)):
        code = f"U+{ord(surrogate.group()):04X}"
        return Problem(field, "surrogate", f"holds {code}, half of a character, which is not UTF-8; write all of it")
    if size := exceeds(value, limits.field_bytes):
        limit = f"the limit is {limits.field_bytes:,} (Limits.field_bytes)"
        return Problem(field, "size", f"is {size:,} bytes; {limit}; shorten it or delete the row")
    return None


def exceeds(text: str, limit_bytes: int) -> int:
    """Return the size of a text in bytes of UTF-8 if that is more than the limit, else 0."""
    if len(text) * 4 <= limit_bytes:
        return 0
    size = len(text.encode("utf-8", errors="surrogatepass"))
    return size if size > limit_bytes else 0


def describe(value: object) -> str:
    """Name a value that is not text in the words of JSON, shortly."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"number of {value.bit_length():,} bits"
    if isinstance(value, int | float):
        return f"number {value!r}"
    if isinstance(value, str):
        return f"text {_short(repr(value))}"
    if isinstance(value, list | tuple):
        return f"list of {len(value):,}"
    if isinstance(value, Mapping):
        return f"object with {quoted(value) or 'no keys'}"
    return f"{type(value).__name__} {_short(repr(value))}" if value is not None else "null"


def quoted(names: Iterable[object]) -> str:
    """Return names in quotes with commas between, the first ten of them."""
    shown = [_short(repr(name)) for name in names]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10:,} more" if len(shown) > 10 else "")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
