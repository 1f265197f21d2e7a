"""A recipe: one document with a section for each stage, checked as a whole before anything is done.

Settings are those of the stages, so most refusals are theirs too. What is decided here is how stages hang together:
which there are, in which order they stand, and which of their inputs come from the stage before.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alpaca_lora._paths import check_paths, expanded
from alpaca_lora.config import Settings
from alpaca_lora.config.faults import Place, config_error, shown
from alpaca_lora.config.packaged import PRESETS, PROFILES
from alpaca_lora.config.sources import overlaid
from alpaca_lora.config.yaml_files import read_settings
from alpaca_lora.errors import ConfigError
from alpaca_lora.exports.formats import find_format
from alpaca_lora.replication.outline import Recipe, disagreements, each
from alpaca_lora.replication.sections import SECTIONS, CurateSection, ExportSection

__all__ = ["load_recipe"]

_TEXTS = ("name", "description", "source", "data")
_HEAD = ("profile", *_TEXTS, "deviations")
_ELSEWHERE = {
    ("finetune", "resume"): "each stage goes on by itself",
    ("finetune", "data"): "it is what the stage before wrote, or 'data' at the top of the recipe",
    ("curate", "file"): "it is what the stage before wrote, or 'data' at the top of the recipe",
    ("evaluate", "adapter"): "it is what 'finetune' wrote",
    ("export", "adapter"): "it is what 'finetune' wrote",
    ("generate", "proxy"): "it may hold a password, and a recipe is for others to read",
}
"""Settings of the single commands that a recipe has no use for, and why."""


def load_recipe(source: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """Return a recipe from a profile's name, a YAML file, a mapping, or a recipe.

    A file may start from a profile with `profile: NAME`; each setting that it has otherwise is a deviation.

    Raises:
        ConfigError: there is no such profile or file, or the recipe cannot work; all faults at once.
    """
    if isinstance(source, Recipe):
        return source
    lines: dict[Place, str] = {}
    if isinstance(source, Mapping):
        values = dict(source)
    elif isinstance(source, str) and source in PROFILES.names():
        values = {"profile": source}
    else:
        check_paths(recipe=source)
        path = expanded(source)
        if not path.is_file():
            raise ConfigError(f"{str(source)!r} is neither a profile nor a file; {PROFILES.choices(source)}")
        document = read_settings(path)
        values, lines = document.values, {place: f"{document.name}:{line}" for place, line in document.lines.items()}
    return _Reader(values, lines).read()


@dataclass
class _Reader:
    """Reads one document and gathers its faults."""

    values: dict[str, Any]
    lines: dict[Place, str]

    def read(self) -> Recipe:
        self.faults: list[str] = []
        self._check_names()
        self._start_from_profile()
        head: dict[str, Any] = {"name": "recipe"} | {name: self._text(name) for name in _TEXTS if self.values.get(name)}
        stages = {name: self._stage(name) for name in SECTIONS if name in self.values}
        recipe = Recipe(**head, deviations=tuple(self._deviations()), **stages)
        self.faults += [self._at(place, text) for place, text in disagreements(recipe, set(self.values))]
        if self.faults:
            raise ConfigError("\n".join(self.faults))
        return recipe

    def _at(self, place: Place, text: str) -> str:
        line = next((self.lines[place[:size]] for size in range(len(place), 0, -1) if place[:size] in self.lines), None)
        return f"{line}: {text}" if line else text

    def _check_names(self) -> None:
        known = (*_HEAD, *SECTIONS)
        for name in [name for name in self.values if name not in known]:
            close = get_close_matches(str(name), known, n=1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            said = (
                f"{name!r} is no stage and nothing else of a recipe; {meant}stages: {', '.join(SECTIONS)}; before them "
            )
            self.faults.append(self._at((str(name),), f"{said}may stand {', '.join(_HEAD)}"))
        order = [name for name in self.values if name in SECTIONS]
        for before, after in zip(order, order[1:], strict=False):
            if list(SECTIONS).index(before) > list(SECTIONS).index(after):
                text = (
                    f"{after!r} stands after {before!r}, and stages run in the order {', '.join(SECTIONS)}: move it up"
                )
                self.faults.append(self._at((after,), text))

    def _start_from_profile(self) -> None:
        self.changed: list[str] = []
        if "profile" not in self.values:
            return
        name = self.values["profile"]
        if name not in PROFILES.names():
            self.faults.append(self._at(("profile",), PROFILES.unknown(name)))
            return
        below = {"name": name, **PROFILES.document(str(name)).values}
        merged = dict(below)
        for key, value in self.values.items():
            if key in SECTIONS and isinstance(value, Mapping) and isinstance(below.get(key), Mapping):
                merged[key] = overlaid(below[key], value)
                changes = {f"{key}.{setting}": (below[key].get(setting), item) for setting, item in value.items()}
            elif key == "deviations":
                merged[key] = [*below.get(key, ()), *each(value)]
                continue
            else:
                merged[key] = below.get(key) if value is None else value
                changes = {key: (below.get(key), merged[key])} if key in (*SECTIONS, "data") else {}
            self.changed += [
                f"{where}: the profile has {shown(old, with_kind=False)}, here {shown(new, with_kind=False)}"
                for where, (old, new) in changes.items()
                if old != new
            ]
        self.values = merged

    def _text(self, name: str) -> str | None:
        value = self.values[name]
        if not isinstance(value, str):
            self.faults.append(self._at((name,), f"{name} must be text, got {shown(value, with_kind=True)}"))
            return None
        return value

    def _deviations(self) -> Iterator[str]:
        given = self.values.get("deviations") or []
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            said = f"deviations must be a list of texts, got {shown(given, with_kind=True)}"
            self.faults.append(self._at(("deviations",), said))
            return
        yield from (*given, *self.changed)

    def _stage(self, name: str) -> Any:
        given = self.values[name]
        if name != "export":
            return self._section(name, given, (name,))
        if isinstance(given, list):
            return tuple(filter(None, (self._section(name, one, (name, str(n))) for n, one in enumerate(given))))
        section = self._section(name, given, (name,))
        return () if section is None else (section,)

    def _section(self, name: str, given: Any, place: Place) -> Any:
        """Return the settings of a stage, or None if they cannot be; a section without any takes the defaults."""
        values = {} if given is None else given
        if not isinstance(values, Mapping):
            said = f"{name} must be a mapping of settings, got {shown(given, with_kind=True)}"
            self.faults.append(self._at(place, said))
            return None
        values = dict(values)
        faults = [
            self._at((*place, setting), f"{name}.{setting} is not for a recipe: {why}; leave it out")
            for (stage, setting), why in _ELSEWHERE.items()
            if stage == name and values.pop(setting, None) is not None
        ]
        if name == "finetune":
            values = self._preset(values, place, faults)
        kind = SECTIONS[name]
        inside = {where[len(place) :]: line for where, line in self.lines.items() if where[: len(place)] == place}
        try:
            section = kind.model_validate(values)
        except ValidationError as error:
            faults += [_renamed(line, name) for line in str(config_error(kind, values, error, inside)).splitlines()]
        else:
            faults += [self._at((*place, setting), text) for setting, text in _inner_faults(section)]
        self.faults += faults
        return None if faults else section

    def _preset(self, values: dict[str, Any], place: Place, faults: list[str]) -> dict[str, Any]:
        if "preset" not in values:
            return values
        name = values.pop("preset")
        if name not in PRESETS.names():
            faults.append(self._at((*place, "preset"), PRESETS.unknown(name)))
            return values
        document = PRESETS.document(str(name)).values
        self.changed += [f"finetune: {text}" for text in document["deviations"]]
        return overlaid(document["config"], values)


def _renamed(line: str, section: str) -> str:
    """Return a fault with the name of the section in place of `config`, which its settings have by themselves."""
    located = re.match(r"\S+:\d+: ", line)
    start = located.end() if located else 0
    return line[:start] + re.sub(r"\bconfig\.(?!json)", f"{section}.", line[start:])


def _inner_faults(section: Settings) -> Iterator[tuple[str, str]]:
    """Yield what types cannot say, with the setting that it is about."""
    try:
        if isinstance(section, CurateSection):
            _ = section.config
        if isinstance(section, ExportSection):
            find_format(section.format, section.dtype, base=section.base, llama_cpp=section.llama_cpp)
    except ConfigError as error:
        for text in str(error).splitlines():
            setting = text.split()[0].rstrip(":")
            yield {"threshold": "thresholds", "action": "actions"}.get(setting, setting), f"{section.section}: {text}"
