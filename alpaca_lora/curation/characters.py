"""Characters that are not what was meant: broken encodings, control characters, escapes as text, blanks around."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from alpaca_lora.curation.rule import Rule, Verdict, wrong
from alpaca_lora.records import Record
from alpaca_lora.records.record import FIELDS

__all__ = ["CHARACTERS", "trimmed", "visible"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2028\u2029\ufeff]")
_LINE_END = re.compile(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
"""Where `str.splitlines` ends a line too."""

_WINDOWS = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}
"""What Windows-1252 has in the place of control characters; nothing in five places."""

_READ_WRONG = re.compile(r"[\x80-\x84\x86-\x9f]")
"""What shows that U+0085 is the ellipsis of Windows-1252 too; alone it is a line end."""

_BYTES = {ord(character): code for code, character in _WINDOWS.items() if character}
_MOJIBAKE = re.compile(rf"[ÂÃÐ][\x80-\xbf{''.join(_WINDOWS.values())}]|â[€\x80]|ð[Ÿ\x9f]")
_LOST = re.compile("\ufffd")
_ESCAPE = re.compile(r'\\[ntr"]')
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "", r"\"": '"'}
_SURE_ESCAPE = re.compile(r'\\[nt](?![a-z])|[.,;:!?]\\n|(?<!\w)\\"[^"\\]+\\"(?!\w)')
"""An escape that begins neither a command of TeX nor a name in a path."""

_TEX = (
    r"\\n(?:abla|atural|cong|e(?:arrow|gq?|q|w(?:command|line|page))?|exists|geq|gtr|i|leftarrow|leq|less|mid|o(?:indent"
    r"|limits|number|t|tin)|parallel|prec|rightarrow|[LR](?:eft|ight)arrow|sim|subseteq|succ|supseteq|u|[vV]dash|warrow)"
    r"(?![a-zA-Z])"
)
"""Commands of TeX that begin with the escape of a line end."""

_OTHER_ESCAPE = re.compile(
    rf'\\[^ntr"]|\\[tr][a-z]|\w\\n[a-z]|\b[A-Za-z]:\\[ntr][a-z]|\\n[a-z]*\{{|{_TEX}|```|\$[^$\d]+\$|[\[{{]\s*"'
)
"""What shows that a backslash may stand for itself: other escapes, paths, TeX, code, JSON."""

_CODE = re.compile(
    r"\b(?:print|printf|def|return|regex|regular expression|escape|escap\w+|console|echo|newline|code"
    r"|python|java\w*|latex|string|path)\b|[{};]\s*(?:\n|$)",
    re.I,
)


def _in_fields(pattern: re.Pattern[str]) -> Callable[[Record], Verdict | None]:
    """Return a check that looks for a pattern in every field."""

    def check(record: Record) -> Verdict | None:
        for field in FIELDS:
            if found := pattern.search(getattr(record, field)):
                return wrong(f"{field}: {found.group()!r}")
        return None

    return check


def visible(text: str) -> str:
    """Return what of a text can be seen: without control characters and the blanks around it."""
    return _CONTROL.sub("", text).strip()


def _without_controls(text: str) -> str:
    """Return a text with what its control characters stand for: a line end, a character of Windows-1252, or nothing."""
    if _READ_WRONG.search(text):
        text = text.translate(_WINDOWS)
    return _CONTROL.sub("", _LINE_END.sub("\n", text))


def _stray_escapes(record: Record) -> Verdict | None:
    if _CODE.search(f"{record.instruction}\n{record.input}\n{record.output}"):
        return None
    for field in FIELDS:
        if found := _stray_escape(getattr(record, field)):
            return wrong(f"{field}: {found.group()!r} as {len(found.group())} characters")
    return None


def _stray_escape(text: str) -> re.Match[str] | None:
    """Return the first escape of a text, if one is sure and nothing shows that a backslash may stand for itself."""
    sure = _SURE_ESCAPE.search(text)
    return None if sure is None or _OTHER_ESCAPE.search(text) or _is_json(text) else _ESCAPE.search(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES[found.group()], text) if _stray_escape(text) else text


def _unmangled(text: str) -> str:
    """Return UTF-8 text that was once read as Windows-1252 or Latin-1; other text as it is.

    Bytes that Windows-1252 does not define pass through it, as they do in browsers.
    """
    try:
        return text.translate(_BYTES).encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _mojibake(record: Record) -> Verdict | None:
    for field in FIELDS:
        text = getattr(record, field)
        if (found := _MOJIBAKE.search(text)) and _unmangled(text) != text:
            return wrong(f"{field}: {text[max(0, found.start() - 5) : found.end() + 5]!r}")
    return None


def trimmed(text: str) -> str:
    """Return a text without blanks around it, but for the indentation of its first line where more lines follow."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip() if "\n" in text.strip() else text.strip()


def _surrounding_whitespace(record: Record) -> Verdict | None:
    fields = [field for field in FIELDS if getattr(record, field) != trimmed(getattr(record, field))]
    if not record.output.strip():
        fields = [field for field in fields if field != "output"]  # which is empty_output
    return wrong(f"around {', '.join(fields)}") if fields else None


def _each(change: Callable[[str], Any]) -> Callable[[Record], Record]:
    """Return a repair that changes every field."""
    return lambda record: replace(record, **{field: change(getattr(record, field)) for field in FIELDS})


CHARACTERS = (
    Rule(
        name="mojibake",
        severity="warning",
        about="holds UTF-8 that was read as Windows-1252 or Latin-1",
        fix="Decode it as UTF-8.",
        check=_mojibake,
        repair=_each(_unmangled),
        fixture=Record("Name a drink.", "", "CafÃ© au lait."),
    ),
    Rule(
        name="control_characters",
        severity="warning",
        about="holds control characters or invisible separators",
        fix="Write line ends as line ends, what was read in the wrong encoding as it was meant, and delete the rest.",
        check=_in_fields(_CONTROL),
        repair=_each(_without_controls),
        fixture=Record("Name a colour.", "", "Re\x08d."),
    ),
    Rule(
        name="lost_character",
        severity="error",
        about="holds U+FFFD, which stands where a character was lost",
        fix="Restore the text from its source.",
        check=_in_fields(_LOST),
        fixture=Record("Name a drink.", "", "Caf\ufffd au lait."),
    ),
    Rule(
        name="stray_escapes",
        severity="warning",
        about="holds escapes as text where line ends, tabs or quotes were meant",
        fix="Write the characters that the escapes stand for.",
        check=_stray_escapes,
        repair=_each(_unescaped),
        fixture=Record("Name two colours.", "", r"Red.\nBlue."),
    ),
    Rule(
        name="surrounding_whitespace",
        severity="note",
        about="begins or ends a field with blanks",
        fix="Strip them; a model that learns a trailing blank writes one.",
        check=_surrounding_whitespace,
        repair=_each(trimmed),
        fixture=Record("Name a colour. ", "", "Red."),
    ),
)
"""What a converter or a terminal leaves; mended in this order, as mojibake is made of control characters too."""
