"""Files of settings that come with the package, found by name."""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files

from alpaca_lora.config.yaml_files import SettingsDocument, parse_settings
from alpaca_lora.errors import ConfigError

__all__ = ["PRESETS", "PROFILES", "Packaged"]


@dataclass(frozen=True, slots=True)
class Packaged:
    """The YAML files of one folder."""

    kind: str
    """What one of them is called in messages."""

    folder: str
    """Within the package."""

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        items = (files("alpaca_lora") / self.folder).iterdir()
        return tuple(sorted(item.name.removesuffix(".yaml") for item in items if item.name.endswith(".yaml")))

    def document(self, name: str) -> SettingsDocument:
        """Return the file of this name, its content unchecked.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.names():
            raise ConfigError(self.unknown(name))
        text = (files("alpaca_lora") / self.folder / f"{name}.yaml").read_text(encoding="utf-8")
        return parse_settings(text, name=f"{name}.yaml")

    def unknown(self, name: object) -> str:
        """Return the message about a name that no file has."""
        return f"unknown {self.kind} {name!r}; {self.choices(name)}"

    def choices(self, name: object = "") -> str:
        """Return all names, after the one that is closest to what was given."""
        close = get_close_matches(str(name), self.names(), n=1)
        return f"{f'did you mean {close[0]!r}? ' if close else ''}{self.kind}s: {', '.join(self.names())}"


PRESETS = Packaged("preset", "config/presets")
PROFILES = Packaged("profile", "replication/profiles")
"""Recipes of all stages; see `replication`."""
