"""Paths as callers give them: text or a path, and nothing that only fails deep inside."""

import os
from typing import Any

from alpaca_lora.errors import ConfigError

__all__ = ["check_paths"]


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
