"""CSV and Parquet to rows. Every cell of a CSV file is text; a Parquet column keeps the type that it has.

Pyarrow is imported when a Parquet file is met, so that whoever only formats prompts does not wait for it.
"""

import contextlib
import csv
import io
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from alpaca_lora.records.findings import Findings, first_line
from alpaca_lora.records.record import Limits, Row

__all__ = ["parse_csv", "parse_parquet"]

_FIELD_LIMIT_LOCK = threading.Lock()
_REASONS = {"unexpected end of data": "a quote is never closed", "new-line": "a carriage return outside quotes"}
"""Plainer words for what the csv module says, by the beginning of it."""


def parse_csv(text: str, findings: Findings, limits: Limits) -> list[Row]:
    """Return the rows of a CSV file: commas, double quotes, a header line; only a line feed ends a line."""
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    header: list[str] | None = None
    blank, line = 0, 1
    with _field_limit(limits.line_bytes):
        try:
            for cells in reader:
                if not cells:
                    blank += 1
                elif header is None:
                    header = cells
                    _check_names(header, line, findings)
                    if len(cells) == 1 and (separator := re.search(r"[;\t|]", cells[0])):
                        fault = f"columns are separated by {separator[0]!r}; save the file with commas"
                        findings.fault(line, fault)
                        break
                elif len(cells) == len(header):
                    rows.append(Row(line, dict(zip(header, cells, strict=True)), findings.place(line)))
                else:
                    fix = "quote texts that hold commas, or fill the row up"
                    findings.fault(line, f"{len(cells)} instead of {len(header)} cells; {fix}")
                line = reader.line_num + 1
        except csv.Error as error:
            reason = next((words for start, words in _REASONS.items() if str(error).startswith(start)), error)
            findings.fault(line, f"not CSV: {reason}; quote the text and double the quotes inside it")
    if blank and rows:
        findings.note(f"skipped {blank:,} blank lines" if blank > 1 else "skipped 1 blank line")
    return rows


def parse_parquet(data: bytes, findings: Findings) -> list[Row]:
    """Return the rows of a Parquet file; their line is their number."""
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    try:
        table = parquet.ParquetFile(arrow.BufferReader(data)).read()
    except (arrow.ArrowException, OSError, ValueError) as error:
        findings.fault(0, f"not a readable Parquet file ({first_line(error)}); write or download it again")
        return []
    names = table.column_names
    _check_names(names, 0, findings)
    columns = [_cells(name, table.column(index), findings) for index, name in enumerate(names)]
    if findings.faults:
        return []
    rows = enumerate(zip(*columns, strict=True), start=1)
    return [Row(number, dict(zip(names, cells, strict=True)), findings.place(number)) for number, cells in rows]


def _cells(name: str, column: Any, findings: Findings) -> list[object]:
    try:
        return list(column.to_pylist())
    except ValueError as error:
        fix = "store it as UTF-8 text, or leave it out"
        findings.fault(0, f"column {name!r} of type {column.type} cannot be read ({error}); {fix}")
        return []


def _check_names(names: Sequence[str], line: int, findings: Findings) -> None:
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        findings.fault(line, f"column names that appear twice: {', '.join(repeated)}; rename or delete one")


@contextlib.contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    """Raise the limit of the csv module, which is 128 KiB and shared by the whole process, for one file."""
    with _FIELD_LIMIT_LOCK:
        previous = csv.field_size_limit(limit)
        try:
            yield
        finally:
            csv.field_size_limit(previous)
