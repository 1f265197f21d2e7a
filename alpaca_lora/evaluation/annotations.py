"""AlpacaEval's two files: `annotations.json`, what a judge preferred, and `model_outputs.json`, what a model answered.

Fields have the names that they have in the files, and those that are not needed here are kept, so a file that is read
and written again says the same. `output_1` is the baseline's answer and `output_2` the model's, whatever order the
judge saw: AlpacaEval turns the verdict back before it stores it, and drops the order. Where `is_switched_outputs` is
kept, a comparison may stand there twice, once for each order.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from alpaca_lora import _files
from alpaca_lora.records.decoding import decode
from alpaca_lora.records.fields import describe, quoted, text_problem
from alpaca_lora.records.findings import Findings, fault_error
from alpaca_lora.records.locating import locate
from alpaca_lora.records.parsing import parse_json
from alpaca_lora.records.record import DEFAULT_LIMITS, Row

__all__ = [
    "Annotation",
    "ModelOutput",
    "load_annotations",
    "load_model_outputs",
    "save_annotations",
    "save_model_outputs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One verdict of a judge on two answers."""

    instruction: str
    output_1: str
    """What the baseline answered."""

    generator_1: str
    """Name of the baseline."""

    output_2: str
    """What the model answered."""

    generator_2: str
    """Name of the model."""

    annotator: str = ""
    """Name of the judge."""

    preference: float | None
    """From 1, the baseline won, to 2, the model won; 1.5, or 0 in old files, is a draw; None: the judge gave none."""

    dataset: str = ""
    """Part of the evaluation set."""

    is_switched_outputs: bool | None = None
    """Whether the judge saw the model's answer first; None where the file does not say."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Other fields of the row, as prices and raw completions."""

    @property
    def share(self) -> float | None:
        """What the model gets of this comparison, from 0 to 1; None where the judge gave no preference."""
        return None if self.preference is None else (self.preference or 1.5) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutput:
    """One answer of a model."""

    instruction: str
    output: str
    generator: str
    """Name of the model."""

    dataset: str = ""
    """Part of the evaluation set."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Other fields of the row."""


_Item = TypeVar("_Item", Annotation, ModelOutput)

_OPTIONAL = ("annotator", "dataset", "is_switched_outputs")


def load_annotations(path: str | os.PathLike[str]) -> list[Annotation]:
    """Read the verdicts of a judge.

    Args:
        path: a JSON array, as AlpacaEval writes it, or JSON lines.

    Returns:
        The rows in file order, those without a preference too.

    Raises:
        RecordError: rows that cannot be scored; all faults, each with file and line.
    """
    return _load(path, Annotation, _preference_problem)


def load_model_outputs(path: str | os.PathLike[str]) -> list[ModelOutput]:
    """Read the answers of a model.

    Args:
        path: a JSON array, as AlpacaEval writes it, or JSON lines.

    Raises:
        RecordError: rows that are no answers; all faults, each with file and line.
    """
    return _load(path, ModelOutput, lambda row: None)


def save_annotations(annotations: Iterable[Annotation], path: str | os.PathLike[str]) -> None:
    """Write verdicts as AlpacaEval reads them."""
    _files.write_json(Path(path), [_to_row(item) for item in annotations])


def save_model_outputs(outputs: Iterable[ModelOutput], path: str | os.PathLike[str]) -> None:
    """Write answers as AlpacaEval reads them."""
    _files.write_json(Path(path), [_to_row(item) for item in outputs])


def _load(
    path: str | os.PathLike[str], kind: type[_Item], problem: Callable[[Mapping[str, Any]], str | None]
) -> list[_Item]:
    items, faults = [], []
    located = locate(path)
    for file in located.files:
        findings = Findings(located.name_of(file))
        rows = parse_json(decode(file.read_bytes(), findings), findings, DEFAULT_LIMITS)
        if not rows and not findings.faults:
            findings.fault(0, "no rows; write at least one")
        items += [item for row in rows if (item := _to_item(row, kind, problem, findings)) is not None]
        faults += findings.faults
    if faults:
        raise fault_error(f"cannot read {located.name}", faults)
    return items


def _to_item(
    row: Row, kind: type[_Item], problem: Callable[[Mapping[str, Any]], str | None], findings: Findings
) -> _Item | None:
    """Return a row as what it is, or None after its faults were added."""
    if not isinstance(row.fields, Mapping):
        findings.fault(row.line, f"must be an object (found {describe(row.fields)})")
        return None
    known = [item.name for item in fields(kind) if item.name != "extra"]
    before = findings.fault_count
    if missing := [name for name in known if name not in row.fields and name not in _OPTIONAL]:
        findings.fault(row.line, f"has no {quoted(missing)}; the row has {quoted(row.fields) or 'no fields'}")
    for name in row.fields.keys() & set(known) - {"preference", "is_switched_outputs"}:
        value = row.fields[name]
        if (value is not None or name not in _OPTIONAL) and (found := text_problem(name, value, DEFAULT_LIMITS)):
            findings.fault(row.line, f'field "{name}" {found.text}')
    if said := problem(row.fields):
        findings.fault(row.line, said)
    if findings.fault_count > before:
        return None
    own = {name: row.fields[name] for name in known if row.fields.get(name) is not None or name == "preference"}
    return kind(**own, extra={name: value for name, value in row.fields.items() if name not in own})


def _preference_problem(row: Mapping[str, Any]) -> str | None:
    allowed = "must be from 1 (the baseline won) to 2 (the model won), 1.5 or 0 for a draw, or null for no verdict"
    value = row.get("preference")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and (value == 0 or 1 <= value <= 2)):
        return f'field "preference" {allowed} (found {describe(value)})'
    if not isinstance(row.get("is_switched_outputs"), bool | None):
        return f'field "is_switched_outputs" must be true or false (found {describe(row["is_switched_outputs"])})'
    return None


def _to_row(item: Annotation | ModelOutput) -> dict[str, Any]:
    own = {one.name: getattr(item, one.name) for one in fields(item) if one.name != "extra"}
    return {name: value for name, value in own.items() if name not in _OPTIONAL or value not in ("", None)} | {
        **item.extra
    }
