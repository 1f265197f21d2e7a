"""Paths as people write them."""

import errno
import os
from pathlib import Path

from alpaca_lora.errors import ConfigError


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
