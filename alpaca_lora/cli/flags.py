"""Every setting of a fine-tuning run as a flag: names, ranges, defaults and help come from the config's own reference.

Kinds are written so that tyro needs no `typeguard` to check a default, which takes a tenth of a second to import: a
bare `list`, and `Optional` instead of `| None`.

Flags hand over text. What a value may be is decided once, by the config, so that all faults come together and in its
words; and only flags that were given reach it, so that they win over a preset or a file and nothing else does.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Optional, TypedDict

import tyro

from alpaca_lora.config import FinetuneConfig, config_reference, load_config
from alpaca_lora.config.spelling import SPELLED, as_typed
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning import available_presets, available_shapes
from alpaca_lora.planning.cards import CARDS

__all__ = ["FINETUNE", "INSPECT", "PLAN", "FlagSet", "make_flags", "read_config"]


class _Own(NamedTuple):
    """A flag that is no setting of the config."""

    default: Any
    help: str
    metavar: str | None = None
    aliases: tuple[str, ...] = ()


_OWN = {
    "base_model": _Own(
        "smollm2-135m",
        "Base model: the embedded one, a directory, or `org/name` or `org/name@revision` on the Hub.",
        "NAME|DIR|HUB_ID",
    ),
    "data": _Own(
        "alpaca-mini",
        "Records: the packaged ones, a JSON, JSONL, CSV or Parquet file, or a Hub dataset.",
        "NAME|FILE|HUB_ID",
    ),
    "output_dir": _Own("runs/alpaca-mini", "Run directory: new, empty, or that of the run to go on with.", "DIR"),
    "config": _Own(
        None,
        f"Settings to start from; flags win over them. A YAML file, or a preset: {', '.join(available_presets())}.",
        "PRESET|FILE",
    ),
    "dry_run": _Own(False, "Show what would be done and why, and train nothing."),
    "quiet": _Own(False, "Show no progress and no summary, only the adapter's directory when it is done."),
    "records": _Own(3, "How many records to show, from the first on.", "INT", ("-n",)),
    "model": _Own(
        "llama-2-7b",
        f"Base model: a directory with config.json, a Hub id, or one of {', '.join(available_shapes())}.",
        "NAME|DIR|HUB_ID",
    ),
    "card": _Own(None, f"Graphics card: {', '.join(CARDS)}. none: one with 24 GiB.", "NAME"),
    "memory_gb": _Own(None, "Memory of the card in GiB; wins over that of a named one.", "NUMBER"),
    "train_records": _Own(51_760, "Records to train on, of 205 tokens each as Alpaca's.", "INT"),
    "teraflops": _Own(None, "Measured rate of 16-bit matrix products, for the time. none: the data sheet's.", "NUMBER"),
    "json": _Own(False, "Print one JSON object with every number unrounded."),
}
_MAPPINGS = {"column_map": "FIELD=COLUMN", "trainer_options": "OPTION=VALUE"}
_UNDECIDED = ("auto", "none", "null")

FINETUNE = ("base_model", "data", "output_dir", "config", "dry_run", "quiet")
"""Flags of `finetune` beside all settings."""

PLAN = ("model", "card", "memory_gb", "train_records", "teraflops", "json", "config")
"""Flags of `plan` beside the settings that it depends on."""

INSPECT = ("data", "records", "base_model", "config")
"""Flags of `inspect` beside the settings that decide how a record is encoded."""


class FlagSet(NamedTuple):
    """What tyro needs to parse a command whose flags are made here."""

    kind: Any
    """A `TypedDict` with a key for each flag, dotted as the config's settings are."""

    defaults: dict[str, Any]
    """Values of flags that were not given; a setting that is not here is left out of the result."""


class _Setting(NamedTuple):
    """One line of the config's reference."""

    name: str
    allowed: str
    default: Any
    help: str

    @property
    def is_switch(self) -> bool:
        return self.allowed == "true or false"

    @property
    def is_number(self) -> bool:
        return self.allowed.startswith(("an integer", "a number"))

    @property
    def is_list(self) -> bool:
        return "a list of" in self.allowed

    @property
    def metavar(self) -> str | None:
        """Return what stands for the value in the help: its kind, or the choices; None where there is no value."""
        if self.is_switch:
            return None
        choices = ",".join(self.allowed.split("'")[1::2])
        if self.name in _MAPPINGS:
            return _MAPPINGS[self.name]
        if self.is_number:
            return "INT" if self.allowed.startswith("an integer") else "NUMBER"
        if self.is_list:
            return f"{{{choices}}} ..." if "a list of '" in self.allowed else f"{choices}|NAME ..."
        return f"{{{choices}}}" if choices else "TEXT"


def make_flags(own: Sequence[str], settings: Sequence[str] | None = None) -> FlagSet:
    """Return the flags of a command.

    Args:
        own: those that are no settings.
        settings: names of the config's settings; None takes all.

    Returns:
        What tyro needs to parse them.
    """
    kinds = {name: _own_flag(_OWN[name]) for name in own}
    for setting in _settings():
        if settings is None or setting.name in settings:
            kinds[setting.name] = _setting_flag(setting)
    defaults = {name: _OWN[name].default for name in own} | {name: [] for name in _MAPPINGS if name in kinds}
    return FlagSet(TypedDict("Flags", kinds, total=False), defaults)  # type: ignore[operator]


def read_config(flags: Mapping[str, Any]) -> FinetuneConfig:
    """Return the config that `--config` and the flags over it describe.

    Args:
        flags: what tyro parsed.

    Returns:
        The config.

    Raises:
        ConfigError: anything that is wrong with it, all faults at once.
    """
    faults: list[str] = []
    overrides = {
        setting.name: _value(setting, flags[setting.name], faults)
        for setting in _settings()
        if setting.name in flags and flags[setting.name] != []
    }
    try:
        config = load_config(flags["config"], overrides)
    except ConfigError as error:
        raise ConfigError("\n".join([*faults, str(error)])) from error
    if faults:
        raise ConfigError("\n".join(faults))
    return config


def _settings() -> Iterator[_Setting]:
    for name, allowed, default, help in config_reference():
        yield _Setting(name, allowed, json.loads(default), help)


def _own_flag(flag: _Own) -> Any:
    switch = flag.default is False
    given: Any = Optional[str] if flag.default is None else type(flag.default)  # noqa: UP045
    kind = tyro.conf.FlagCreatePairsOff[bool] if switch else given
    hint = "" if switch else f"(default: {'none' if flag.default is None else flag.default})"
    return Annotated[
        kind, tyro.conf.arg(metavar=flag.metavar, help=flag.help, help_behavior_hint=hint, aliases=flag.aliases)
    ]


def _setting_flag(setting: _Setting) -> Any:
    kind: Any = list if setting.is_list else bool if setting.is_switch else str
    if setting.name in _MAPPINGS:
        kind = tyro.conf.UseAppendAction[list]  # type: ignore[type-arg]
    return Annotated[
        kind,
        tyro.conf.arg(
            name=SPELLED.get(setting.name),
            metavar=setting.metavar,
            help=setting.help.replace(" None: ", " auto: "),
            help_behavior_hint=f"(default: {as_typed(setting.default)})"
            if setting.name not in _MAPPINGS
            else "(repeatable)",
        ),
    ]


def _value(setting: _Setting, given: Any, faults: list[str]) -> Any:
    """Return what was typed as the config expects it; text that is no number stays text, for the config to refuse."""
    if setting.is_switch:
        return given
    if setting.name in _MAPPINGS:
        return dict(_pairs(setting.name, given, faults))
    if setting.is_list:
        names = [name for text in given for name in text.split(",") if name]
        return "all-linear" if names == ["all-linear"] else [] if names == ["none"] else names
    if setting.default is None and given.lower() in _UNDECIDED:
        return None
    return _number(given) if setting.is_number else given


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _pairs(name: str, given: list[str], faults: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the two sides of each NAME=VALUE; a value for the trainer may be JSON, a column is always text."""
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            faults.append(f"--{SPELLED.get(name, name).replace('_', '-')} must be {_MAPPINGS[name]}, got {text!r}")
        elif name == "column_map":
            yield key, value
        else:
            try:
                yield key, json.loads(value)
            except ValueError:
                yield key, value
