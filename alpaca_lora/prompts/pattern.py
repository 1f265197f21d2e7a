"""Template text to pieces: the one place that knows what a brace means.

The syntax is the part of Python's format strings that computes nothing: the exact fields `{instruction}` and `{input}`,
and `{{` and `}}` for literal braces. Text is scanned once; rendering joins the pieces, so a brace in a record is never
read as syntax, and `{instruction.__class__}` or a padding of a gigabyte has no way to be evaluated.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FIELDS", "Pattern", "Slot", "did_you_mean", "fill", "scan", "shorten"]

FIELDS = ("instruction", "input")
"""The fields of a record that a prompt may show."""

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[{}]|[^{}]+")
_COMPUTED = re.compile(r"\s*(\w+)\s*[.\[!:].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one field."""

    field: str
    """`instruction` or `input`."""


Pattern = tuple[str | Slot, ...]


def scan(text: str, fields: tuple[str, ...] = FIELDS) -> tuple[Pattern, tuple[str, ...]]:
    """Split a template's text into literal text and slots.

    Args:
        text: what stands in the template.
        fields: the fields that may stand in this text.

    Returns:
        The pieces, no two literals adjacent, and the faults, each as `line:column: what is wrong`, counted from 1.
    """
    pieces: list[str | Slot] = []
    faults: list[str] = []
    literal = ""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in ("{{", "}}"):
            literal += token[0]
        elif token[0] not in "{}":
            literal += token
        elif fault := _fault(token, fields):
            line_start = text.rfind("\n", 0, match.start()) + 1
            faults.append(f"{text.count(chr(10), 0, match.start()) + 1}:{match.start() - line_start + 1}: {fault}")
        else:
            pieces += [literal, Slot(token[1:-1])] if literal else [Slot(token[1:-1])]
            literal = ""
    if literal:
        pieces.append(literal)
    return tuple(pieces), tuple(faults)


def fill(pattern: Pattern, values: Mapping[str, str]) -> str:
    """Join the pieces of a pattern, with `values` in the slots as they are."""
    return "".join(piece if isinstance(piece, str) else values[piece.field] for piece in pattern)


def did_you_mean(word: str, known: tuple[str, ...], form: str = "{!r}") -> str:
    """Return `; did you mean …?` with the nearest of the known words, or nothing where none is near."""
    near = difflib.get_close_matches(word.strip().lower(), known, n=1)
    return f"; did you mean {form.format(near[0])}?" if near else ""


def shorten(text: str, length: int = 60) -> str:
    """Return the text, or its start and an ellipsis, so that a message stays readable."""
    return text if len(text) <= length else text[:length] + "…"


def _fault(token: str, fields: tuple[str, ...]) -> str:
    """Say what is wrong with a brace or a field; nothing where it is in order."""
    if token in ("{", "}"):
        return f"single {token!r} opens or closes no field; write {token * 2} for a literal brace"
    name, allowed = token[1:-1], " and ".join(f"{{{field}}}" for field in fields)
    if name in fields:
        return ""
    if name in FIELDS:
        return f"{token} has no value here, where there is no input; remove it"
    shown = shorten(token)
    if computed := _COMPUTED.fullmatch(name):
        plain = f"{{{computed[1]}}}" if computed[1] in fields else allowed
        return (
            f"{shown} has an attribute, index, conversion or format, and only plain fields are allowed; write {plain}"
        )
    if not name.strip() or name.strip().isdigit():
        return f"{shown} names no field; allowed: {allowed}; write {{{{ and }}}} for literal braces"
    if name == "output":
        return "{output} cannot stand in a prompt, since the answer is appended after it; remove it"
    hint = did_you_mean(name, fields, "{{{}}}")
    return f"{shown} is not a field; allowed: {allowed}{hint or '; write {{ and }} for literal braces'}"
