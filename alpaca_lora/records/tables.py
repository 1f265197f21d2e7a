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

_BATCH_ROWS = 4096
_FREE_VALUES, _FREE_BYTES = 200_000, 2**26
"""What any Parquet file may hold, however small it is."""

_LARGEST_RATIO = 100

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
            if str(error).startswith("field larger"):
                fault = f"a cell has more than {limits.line_bytes:,} characters; close its quote, or shorten the text"
                findings.fault(line, fault)
                return rows
            reason = next((words for start, words in _REASONS.items() if str(error).startswith(start)), error)
            findings.fault(line, f"not CSV: {reason}; quote the text and double the quotes inside it")
    if blank and rows:
        findings.note(f"skipped {blank:,} blank lines" if blank > 1 else "skipped 1 blank line")
    return rows


def parse_parquet(data: bytes, findings: Findings) -> list[Row]:
    """Return the rows of a Parquet file; their line is their number.

    A few hundred bytes can stand for gigabytes, since equal values are stored once. So texts are read as references to
    what is stored, and their lengths added up before any is copied.
    """
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    names: list[str] = []
    columns: list[list[object]] = []
    budget = max(_FREE_BYTES, _LARGEST_RATIO * len(data))
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data))
        leaves = [file.schema.column(index) for index in range(len(file.schema))]
        if fault := _unlikely(file.metadata, len(data)):
            findings.fault(0, f"{fault}; write it again")
            return []
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        file = parquet.ParquetFile(arrow.BufferReader(data), read_dictionary=texts)
        names, columns = list(file.schema_arrow.names), [[] for _ in file.schema_arrow.names]
        _check_names(names, 0, findings)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            budget -= sum(_text_bytes(column) for column in batch.columns)
            if budget < 0:
                findings.fault(0, f"unpacks to more than {_LARGEST_RATIO} times its size, as no records do; split it")
                return []
            for name, cells, column in zip(names, columns, batch.columns, strict=True):
                cells += _cells(name, column, findings)
            if findings.faults:
                return []
    except (arrow.ArrowException, OSError, ValueError) as error:
        findings.fault(0, f"not a readable Parquet file ({first_line(error)}); write or download it again")
        return []
    rows = enumerate(zip(*columns, strict=True), start=1)
    return [Row(number, dict(zip(names, cells, strict=True)), findings.place(number)) for number, cells in rows]


def _unlikely(metadata: Any, size: int) -> str | None:
    """Return what is wrong with a Parquet file that says it holds more values than it has bytes."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    values = max((sum(group.column(c).num_values for group in groups) for c in range(metadata.num_columns)), default=0)
    if max(values, metadata.num_rows) > max(_FREE_VALUES, size):
        return f"says that it holds {max(values, metadata.num_rows):,} values in {size:,} bytes"
    return None


def _text_bytes(column: Any) -> int:
    """Return how many bytes the texts of a column would take, those in lists and objects too."""
    kind, compute = import_module("pyarrow.types"), import_module("pyarrow.compute")
    if kind.is_dictionary(column.type):
        lengths = compute.binary_length(column.dictionary)
        return int(compute.sum(compute.take(lengths, column.indices)).as_py() or 0)
    if kind.is_struct(column.type):
        return sum(map(_text_bytes, column.flatten()))
    if kind.is_list(column.type) or kind.is_large_list(column.type):
        return _text_bytes(column.flatten())
    return int(column.nbytes)


def _cells(name: str, column: Any, findings: Findings) -> list[object]:
    try:
        return list(column.to_pylist())
    except ValueError as error:
        fix = "store it as UTF-8 text, or leave it out"
        findings.fault(0, f"column {name!r} of type {_plain(column.type)} cannot be read ({error}); {fix}")
        return []


def _plain(kind: Any) -> Any:
    """Return the type that a column has in the file, and not that of our reading."""
    return kind.value_type if import_module("pyarrow.types").is_dictionary(kind) else kind


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
