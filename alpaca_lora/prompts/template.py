"""A prompt template as data, checked as a whole before anything is rendered with it.

A template is one JSON document. Its faults are reported all at once, those of a prompt with line and column inside its
text. What passes here can be rendered, split again at `response_split`, and written as a Jinja or Ollama template.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from alpaca_lora.errors import TemplateError
from alpaca_lora.prompts.pattern import FIELDS, Pattern, did_you_mean, scan, shorten

__all__ = ["Template"]

_BEHAVIOUR = ("prompt_input", "prompt_no_input", "response_split")
_PROMPTS = {"prompt_input": FIELDS, "prompt_no_input": ("instruction",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The pattern of a prompt; creating one checks it.

    Raises:
        TemplateError: a text is unusable; the message lists every fault.
    """

    name: str
    """The built-in name, or the name of the file without its ending."""

    prompt_input: str
    """The prompt of a record with an input, with the fields `{instruction}` and `{input}`; `{{` is a literal brace."""

    prompt_no_input: str
    """The prompt of a record without one, with the field `{instruction}`."""

    response_split: str
    """The heading that ends both prompts (white space may follow it): the response begins after it."""

    description: str = ""
    """What it is, for a person who chooses."""

    source: str = ""
    """Where its text was published; permalinks separated by spaces."""

    license: str = ""
    """SPDX identifier of the licence of that text."""

    def __post_init__(self) -> None:
        _refuse(self.name, _faults(asdict(self)))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], name: str) -> Self:
        """Check a parsed JSON document and make a template of it.

        Args:
            document: the three behaviour texts and, optionally, `description`, `source` and `license`; what `to_dict`
                returns is accepted too.
            name: name of the template; it replaces one in the document.

        Raises:
            TemplateError: the document is no object, a key is unknown or missing, a value is no text, or a text is
                unusable; the message lists every fault.
        """
        if not isinstance(document, Mapping):
            _refuse(name, [f"a template must be a JSON object with {', '.join(_BEHAVIOUR)}, got {_kind(document)}"])
        document = {**document, "name": name}
        _refuse(name, _faults(document))
        return cls(**document)

    def to_dict(self) -> dict[str, str]:
        """Return all fields, the name among them, ready for JSON."""
        return asdict(self)

    @property
    def sha256(self) -> str:
        """Digest of the behaviour, as 64 hex digits: equal for two templates that render and split alike.

        It is the SHA-256 of the canonical JSON (RFC 8785: keys sorted, no white space, UTF-8) of the object with
        exactly `prompt_input`, `prompt_no_input` and `response_split`; what only describes the template does not enter.
        """
        behaviour = {name: getattr(self, name) for name in _BEHAVIOUR}
        canonical = json.dumps(behaviour, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _refuse(name: str, faults: list[str]) -> None:
    if faults:
        listed = f" {faults[0]}" if len(faults) == 1 else "".join(f"\n  {fault}" for fault in faults)
        raise TemplateError(f"template {name!r} cannot be used:{listed}")


def _faults(document: Mapping[str, Any]) -> list[str]:
    known = tuple(field.name for field in fields(Template))
    faults = [
        f"key {shorten(str(key))!r} is unknown; allowed: {', '.join(known)}{did_you_mean(str(key), known)}"
        for key in document
        if key not in known
    ]
    faults += [f"{key} is missing; add it as text" for key in _BEHAVIOUR if key not in document]
    texts = {}
    for key in known:
        if key in document and (fault := _text_fault(document[key])):
            faults.append(f"{key} {fault}")
        elif key in document:
            texts[key] = document[key]
    marker = texts.get("response_split")
    if marker is not None and not marker.strip():
        faults.append(f"response_split is {marker!r}; it must be the visible heading before the response")
        marker = None
    for key in _PROMPTS:
        if key in texts:
            faults += [f"{key}:{fault}" for fault in _prompt_faults(key, texts[key], marker)]
    return faults


def _text_fault(value: object) -> str:
    if not isinstance(value, str):
        return f"must be text, got {_kind(value)}"
    for index, character in enumerate(value):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            return f"holds {character!a} at character {index + 1}, which cannot be written as text; remove it"
    return ""


def _prompt_faults(key: str, text: str, marker: str | None) -> list[str]:
    pattern, faults = scan(text, _PROMPTS[key])
    if faults:
        return list(faults)
    found = [f" field {{{name}}} is missing; the prompt would not show it" for name in _missing(key, pattern)]
    return found + ([f" {fault}"] if marker is not None and (fault := _marker_fault(pattern, marker)) else [])


def _missing(key: str, pattern: Pattern) -> list[str]:
    shown = {piece.field for piece in pattern if not isinstance(piece, str)}
    return [name for name in _PROMPTS[key] if name not in shown]


def _marker_fault(pattern: Pattern, marker: str) -> str:
    count = sum(piece.count(marker) for piece in pattern if isinstance(piece, str))
    if count == 0:
        return f"response_split {marker!r} does not stand in this prompt; end the prompt with it"
    if count > 1:
        return f"response_split {marker!r} stands {count} times in this prompt; it must stand once, at the end"
    end = pattern[-1] if isinstance(pattern[-1], str) else ""
    rest = end.partition(marker)[2] if marker in end else None
    if rest is None or rest.strip():
        return (
            f"the prompt must end with response_split {marker!r}, and at most white space after it; it ends with "
            f"{end[-40:]!r}; move the heading to the end, or let response_split be the whole of the last words"
        )
    return ""


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
