"""Records to files, in the form that the reader takes back without a changed byte.

A CSV cell that begins with `=`, `+`, `-` or `@` is a formula to a spreadsheet. Altering it would alter the data, so it
is written as it is: open such a file with its columns imported as text.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path

from alpaca_lora import _files
from alpaca_lora.records.fields import text_problem
from alpaca_lora.records.findings import Findings, fault_error
from alpaca_lora.records.record import DEFAULT_LIMITS, FIELDS, Record

__all__ = ["canonical_lines", "save_records"]


def save_records(records: Iterable[Record], path: str | os.PathLike[str]) -> None:
    """Write records to a file that appears complete or not at all.

    Args:
        records: what to write, in this order.
        path: `.json` (an indented array), `.jsonl`, `.csv` (all cells quoted) or `.parquet`; directories are made.

    Raises:
        RecordError: the suffix is another one, an item is no `Record`, or a text could not be read back (half a
            character, NUL, no text).
    """
    target, records = Path(path), tuple(records)
    encode = _ENCODERS.get(target.suffix.lower())
    findings = Findings()
    if encode is None:
        allowed = ", ".join(_ENCODERS)
        fault = f"{target.name}: unknown suffix {target.suffix!r}; use one of {allowed}"
        raise fault_error(f"cannot write {target}", [fault])
    for number, record in enumerate(records, start=1):
        if not isinstance(record, Record):
            findings.fault(number, f"must be a Record (found {type(record).__name__}); make one with Record(**row)")
            continue
        for field in FIELDS:
            if problem := text_problem(field, getattr(record, field), DEFAULT_LIMITS):
                findings.fault(number, f'field "{field}" {problem.text}')
    if findings.faults:
        raise fault_error(f"cannot write {target}", findings.faults)
    _files.write_bytes(target, encode(records))


def canonical_lines(records: Iterable[Record]) -> bytes:
    """Return records as JSON lines: the bytes of a `.jsonl` file, and what identifies records in memory."""
    return "".join(json.dumps(_row(record), ensure_ascii=False) + "\n" for record in records).encode("utf-8")


def _row(record: Record) -> dict[str, str]:
    return {field: getattr(record, field) for field in FIELDS}


def _json(records: Sequence[Record]) -> bytes:
    return (json.dumps([_row(record) for record in records], ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def _csv(records: Sequence[Record]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows(_row(record).values() for record in records)
    return stream.getvalue().encode("utf-8")


def _parquet(records: Sequence[Record]) -> bytes:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    text = arrow.string()
    columns = [arrow.array([getattr(record, field) for record in records], type=text) for field in FIELDS]
    stream = io.BytesIO()
    parquet.write_table(arrow.table(columns, names=list(FIELDS)), stream)
    return stream.getvalue()


_ENCODERS: dict[str, Callable[[Sequence[Record]], bytes]] = {
    ".json": _json,
    ".jsonl": canonical_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
