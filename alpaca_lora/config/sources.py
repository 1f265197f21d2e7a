"""Where settings come from before they are checked: presets, YAML files, and what is laid over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alpaca_lora.config.faults import Place
from alpaca_lora.config.packaged import PRESETS
from alpaca_lora.config.rules import as_method
from alpaca_lora.config.sections import Settings
from alpaca_lora.config.yaml_files import read_settings
from alpaca_lora.errors import ConfigError

_SECTIONS = ("kernels", "lora", "quantization")


def settings_from(source: str | Path | None) -> tuple[dict[str, Any], dict[Place, str]]:
    """Return the settings of a preset or of a YAML file, unchecked.

    Args:
        source: the name of a preset, or the path of a file, which may start from a preset with `preset: NAME`; None has
            no settings.

    Returns:
        The settings, and the file and line where each stands (of a file only).

    Raises:
        ConfigError: there is no such preset or file, or the file cannot be read.
    """
    if source is None:
        return {}, {}
    if isinstance(source, str) and source in PRESETS.names():
        return PRESETS.document(source).values["config"], {}
    document = read_settings(_existing(source))
    lines = {place: f"{document.name}:{line}" for place, line in document.lines.items()}
    values = {name: value for name, value in document.values.items() if name != "preset"}
    start = document.values.get("preset")
    if "preset" in document.values and start not in PRESETS.names():
        raise ConfigError(f"{lines[('preset',)]}: {PRESETS.unknown(start)}")
    return (overlaid(PRESETS.document(start).values["config"], values) if start else values), lines


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over others: within a section setting by setting, any other value is replaced whole."""
    merged = dict(below)
    for name, value in above.items():
        under, over = merged.get(name, {}), value
        if name == "quantization":
            under, over = as_method(under), as_method(over)
        if isinstance(under, Settings):
            under = under.model_dump(exclude_unset=True)
        if name in _SECTIONS and isinstance(over, Mapping):
            merged[name] = {**under, **over} if isinstance(under, Mapping) else under  # which is refused as it stands
        else:
            merged[name] = value
    return merged


def overridden(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Lay single settings over others.

    Args:
        values: settings by name, sections as mappings.
        overrides: settings that win, by dotted name: {"lora.rank": 8}; they win over a section given whole, too.

    Returns:
        The union.
    """
    merged = dict(values)
    for name, value in sorted(overrides.items(), key=lambda item: "." in item[0]):
        section, _, setting = name.rpartition(".")
        merged = overlaid(merged, {section: {setting: value}} if section else {setting: value})
    return merged


def _existing(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    raise ConfigError(
        f"{str(source)!r} is neither a preset nor a file; {PRESETS.choices(source)}; the path of a YAML file also works"
    )
