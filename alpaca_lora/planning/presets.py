"""The presets: named configs with their source, and every difference from it in a sentence.

A preset is data, one YAML file each. This module reads them; which settings they may hold is decided in `config`.
"""

from dataclasses import dataclass

from alpaca_lora.config import FinetuneConfig, config_from_dict
from alpaca_lora.config.packaged import PRESETS

__all__ = ["Preset", "available_presets", "preset"]

available_presets = PRESETS.names


@dataclass(frozen=True, slots=True)
class Preset:
    """A named config, and where its numbers come from."""

    name: str
    """What `finetune(config=...)` and `--config` take."""

    description: str
    """One sentence: for which model, data and machine it is."""

    source: str
    """Permalink to the code or text that the numbers follow."""

    deviations: tuple[str, ...]
    """One sentence for everything that is done differently there."""

    config: FinetuneConfig
    """The settings; None still means that the data or the hardware decides."""


def preset(name: str) -> Preset:
    """Return a preset.

    Args:
        name: one of `available_presets()`.

    Returns:
        Its config, source and deviations.

    Raises:
        ConfigError: no preset has this name.
    """
    values = PRESETS.document(name).values
    return Preset(
        name=name,
        description=values["description"],
        source=values["source"],
        deviations=tuple(values["deviations"]),
        config=config_from_dict(values["config"]),
    )
