"""Find the profiles that come with the package: one recipe each under `replication/profiles`."""

from difflib import get_close_matches
from importlib.resources import files

from alpaca_lora.config.yaml_files import SettingsDocument, parse_settings
from alpaca_lora.errors import ConfigError

__all__ = ["available_profiles", "known_profiles", "profile_document"]

_FOLDER = files("alpaca_lora") / "replication" / "profiles"


def available_profiles() -> tuple[str, ...]:
    """Return the names of all profiles, sorted."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _FOLDER.iterdir() if item.name.endswith(".yaml")))


def profile_document(name: str) -> SettingsDocument:
    """Return the file of one profile, unchecked.

    Raises:
        ConfigError: no profile has this name.
    """
    if name not in available_profiles():
        raise ConfigError(f"unknown profile {name!r}; {known_profiles(name)}")
    return parse_settings((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), name=f"{name}.yaml")


def known_profiles(name: object) -> str:
    """Return the rest of a message about a name that no profile has: the closest one, and all."""
    close = get_close_matches(str(name), available_profiles(), n=1)
    return f"{f'did you mean {close[0]!r}? ' if close else ''}profiles: {', '.join(available_profiles())}"
