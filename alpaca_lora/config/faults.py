"""Say in the words of this library what pydantic found wrong with settings: value, what is allowed, what to do."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from alpaca_lora.config.names import CLASSIC_NAMES, REASONS, SFT_OPTIONS, owner_of
from alpaca_lora.errors import ConfigError

Place = tuple[str, ...]

_BOUNDS = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with settings."""

    places: tuple[Place, ...]
    """The settings at fault: ("lora", "rank") is `lora.rank`."""

    text: str
    """One line for the person who wrote them."""


class Disagreement(ValueError):
    """Settings are fine one by one but do not work together."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(fault.text for fault in faults))
        self.faults = faults


def settings_of(model: type[BaseModel], above: Place = ()) -> Iterator[tuple[Place, FieldInfo]]:
    """Yield every setting of a model with its place, sections opened.

    Args:
        model: the class whose fields are wanted.
        above: where the model itself stands.

    Yields:
        The place and the field, in the order of the class.
    """
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from settings_of(info.annotation, (*above, name))
        else:
            yield (*above, name), info


def config_error(
    model: type[BaseModel], values: Mapping[str, Any], error: ValidationError, lines: Mapping[Place, str] | None = None
) -> ConfigError:
    """Return the error that names every fault of refused values, one a line, those between settings too.

    pydantic compares settings only when each is fine by itself. So that one run still shows everything, the faulty ones
    are taken out, the rest is compared, and what was found between untouched settings is added.

    Args:
        model: the class that refused the values.
        values: what it was given.
        error: how it refused.
        lines: the file and line where settings stand, such as "recipe.yaml:3".

    Returns:
        The error, to be raised.
    """
    faults = _translate(model, error)
    faulty = {place for fault in faults for place in fault.places}
    try:
        model.model_validate(_without(values, faulty))
    except ValidationError as remaining:
        known = {fault.text for fault in faults}
        faults += [
            fault
            for fault in _translate(model, remaining)
            if fault.text not in known and faulty.isdisjoint(fault.places)
        ]
    return ConfigError("\n".join(_located(fault, lines or {}) for fault in faults))


def allowed(annotation: Any, limits: tuple[Any, ...] = ()) -> str:
    """Describe the values that a type admits, as in "must be an integer from 1 to 1024".

    Args:
        annotation: the type of a setting; None among its alternatives is left out.
        limits: the bounds that stand beside the type.

    Returns:
        A noun phrase.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [
            limit for item in arguments[1:] for limit in (item.metadata if isinstance(item, FieldInfo) else [item])
        ]
        return allowed(arguments[0], (*inner, *limits))
    if origin in (Union, types.UnionType):
        implied = {type(None), int} if float in arguments else {type(None)}
        return " or ".join(allowed(choice, limits) for choice in arguments if choice not in implied)
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}" if len(arguments) > 1 else repr(arguments[0])
    if origin is tuple:
        return f"a list of {allowed(arguments[0]).removeprefix('one of ')}"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "a mapping"
    nouns = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    return nouns[annotation] + _range(limits)


def shown(value: Any, *, with_kind: bool) -> str:
    """Return a value as a message shows it: shortened, and with its kind where that is what is wrong."""
    if value is None:
        return "null"
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    if not with_kind or type(value) in (int, float):
        return text
    kinds = {str: "text", bool: "boolean", list: "list", tuple: "list", dict: "mapping"}
    return f"{text} ({kinds.get(type(value), type(value).__name__)})"


def _located(fault: Fault, lines: Mapping[Place, str]) -> str:
    line = next((lines[place] for place in fault.places if place in lines), None)
    return f"{line}: {fault.text}" if line else fault.text


def _translate(model: type[BaseModel], error: ValidationError) -> list[Fault]:
    section = getattr(model, "section", "config")
    fields = dict(settings_of(model))
    faults: dict[Place, Fault] = {}
    between: list[Fault] = []
    for detail in error.errors(include_url=False):
        place = tuple(str(part) for part in detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, Disagreement):
            between += cause.faults
        elif detail["type"] in ("extra_forbidden", "invalid_key"):
            faults[place] = Fault((place,), _unknown(section, place, list(fields)))
        else:
            place = _field_at(place, fields)
            faults.setdefault(place, Fault((place,), _refused(section, place, fields.get(place), detail, cause)))
    return [*faults.values(), *between]


def _refused(section: str, place: Place, info: FieldInfo | None, detail: Any, cause: Any) -> str:
    name = ".".join((section, *place))
    if cause is not None:
        return f"{name} {cause}"
    admitted = allowed(info.annotation, tuple(info.metadata)) if info else "a mapping of settings"
    text = f"{name} must be {admitted}, got {shown(detail['input'], with_kind=detail['type'].endswith('_type'))}"
    return f"{text}; {REASONS[place]}" if place in REASONS else text


def _field_at(place: Place, fields: dict[Place, FieldInfo]) -> Place:
    """Cut what pydantic adds below a field: the item of a list, the alternative of a type."""
    return next((place[:length] for length in (1, 2) if place[:length] in fields), place[:1])


def _unknown(section: str, place: Place, known: list[Place]) -> str:
    name, last = ".".join((section, *place)), place[-1]
    if tuple(last.split(".")) in known:
        *above, setting = last.split(".")
        return f"{name} is not a setting by this name; write {setting!r} inside {'.'.join(above)!r}"
    if last in CLASSIC_NAMES | SFT_OPTIONS:
        return f"{name} is not a setting; use {CLASSIC_NAMES.get(last) or SFT_OPTIONS[last]}"
    spellings = {item[-1]: item for item in known} | {"_".join(item): item for item in known}
    close = get_close_matches("_".join(place), spellings, n=1) or get_close_matches(last, spellings, n=1)
    if close:
        return f"{name} is not a setting; did you mean {'.'.join((section, *spellings[close[0]]))}?"
    if owner_of(last):
        return f"{name} is not a setting; use {owner_of(last)}"
    return f"{name} is not a setting; remove it (config_reference() lists every setting)"


def _without(values: Mapping[str, Any], places: set[Place]) -> dict[str, Any]:
    """Return a copy of settings without those at some places."""
    kept = {}
    for name, value in values.items():
        if (str(name),) not in places:
            inner = {place[1:] for place in places if place[0] == str(name)}
            kept[name] = _without(value, inner) if inner and isinstance(value, Mapping) else value
    return kept


def _range(limits: tuple[Any, ...]) -> str:
    bounds = {name: getattr(limit, name) for limit in limits for name in _BOUNDS if hasattr(limit, name)}
    if set(bounds) == {"ge", "le"}:
        return f" from {bounds['ge']} to {bounds['le']}"
    phrases = [f"{words} {bounds[name]}" for name, words in _BOUNDS.items() if name in bounds]
    return " " + " and ".join(phrases) if phrases else ""
