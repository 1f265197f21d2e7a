"""Find the presets that come with the package: one YAML file each under `config/presets`."""

from difflib import get_close_matches
from importlib.resources import files

from alpaca_lora.config.yaml_files import SettingsDocument, parse_settings
from alpaca_lora.errors import ConfigError

_FOLDER = files("alpaca_lora") / "config" / "presets"


def available_presets() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _FOLDER.iterdir() if item.name.endswith(".yaml")))


def preset_document(name: str) -> SettingsDocument:
    """Return the file of one preset.

    Args:
        name: one of `available_presets()`.

    Returns:
        Its description, source, deviations and config, unchecked.

    Raises:
        ConfigError: no preset has this name.
    """
    if name not in available_presets():
        raise ConfigError(f"unknown preset {name!r}; {known_presets(name)}")
    return parse_settings((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), name=f"{name}.yaml")


def known_presets(name: object) -> str:
    """Return the rest of a message about a name that no preset has: the closest one, and all."""
    close = get_close_matches(str(name), available_presets(), n=1)
    return f"{f'did you mean {close[0]!r}? ' if close else ''}presets: {', '.join(available_presets())}"
