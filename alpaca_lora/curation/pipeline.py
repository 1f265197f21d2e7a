"""`curate`: read, mend, check, compare, decide, write. Nothing is lost: every row that was read is kept or dropped.

Findings are stored apart from decisions, so that another threshold or another action costs only the deciding: a replay
reads the ledger and gives, byte for byte, the records that a fresh run with those settings would.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_lora import _files, _runs
from alpaca_lora._paths import check_paths, expanded
from alpaca_lora._seals import seal
from alpaca_lora._version import __version__
from alpaca_lora.curation.catalog import RULES
from alpaca_lora.curation.comparisons import compare_with_held_out, compare_within
from alpaca_lora.curation.decisions import Decision, RuleCount, count_rules, decide
from alpaca_lora.curation.ledger import CONTRACT, read_measured, write_ledger
from alpaca_lora.curation.measured import Measured, check_record, repair_record
from alpaca_lora.curation.outputs import CURATED, OUTPUTS, Curation, write_outputs
from alpaca_lora.curation.settings import CurationSettings
from alpaca_lora.errors import ConfigError, RecordError
from alpaca_lora.records import LoadedRecords, Record, read_dataset
from alpaca_lora.records.reading import Source

__all__ = ["CurationResult", "curate"]

DEFAULT_SETTINGS = CurationSettings()
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationResult:
    """What a curation did."""

    output_dir: Path
    data: Path
    """The curated records, for `finetune`."""

    read: int
    kept: int
    """Repaired ones among them; kept + dropped = read."""

    repaired: int
    dropped: int
    rules: tuple[RuleCount, ...]
    """What each rule found and what was done, in the order of the rules."""

    notes: tuple[str, ...]
    """What the reader of the records noticed."""


def curate(
    source: Source,
    output_dir: str | os.PathLike[str],
    *,
    against: Sequence[str | os.PathLike[str]] = (),
    settings: CurationSettings = DEFAULT_SETTINGS,
    column_map: Mapping[str, str] | None = None,
    replay: str | os.PathLike[str] | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> CurationResult:
    """Clean a set of records, and say of each row why it is in or out.

    The directory gets the curated and the dropped records, a ledger, a page, a datasheet, a patch and the findings as
    SARIF. It appears complete or not at all.

    Args:
        source: `alpaca-mini`, a file, a Hub dataset, or rows; empty outputs are read, and found.
        output_dir: new, empty, or that of an earlier curation, which is replaced.
        against: sets that a model will be evaluated on, or their rows set aside for that; what is like them is dropped.
        settings: thresholds and actions.
        column_map: which column is which field, as for `load_records`; also in sets of `against` that lack the usual.
        replay: directory of an earlier curation of the same data, whose findings are decided on anew.
        on_progress: called while it goes on, with the stage and how many rows of how many are done.

    Returns:
        Counts and paths.

    Raises:
        RecordError: a source cannot be read.
        ConfigError: the directory holds something else.
        RunError: the findings to be replayed are of other data, repairs or another version.
    """
    _check_types(settings, against, output_dir)
    target = _check_directory(expanded(output_dir), source)
    loaded = read_dataset(source, column_map=column_map, allow_empty_output=True)
    sets = {str(path): read_set(path, column_map) for path in against}
    contract = _contract(loaded, column_map, sets, settings)
    if replay is None:
        held_out = {name: one.heldout or one.records for name, one in sets.items()} | {"held-out rows": loaded.heldout}
        records, measured = measure(loaded.records, held_out, settings, on_progress)
    else:
        records = [repair_record(record, settings)[0] for record in loaded.records]
        measured = read_measured(expanded(replay), contract)
    decisions = decide(measured, settings)
    curation = Curation(loaded, records, decisions, count_rules(measured, decisions, settings), settings)
    on_progress("writing", 0, 1)
    _write(target, curation, measured, contract)
    on_progress("writing", 1, 1)
    rules, totals = tuple(curation.counts), _totals(decisions)
    return CurationResult(output_dir=target, data=target / CURATED, rules=rules, notes=loaded.notes, **totals)


def read_set(source: str | os.PathLike[str], column_map: Mapping[str, str] | None) -> LoadedRecords:
    """Read a set that records must not be like; the map is for one that lacks the usual columns.

    Raises:
        RecordError: it cannot be read either way; of two refusals the one with fewer faults.
    """
    try:
        return read_dataset(source, allow_empty_output=True)
    except RecordError as error:
        if not column_map:
            raise
        try:
            return read_dataset(source, column_map=column_map, allow_empty_output=True)
        except RecordError as mapped:
            raise min(error, mapped, key=lambda one: len(one.faults)) from None


def _write(target: Path, curation: Curation, measured: Sequence[Measured], contract: Mapping[str, Any]) -> None:
    with _files.new_directory(target) as staged:
        write_curation(staged, curation, measured, contract)


def write_curation(
    directory: Path, curation: Curation, measured: Sequence[Measured], contract: Mapping[str, Any]
) -> None:
    """Fill a directory with everything that a curation leaves.

    Args:
        directory: exists, and is empty.
        curation: what was decided.
        measured: what was found.
        contract: what decides the findings.
    """
    write_outputs(directory, curation)
    write_ledger(directory, curation.loaded.records, measured, curation.decisions)
    _files.write_json(directory / CONTRACT, {"measured": contract} | _summary(curation))
    seal(directory)


def _totals(decisions: Sequence[Decision]) -> dict[str, int]:
    outcomes = [decision.outcome for decision in decisions]
    dropped = outcomes.count("dropped")
    return {
        "read": len(outcomes),
        "kept": len(outcomes) - dropped,
        "repaired": outcomes.count("repaired"),
        "dropped": dropped,
    }


def _check_types(
    settings: CurationSettings, against: Sequence[str | os.PathLike[str]], output_dir: str | os.PathLike[str]
) -> None:
    """Refuse what would be taken for something else: a mapping for settings, the letters of a path for files."""
    if not isinstance(settings, CurationSettings):
        raise ConfigError(f"settings must be CurationSettings, got {settings!r}")
    if isinstance(against, str | bytes | os.PathLike):
        raise ConfigError(f"against must be a list of files, got {against!r}: put it into brackets")
    check_paths(output_dir=output_dir)


def _check_directory(target: Path, source: Source) -> Path:
    """Refuse a directory that holds anything but an earlier curation, or what is to be curated."""
    data = Path(source) if isinstance(source, str | os.PathLike) and os.path.isfile(source) else None
    if not (target / CONTRACT).is_file():
        _runs.check_output_dir(target, base_dir=None, data=data)
        _files.put_back(target.resolve())  # an earlier curation, if any; the parent is anybody's, so it is not swept
    elif data is not None and data.resolve().parent == target.resolve():
        raise ConfigError(f"output_dir {str(target)!r}: it holds the data {data.name!r}; give a new or empty directory")
    held = target.iterdir() if target.is_dir() else ()
    foreign = sorted(item.name for item in held if item.name not in OUTPUTS)
    if foreign:
        raise ConfigError(
            f"output_dir {str(target)!r}: it holds more than a curation ({', '.join(foreign[:3])}), which would be "
            "lost; give a new or empty directory"
        )
    return target


def _contract(
    loaded: LoadedRecords,
    column_map: Mapping[str, str] | None,
    against: Mapping[str, LoadedRecords],
    settings: CurationSettings,
) -> dict[str, Any]:
    """Return everything that decides the findings."""
    return {
        "version": __version__,
        "rows": len(loaded.records),
        "data_sha256": loaded.sha256,
        "column_map": dict(column_map) if column_map else None,
        "against_sha256": [data.sha256 for data in against.values()],
        "compare": settings.compare,
        "method": settings.method,
        "repairs": settings.repairs,
        "floors": {name: rule.floor for name, rule in RULES.items() if rule.floor is not None},
    }


def _summary(curation: Curation) -> dict[str, Any]:
    settings = curation.settings
    return {
        "thresholds": {name: settings.threshold(name) for name in RULES if settings.threshold(name) is not None},
        "actions": {name: settings.action(name) for name in RULES},
        **_totals(curation.decisions),
        "rules": [count._asdict() for count in curation.counts],
        "data": curation.loaded.name,
        "notes": list(curation.loaded.notes),
    }


def measure(
    originals: Sequence[Record],
    held_out: Mapping[str, Sequence[Record]],
    settings: CurationSettings,
    on_progress: OnProgress,
) -> tuple[list[Record], list[Measured]]:
    """Mend and check every record, then compare them.

    Args:
        originals: as they were read.
        held_out: by name, the sets that they must not be like.
        settings: decides which repairs are made and how records are compared.
        on_progress: as for `curate`.

    Returns:
        The mended records, and what was found about each.
    """
    total = len(originals)
    records: list[Record] = []
    measured: list[Measured] = []
    for number, original in enumerate(originals, start=1):
        record, mended = repair_record(original, settings)
        findings, verified = check_record(record, settings)
        records.append(record)
        measured.append(Measured((*mended, *findings), verified))
        on_progress("checking", number, total)
    within = compare_within(
        records, settings.compare, settings.method, lambda done: on_progress("comparing", done, total)
    )
    leaked = compare_with_held_out(records, held_out)
    return records, [
        row._replace(findings=(*row.findings, *within.get(place, ()), *leaked.get(place, ())))
        for place, row in enumerate(measured)
    ]
