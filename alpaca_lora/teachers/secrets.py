"""A key that nothing can print: no repr, no format, no pickle, no JSON; and a text without it in any usual spelling."""

import base64
import json
import os
from typing import NoReturn
from urllib.parse import quote

from alpaca_lora.errors import TeacherRefusedError

__all__ = ["REDACTED", "Secret", "read_key"]

REDACTED = "[API key removed]"
"""What stands where a key stood; no program and no prose has it by chance."""

_SHORTEST = 8


class Secret:
    """Holds a key; `reveal` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"Secret({REDACTED!r})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a key is not pickled")

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value

    def redact(self, text: str) -> str:
        """Return a text without the key: as it is, URL-quoted, JSON-escaped, in base64, in hex, or reversed.

        The key's first twelve characters are taken out as well, since servers quote keys in part.
        """
        for spelling in self._spellings():
            text = text.replace(spelling, REDACTED)
        return text

    def _spellings(self) -> list[str]:
        value = self._value
        if len(value) < _SHORTEST:  # too short to be a secret, and part of ordinary words
            return []
        data = value.encode("utf-8")
        encoded = base64.b64encode(data).decode("ascii").rstrip("=")
        forms = {value, quote(value, safe=""), json.dumps(value)[1:-1], encoded, data.hex(), value[::-1], value[:12]}
        return sorted(forms, key=len, reverse=True)


def read_key(variable: str | None, *, needed: bool) -> Secret:
    """Read a key from the environment.

    Args:
        variable: name of the environment variable; None reads none.
        needed: whether there must be one.

    Returns:
        The key; of an endpoint that needs none, a word that says so.

    Raises:
        TeacherRefusedError: there must be a key and there is none, or it cannot be sent in a header.
    """
    value = "" if variable is None else os.environ.get(variable, "").strip()
    if not value and needed:
        found = "api_key_env is None" if variable is None else f"the environment variable {variable} holds no key"
        raise TeacherRefusedError(
            f"{found}: set it, or name another variable with api_key_env "
            "(--api-key-env). Keys are read from the environment only"
        )
    if not value.isascii() or not value.isprintable():
        raise TeacherRefusedError(f"the key in {variable} holds characters that no header can carry: set it again")
    return Secret(value or "none")
