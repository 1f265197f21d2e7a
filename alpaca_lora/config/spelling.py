"""Settings as they are typed on the command line: the one place that knows how, for whoever prints a command."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alpaca_lora.config.sections import Settings

if TYPE_CHECKING:
    from alpaca_lora.config.settings import FinetuneConfig

__all__ = ["SPELLED", "as_flags", "as_typed", "dotted", "given_settings"]

SPELLED = {"column_map": "map", "quantization.method": "quantization"}
"""Settings whose flag has another name."""


def given_settings(config: "FinetuneConfig") -> dict[str, Any]:
    """Return the settings of a config that were given, by dotted name, as JSON values; None is as good as not given."""
    given: dict[str, Any] = {}
    for name, value in config.model_dump(mode="json", exclude_unset=True).items():
        section = isinstance(getattr(config, name), Settings)
        given |= {f"{name}.{part}": inner for part, inner in value.items()} if section else {name: value}
    return {name: value for name, value in given.items() if value is not None}


def dotted(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by dotted name, those of their sections too; an empty section stays as it is."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def as_flags(settings: Mapping[str, Any]) -> str:
    """Return settings by dotted name as they are typed in a shell."""
    return shlex.join(word for name, value in settings.items() for word in _words(name, value))


def _words(name: str, value: Any) -> Iterator[str]:
    spelled = SPELLED.get(name, name).replace("_", "-")
    if isinstance(value, bool):
        section, dot, last = spelled.rpartition(".")
        yield f"--{section}{dot}{'' if value else 'no-'}{last}"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (f"--{spelled}", f"{key}={inner if name == 'column_map' else json.dumps(inner)}")
    elif isinstance(value, list | tuple):
        yield from (f"--{spelled}", *map(str, value or ["none"]))
    else:
        yield from (f"--{spelled}", as_typed(value))


def as_typed(value: Any) -> str:
    """Return a setting's value in the words of the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | dict):
        return " ".join(value) or "none"
    return "auto" if value is None else str(value)
