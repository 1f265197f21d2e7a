"""Read a file of settings: YAML 1.2, and of that only mappings, lists, text, numbers, true, false and null.

Such a file comes from somebody else, so nothing in it may name code, hide a value or grow while it is read: tags,
anchors, directives and repeated keys are refused, size and depth are bounded, and every refusal names file and line.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from alpaca_lora.errors import ConfigError

MAX_BYTES = 100_000
MAX_DEPTH = 20

_PREFIX = "tag:yaml.org,2002:"
_SCALARS = ("str", "int", "float", "bool", "null")


@dataclass(frozen=True, slots=True)
class SettingsDocument:
    """The content of one file, and where each key of it stands."""

    name: str
    """What messages call the file."""

    values: dict[str, Any]
    """Its top-level mapping."""

    lines: dict[tuple[str, ...], int]
    """The line, from 1, of every key: ("lora", "rank") is the `rank` under `lora`."""


def read_settings(path: Path) -> SettingsDocument:
    """Read the mapping in a YAML file.

    Args:
        path: a file in UTF-8 of at most 100 kB.

    Returns:
        Its values, with the line of every key.

    Raises:
        ConfigError: the file cannot be read, or is not plain YAML 1.2 with a mapping at the top.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{path}: {size} bytes is no file of settings, which has at most {MAX_BYTES}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    return parse_settings(text, name=str(path))


def parse_settings(text: str, *, name: str) -> SettingsDocument:
    """Read the mapping in a YAML text, as `read_settings` does.

    Args:
        text: the content of the file.
        name: what messages call it.

    Returns:
        Its values, with the line of every key.

    Raises:
        ConfigError: the text is not plain YAML 1.2 with a mapping at the top.
    """
    directive = re.search(r"^%.*$", text, re.MULTILINE)
    if directive:
        line = text.count("\n", 0, directive.start()) + 1
        raise ConfigError(f"{name}:{line}: {directive[0]!r} is refused: files are read as YAML 1.2; remove the line")
    reader = _Reader(name)
    values = reader.read(_compose(text, name))
    if reader.faults:
        raise ConfigError("\n".join(reader.faults))
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{name}: must be a mapping with at least one setting, such as 'epochs: 3'")
    return SettingsDocument(name, values, reader.lines)


def _compose(text: str, name: str) -> Node | None:
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        tab = "; indent with spaces, not tabs" if "\\t" in (error.problem or "") else ""
        raise ConfigError(f"{name}:{line}: not YAML: {error.problem}{tab}") from error
    except YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: nested deeper than {MAX_DEPTH} levels; settings need three") from error
    return node


@dataclass(slots=True)
class _Reader:
    """Turns nodes into values, and gathers every fault and the line of every key on the way."""

    name: str
    faults: list[str] = field(default_factory=list)
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    constructor: Any = field(default_factory=lambda: YAML(typ="safe", pure=True).constructor)

    def read(self, node: Node | None, place: tuple[str, ...] = ()) -> Any:
        if node is None:
            return None
        tag = str(node.tag).removeprefix(_PREFIX)
        if node.anchor:
            return self._refuse(node, f"anchor &{node.anchor} is refused: write the value out where it is used")
        if len(place) > MAX_DEPTH:
            return self._refuse(node, f"nested deeper than {MAX_DEPTH} levels; settings need three")
        if isinstance(node, MappingNode) and tag == "map":
            return self._mapping(node, place)
        if isinstance(node, SequenceNode) and tag == "seq":
            return [self.read(item, (*place, str(index))) for index, item in enumerate(node.value)]
        if tag not in _SCALARS:
            return self._refuse(node, f"a value of type {tag[:60]!r} is refused: quote it if it is text")
        try:
            return self.constructor.construct_object(node)
        except (YAMLError, ValueError):
            return self._refuse(node, f"{str(node.value)[:40]!r} is not a usable {tag}")

    def _mapping(self, node: MappingNode, place: tuple[str, ...]) -> dict[str, Any]:
        values = {}
        for key, item in node.value:
            inner = (*place, str(key.value))
            if str(key.tag) != _PREFIX + "str":
                self._refuse(key, f"key {str(key.value)[:40]!r} must be text: the name of a setting")
            elif inner in self.lines:
                self._refuse(key, f"{'.'.join(inner)} is set again: line {self.lines[inner]} sets it already; keep one")
            else:
                self.lines[inner] = key.start_mark.line + 1
                values[key.value] = self.read(item, inner)
        return values

    def _refuse(self, node: Node, fault: str) -> None:
        located = f"{self.name}:{node.start_mark.line + 1}: {fault}"
        if located not in self.faults:
            self.faults.append(located)
