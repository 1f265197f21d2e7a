"""Paths as callers give them: text or a path, and nothing that only fails deep inside."""

import errno
import os
from pathlib import Path
from typing import Any

from alpaca_lora.errors import ConfigError

__all__ = ["check_paths", "expanded"]


def check_paths(**given: Any) -> None:
    """Refuse what is neither text nor a path; a keyword is the name of the caller's parameter.

    Raises:
        ConfigError: one is neither; all are named at once.
    """
    faults = [
        f"{name} must be text or a path, got {value!r:.60} ({type(value).__name__})"
        for name, value in given.items()
        if not isinstance(value, str | os.PathLike)
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home directory in place of its `~`; nothing need be there.

    Raises:
        ConfigError: there is no such user, or links on the way lead in a circle.
    """
    try:
        found = Path(path).expanduser()
        found.stat()
    except (OSError, RuntimeError, ValueError) as error:  # no such user is a RuntimeError, a NUL a ValueError
        if isinstance(error, OSError) and error.errno != errno.ELOOP:
            return found
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"path {str(path)!r} cannot be used ({said}): give another one") from error
    return found
