"""Flags that only some ways of using a command read."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from alpaca_lora.errors import ConfigError

__all__ = ["refuse_idle"]


def refuse_idle(options: Any, readers: Mapping[str, Sequence[str]], mode: str) -> None:
    """Refuse flags that were given and that nothing would read.

    Args:
        options: the flags, a dataclass; one that holds several settings has those that were given as a dictionary.
        readers: by flag the ways of using the command that read it; the others are read by all.
        mode: the way in which it is used now.

    Raises:
        ConfigError: there are such flags.
    """
    idle: dict[str, list[str]] = {}
    for item in fields(options):
        value = getattr(options, item.name)
        if mode not in readers.get(item.name, (mode,)) and value != item.default:
            names = value if isinstance(value, dict) else [item.name]
            idle.setdefault(" or ".join(readers[item.name]), []).extend(f"--{name.replace('_', '-')}" for name in names)
    if faults := [
        f"{', '.join(flags)} is for {wanted}, and does nothing here: leave it out"
        for wanted, flags in idle.items()
        if flags
    ]:
        raise ConfigError("\n".join(faults))
