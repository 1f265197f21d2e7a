"""Evaluation sets: records, and what an answer to them can be checked for.

Any source of records is a set: Alpaca's formats, AlpacaEval's `model_outputs.json`, the 252 user-oriented tasks. In
JSON and JSON lines a row may also have `dataset`, the part of the set that it belongs to; `expected`, the one answer
that is right; and `regex`, a pattern that a right answer has in it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alpaca_lora.records import Record, read_dataset
from alpaca_lora.records.decoding import decode
from alpaca_lora.records.fields import describe
from alpaca_lora.records.findings import Findings, fault_error
from alpaca_lora.records.locating import locate
from alpaca_lora.records.parsing import parse_json
from alpaca_lora.records.record import DEFAULT_LIMITS

__all__ = ["EvaluationSet", "Task", "load_evaluation_set"]

_CHECKS = ("dataset", "expected", "regex")
_JSON = (".json", ".jsonl")


@dataclass(frozen=True, slots=True)
class Task:
    """A record to be answered."""

    record: Record
    """Its output is the reference answer, empty where there is none."""

    dataset: str = ""
    """Part of the set."""

    expected: str | None = None
    """The right answer; None where the set names none."""

    regex: str | None = None
    """What a right answer has in it; None where the set names nothing."""

    @property
    def question(self) -> str:
        """Return instruction and input as one text, as AlpacaEval has them."""
        return f"{self.record.instruction}\n\n{self.record.input}" if self.record.input else self.record.instruction

    def equals_expected(self, answer: str) -> bool | None:
        """Return whether an answer is the expected one, but for case, white space and a full stop; None without one."""
        return None if self.expected is None else _plain(answer) == _plain(self.expected)

    def matches_regex(self, answer: str) -> bool | None:
        """Return whether the pattern is found in an answer; None without a pattern."""
        return None if self.regex is None else re.search(self.regex, answer) is not None


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Tasks as they were read."""

    name: str
    sha256: str
    tasks: tuple[Task, ...]


def load_evaluation_set(source: str | os.PathLike[str]) -> EvaluationSet:
    """Read an evaluation set.

    Args:
        source: anything `read_dataset` takes; where a dataset has a held-out part of its own, that part is the set.

    Raises:
        RecordError: there is no such source, or rows that cannot be used, each with its file and line.
    """
    loaded = read_dataset(source, allow_empty_output=True)
    columns = _read_columns(source)
    tasks = [Task(record, **columns.get(record.origin, {})) for record in loaded.heldout or loaded.records]
    return EvaluationSet(loaded.name, loaded.sha256, tuple(tasks))


def _read_columns(source: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Return what JSON rows have beside a record, by their origin."""
    columns: dict[str, dict[str, str]] = {}
    located = locate(source)
    for file in (*located.files, *located.heldout):
        if not file.name.lower().endswith(_JSON):
            continue
        findings = Findings(file.name)
        for row in parse_json(decode(file.read_bytes(), findings), findings, DEFAULT_LIMITS):
            given = {name: row.fields[name] for name in _CHECKS if row.fields.get(name) is not None}
            for fault in _faults(given):
                findings.fault(row.line, fault)
            columns[row.origin] = given
        if findings.faults:
            raise fault_error(f"cannot read {located.name}", findings.faults)
    return columns


def _faults(given: Mapping[str, Any]) -> list[str]:
    faults = [
        f'field "{name}" must be a text that is not empty (found {describe(value)})'
        for name, value in given.items()
        if not isinstance(value, str) or not value
    ]
    if not faults and "regex" in given:
        try:
            re.compile(given["regex"])
        except re.error as error:
            faults.append(f'field "regex" is no regular expression of Python: {error}')
    return faults


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")
