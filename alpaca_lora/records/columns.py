"""Rows to records: which column is which field, and what is wrong with each text.

The usual names are understood without being told, and said in a note; nothing is renamed silently, and no value is
turned into text that was not text.
"""

import difflib
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeGuard

from alpaca_lora.errors import ConfigError
from alpaca_lora.records.conversations import unfold_conversation, unfold_instances
from alpaca_lora.records.fields import Problem, describe, quoted, text_problem
from alpaca_lora.records.findings import Findings
from alpaca_lora.records.record import FIELDS, Limits, Record, Row

__all__ = ["Rules", "check_column_map", "to_records"]

_SYNONYMS = {
    "instruction": ("instruction", "prompt", "question", "query", "task", "problem"),
    "input": ("input", "context"),
    "output": ("output", "completion", "response", "answer", "target", "solution"),
}
"""Names that are suggested for a missing column; a suggestion is never acted on."""


class Rules(NamedTuple):
    """What the caller of the reader decided."""

    column_map: Mapping[str, str]
    allow_empty_output: bool
    limits: Limits
    extra: tuple[str, ...] = ()
    """Columns that are kept beside the fields."""


class _Layout(NamedTuple):
    """One way in which known datasets are written."""

    required: frozenset[str]
    """Columns by which it is recognised."""

    columns: Sequence[str] = FIELDS
    """Instruction, input and output: in the file, or after unfolding."""

    nested: str | None = None
    """Column that holds the records of a row."""

    unfold: Callable[[Row, str, Findings], list[Row]] = unfold_conversation
    """Takes them out of it."""


def _flat(instruction: str, input: str, output: str) -> _Layout:
    return _Layout(frozenset({instruction, output}), (instruction, input, output))


_ALPACA = _flat(*FIELDS)
_LAYOUTS = (
    _ALPACA,
    _Layout(frozenset({"instruction", "instances"}), nested="instances", unfold=unfold_instances),
    _flat("instruction", "context", "response"),
    _flat("prompt", "input", "completion"),
    _flat("prompt", "input", "response"),
    _flat("question", "context", "answer"),
    _Layout(frozenset({"conversations"}), nested="conversations"),
    _Layout(frozenset({"messages"}), nested="messages"),
)


def check_column_map(column_map: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the map, or an empty one for None.

    Raises:
        ConfigError: it maps something that is no field of a record.
    """
    unknown = [name for name in column_map or {} if name not in FIELDS]
    if unknown:
        example = '{"instruction": "question", "output": "answer"}'
        raise ConfigError(f"column_map maps fields, not {quoted(unknown)}; fields are {quoted(FIELDS)}: {example}")
    return column_map or {}


def to_records(rows: Sequence[Row], rules: Rules, findings: Findings) -> list[Record]:
    """Return the records of one file or iterable.

    Args:
        rows: what was parsed.
        rules: chosen columns, whether empty outputs are accepted, limits.
        findings: takes every fault, the announced mapping, and the counts.

    Returns:
        The records without a fault; the caller refuses the file if there was any.
    """
    objects = [row for row in rows if isinstance(row.fields, Mapping)]
    for row in rows:
        if not isinstance(row.fields, Mapping):
            fix = 'write {"instruction": …, "input": …, "output": …}'
            findings.fault(row.line, f"row must be an object (found {describe(row.fields)}); {fix}")
    if not objects:
        return []
    shapes = Counter(frozenset(row.fields) for row in objects)
    layout = _flat(*(rules.column_map.get(name, name) for name in FIELDS)) if rules.column_map else _best_layout(shapes)
    if len(objects) == 1 and (fault := _misshapen(objects[0].fields, layout)):
        findings.fault(objects[0].line, fault)
        return []
    present = dict.fromkeys(name for row in objects for name in row.fields)
    if (given := rules.column_map.get("input", "input")) != "input" and given not in present:
        findings.fault(0, f"column_map names the column {given!r}, which no row has; the rows have {quoted(present)}")
    _announce(layout, present, rules, findings)
    if layout.nested is not None:
        objects = [
            flat._replace(fields=_extra(row, rules) | flat.fields)
            for row in objects
            for flat in layout.unfold(row, layout.nested, findings)
        ]
    return _convert(objects, layout, rules, findings)


def _best_layout(shapes: Mapping[frozenset[str], int]) -> _Layout:
    """Return the layout that most rows have; the earlier of two that fit alike."""
    return max(_LAYOUTS, key=lambda layout: sum(n for names, n in shapes.items() if layout.required <= names))


def _misshapen(fields: Mapping[str, object], layout: _Layout) -> str | None:
    """Return what to do if a lone object holds the rows, instead of being one."""
    if layout.nested in fields or not fields:
        return None
    lists = {name: value for name, value in fields.items() if _is_list(value)}
    holders = [name for name, value in lists.items() if isinstance(next(iter(value), None), Mapping)]
    if holders and not layout.required <= fields.keys():
        return f"the rows are under {holders[0]!r}; give that list alone, without the object around it"
    if len(lists) == len(fields):
        fix = "give one object per row, in Python [dict(zip(data, row)) for row in zip(*data.values())]"
        return f"looks column-oriented ({quoted(lists)} hold lists); {fix}"
    return None


def _is_list(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _announce(layout: _Layout, present: Mapping[str, None], rules: Rules, findings: Findings) -> None:
    """Note the mapping that was chosen without being told, and the columns that are not read."""
    used = {*layout.required, *layout.columns}
    if layout.nested is not None:
        used = {*layout.required}
        findings.note(f"read {layout.nested!r}: each question with its answer became a record")
    elif layout is not _ALPACA and not rules.column_map:
        pairs = zip(FIELDS, layout.columns, strict=True)
        chosen = ", ".join(f"{column!r} as {field}" for field, column in pairs if column in present and column != field)
        findings.note(f"no column_map was given: read {chosen}")
    if unread := [name for name in present if name not in {*used, *rules.extra}]:
        findings.note(f"columns that are not read: {quoted(unread)}")


def _convert(rows: Sequence[Row], layout: _Layout, rules: Rules, findings: Findings) -> list[Record]:
    records: list[Record] = []
    problems: list[tuple[int, Problem]] = []
    without_input = without_output = with_system = 0
    for row in rows:
        faults = list(_problems(row.fields, layout, rules))
        problems += [(row.line, problem) for problem in faults]
        if faults:
            continue
        instruction, given, output = (row.fields.get(column) for column in layout.columns)
        records.append(Record(str(instruction), str(given or ""), str(output), row.origin, _extra(row, rules)))
        without_input += given is None
        without_output += not output.strip()
        with_system += bool(layout.nested and row.fields.get("system"))
    _report(problems, len(rows), findings)
    if without_input:
        findings.note(f"no input in {without_input:,} of {len(rows):,} rows (missing or null); read as empty")
    if without_output:
        findings.note(f"empty output in {without_output:,} of {len(rows):,} rows, accepted by allow_empty_output")
    if with_system:
        findings.note(f"left out the system message of {with_system:,} rows; a record has no place for it")
    return records


def _extra(row: Row, rules: Rules) -> dict[str, object]:
    return {name: row.fields[name] for name in rules.extra if row.fields.get(name) is not None}


def _problems(fields: Mapping[str, object], layout: _Layout, rules: Rules) -> Iterator[Problem]:
    for field, column in zip(FIELDS, layout.columns, strict=True):
        value = fields.get(column)
        if field == "input" and value is None:
            continue
        if column not in fields:
            yield _missing(field, column, fields)
        elif problem := text_problem(column, value, rules.limits):
            yield problem
        elif field == "instruction" and not str(value).strip():
            yield Problem(column, "empty", "is empty; write what to do, or delete the row")
        elif field == "output" and not (rules.allow_empty_output or str(value).strip()):
            fix = "write the answer, delete the row, or pass allow_empty_output=True"
            yield Problem(column, "empty", f"is empty; {fix}")


def _missing(field: str, column: str, fields: Mapping[str, object]) -> Problem:
    names = [name for name in fields if isinstance(name, str) and name not in FIELDS]
    near = [name for name in names if name.strip().casefold() in _SYNONYMS[field]]
    near += difflib.get_close_matches(column, names, n=1, cutoff=0.75)
    fix = (
        f"use {near[0]!r} with column_map={{{field!r}: {near[0]!r}}} (--map {shlex.quote(f'{field}={near[0]}')})"
        if near
        else "add it, or name it in column_map (--map)"
    )
    return Problem(column, "missing", f"is missing; the row has {quoted(fields) or 'nothing'}; {fix}")


def _report(problems: Sequence[tuple[int, Problem]], total: int, findings: Findings) -> None:
    """Turn problems into faults; one that every row has is said once."""
    count = Counter((problem.field, problem.kind) for _, problem in problems)
    said = set()
    for line, problem in problems:
        key = (problem.field, problem.kind)
        everywhere = total > 1 and count[key] == total
        if key in said:
            continue
        if everywhere:
            said.add(key)
        suffix = f" (so in all {total:,} rows)" if everywhere else ""
        findings.fault(line, f'field "{problem.field}" {problem.text}{suffix}')
