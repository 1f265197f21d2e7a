"""Any source of records, read strictly: all faults of all its files at once, or records with notes."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import PurePath

from alpaca_lora.records.columns import Rules, check_column_map, to_records
from alpaca_lora.records.decoding import decode, unpack
from alpaca_lora.records.fields import describe
from alpaca_lora.records.findings import Findings, fault_error
from alpaca_lora.records.locating import SUFFIXES, Located, locate
from alpaca_lora.records.parsing import parse_json
from alpaca_lora.records.record import DEFAULT_LIMITS, FIELDS, Limits, LoadedRecords, Record, Row
from alpaca_lora.records.survey import survey
from alpaca_lora.records.tables import parse_csv, parse_parquet
from alpaca_lora.records.writing import canonical_lines

__all__ = ["Source", "load_records", "read_dataset"]

Source = str | os.PathLike[str] | Iterable[Mapping[str, object] | Record]
"""`alpaca-mini`, a path, a glob, a Hub dataset, or rows in memory (a `datasets.Dataset` is an iterable of rows)."""


def read_dataset(
    source: Source,
    *,
    column_map: Mapping[str, str] | None = None,
    allow_empty_output: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    extra_columns: Sequence[str] = (),
) -> LoadedRecords:
    """Read records, with everything that is to be known about them.

    Text is kept byte for byte. A missing or null input is empty. Known columns of other datasets (prompt/completion,
    prompt/response, question/answer, Dolly, ShareGPT, chat messages, Self-Instruct seeds) are understood, and the
    mapping is announced in the notes.

    Args:
        source: `alpaca-mini`, a JSON, JSON-lines, CSV or Parquet file, a glob of them, a Hub dataset, or rows.
        column_map: which column is which field, as `{"instruction": "question"}`; None takes the usual names.
        allow_empty_output: accept records whose output is blank.
        limits: what one row may cost.
        extra_columns: columns whose values are kept as they are in `Record.extra`, where a row has them.

    Returns:
        The records in order, with notes and the hash of what was read.

    Raises:
        RecordError: there is no such source, or it has faults; `.faults` holds each with its file and line.
        ConfigError: `column_map` maps something that is no field.
    """
    rules = Rules(check_column_map(column_map), allow_empty_output, limits, tuple(extra_columns))
    if isinstance(source, str | os.PathLike):
        return _read_files(locate(source), rules)
    return _read_memory(source, rules)


def load_records(
    source: Source,
    *,
    column_map: Mapping[str, str] | None = None,
    allow_empty_output: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Record]:
    """Read records, and nothing else; see `read_dataset`."""
    loaded = read_dataset(source, column_map=column_map, allow_empty_output=allow_empty_output, limits=limits)
    return list(loaded.records)


def _read_files(located: Located, rules: Rules) -> LoadedRecords:
    digests: list[bytes] = []
    faults: list[str] = []
    notes = list(located.notes)
    records: list[list[Record]] = []
    for file in (*located.files, *located.heldout):
        findings = Findings(located.name_of(file))
        data = _content(file, findings)
        digests.append(hashlib.sha256(data).digest())
        rows = _parse(data, findings, rules.limits)
        if not rows and not findings.faults:
            found = "only blanks, an empty list or a header" if data else "the file is empty"
            findings.fault(0, f"no rows ({found}); write at least one record")
        records.append(to_records(rows, rules, findings))
        faults += findings.faults
        notes += findings.notes
    if faults:
        raise fault_error(f"cannot read {located.name}", faults)
    count = len(located.files)
    training = [record for part in records[:count] for record in part]
    heldout = [record for part in records[count:] for record in part]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()
    return LoadedRecords(located.name, tuple(training), tuple(heldout), digest.hex(), (*notes, *survey(training)))


def _content(file: Traversable, findings: Findings) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        findings.fault(0, f"cannot be read ({error.strerror}); check that it exists and its permissions")
        return b""


def _parse(data: bytes, findings: Findings, limits: Limits) -> list[Row]:
    suffixes = PurePath((findings.name or "").lower()).suffixes[-2:]
    packed = suffixes[-1:] == [".gz"]
    ending = "".join(suffixes if packed else suffixes[-1:])
    if ending not in SUFFIXES:
        findings.fault(0, f"unknown suffix {ending!r}; rename the file to one of {', '.join(SUFFIXES)}")
        return []
    if packed:
        data = unpack(data, findings, limits)
    if not data:
        return []
    if ending == ".parquet":
        return parse_parquet(data, findings)
    text = decode(data, findings)
    return parse_csv(text, findings, limits) if ending.startswith(".csv") else parse_json(text, findings, limits)


def _read_memory(source: Iterable[Mapping[str, object] | Record], rules: Rules) -> LoadedRecords:
    findings = Findings()
    if isinstance(source, bytes) or not isinstance(source, Iterable):
        fix = "give a path, a Hub dataset, or rows such as [{'instruction': …, 'output': …}]"
        raise fault_error("cannot read records", [f"records: not a source of rows (found {describe(source)}); {fix}"])
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        fix = "give its rows, as table.to_dict('records')"
        raise fault_error("cannot read records", [f"records: a {type(source).__name__} gives its columns; {fix}"])
    rows = [
        _row(number, item, rules, findings)
        for number, item in enumerate([source] if isinstance(source, Mapping) else source, start=1)
    ]
    if not rows:
        findings.fault(0, "no rows; give at least one record")
    records = to_records(rows, rules, findings)
    if findings.faults:
        raise fault_error("cannot read records in memory", findings.faults)
    digest = hashlib.sha256(canonical_lines(records)).hexdigest()
    notes = (*findings.notes, *survey(records))
    return LoadedRecords("records in memory", tuple(records), (), digest, notes)


def _row(number: int, item: Mapping[str, object] | Record, rules: Rules, findings: Findings) -> Row:
    origin = findings.place(number)
    if isinstance(item, Record):
        extra = {name: item.extra[name] for name in rules.extra if name in item.extra}
        return Row(number, extra | {field: getattr(item, field) for field in FIELDS}, item.origin or origin)
    return Row(number, item, origin)
