"""Evaluation sets: records, and what an answer to them can be checked for.

Any source of records is a set: Alpaca's formats, AlpacaEval's `model_outputs.json`, the 252 user-oriented tasks. A
row may also have `dataset`, the part of the set that it belongs to; `expected`, the one answer that is right; and
`regex`, a pattern that a right answer has in it.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alpaca_lora.records import Record, read_dataset
from alpaca_lora.records.fields import describe
from alpaca_lora.records.findings import fault_error
from alpaca_lora.selfinstruct.tokens import folded

__all__ = ["EvaluationSet", "Task", "digest_of", "load_evaluation_set"]

_CHECKS = ("dataset", "expected", "regex")
_TABLE = re.compile(r"\.csv(\.gz)?:\d+$", re.IGNORECASE)


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


def load_evaluation_set(source: str | os.PathLike[str], column_map: Mapping[str, str] | None = None) -> EvaluationSet:
    """Read an evaluation set.

    Args:
        source: anything `read_dataset` takes; where a dataset has a held-out part of its own, that part is the set.
        column_map: which column is which field, as for `load_records`.

    Raises:
        RecordError: there is no such source, or rows that cannot be used, each with its file and line.
    """
    loaded = read_dataset(source, column_map=column_map, allow_empty_output=True, extra_columns=_CHECKS)
    records = loaded.heldout or loaded.records
    if faults := [f"{record.origin}: {fault}" for record in records for fault in _faults(_given(record))]:
        raise fault_error(f"cannot read {loaded.name}", faults)
    return EvaluationSet(loaded.name, loaded.sha256, tuple(Task(record, **_given(record)) for record in records))


def digest_of(tasks: Sequence[Task]) -> str:
    """Return the SHA-256 of what tasks ask and what is right, in their order; the names of files do not count."""
    said = [
        [task.record.instruction, task.record.input, task.record.output, task.dataset, task.expected, task.regex]
        for task in tasks
    ]
    return hashlib.sha256(json.dumps(said).encode("ascii")).hexdigest()


def _given(record: Record) -> dict[str, Any]:
    """Return what a row has beside a record; an empty cell of a table is none."""
    table = _TABLE.search(record.origin) is not None
    return {name: value for name, value in record.extra.items() if value != "" or not table}


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
    return folded(text).rstrip(".")
