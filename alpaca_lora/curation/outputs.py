"""The files that a curation leaves, but for its ledger."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from alpaca_lora import _files
from alpaca_lora._seals import SEAL
from alpaca_lora._version import __version__
from alpaca_lora.curation.catalog import RULES
from alpaca_lora.curation.datasheet import render_datasheet
from alpaca_lora.curation.decisions import Decision, RuleCount
from alpaca_lora.curation.report import draw_funnel, draw_verbs, render_curation
from alpaca_lora.curation.settings import CurationSettings
from alpaca_lora.curation.statistics import describe_set
from alpaca_lora.records import LoadedRecords, Record, save_records
from alpaca_lora.records.locating import folder_of
from alpaca_lora.records.record import FIELDS
from alpaca_lora.records.writing import canonical_lines
from alpaca_lora.reporting.shapes import standalone

__all__ = ["CURATED", "OUTPUTS", "Curation", "write_outputs"]

CURATED = "curated.jsonl"
OUTPUTS = frozenset(
    (
        CURATED,
        "dropped.jsonl",
        "ledger.jsonl",
        "curation.json",
        "report.html",
        "datasheet.md",
        "statistics.json",
        "changes.diff",
        "findings.sarif",
        "funnel.svg",
        "verbs.svg",
        SEAL,
    )
)
"""Every name that a curation writes."""


class Curation(NamedTuple):
    """What the files tell."""

    loaded: LoadedRecords
    records: Sequence[Record]
    """After repairs, one for each that was read."""

    decisions: Sequence[Decision]
    counts: Sequence[RuleCount]
    settings: CurationSettings

    @property
    def kept(self) -> list[Record]:
        """The records that stay."""
        return [r for r, d in zip(self.records, self.decisions, strict=True) if d.outcome != "dropped"]


def write_outputs(directory: Path, curation: Curation) -> None:
    """Write every file but the ledger and the contract.

    Args:
        directory: exists, and is filled.
        curation: what was decided.
    """
    kept = curation.kept
    before, after = describe_set(curation.loaded.records), describe_set(kept)
    save_records(kept, directory / CURATED)
    _files.write_text(directory / "dropped.jsonl", "".join(_dropped(curation)))
    _files.write_text(directory / "changes.diff", "".join(_differences(curation)))
    _files.write_json(directory / "findings.sarif", _sarif(curation))
    _files.write_json(directory / "statistics.json", {"read": before.as_json(), "kept": after.as_json()})
    _files.write_text(directory / "datasheet.md", render_datasheet(curation.loaded, after, curation.counts))
    _files.write_text(
        directory / "report.html",
        render_curation(curation.loaded, curation.decisions, curation.counts, curation.settings, before, after),
    )
    outcomes = [decision.outcome for decision in curation.decisions]
    _files.write_text(directory / "funnel.svg", standalone(draw_funnel(len(outcomes), curation.counts, width=900)))
    _files.write_text(directory / "verbs.svg", standalone(draw_verbs(after, size=720)))


def _dropped(curation: Curation) -> Iterator[str]:
    """Yield the rows that were dropped as they were read, each with its reason."""
    for record, decision in zip(curation.loaded.records, curation.decisions, strict=True):
        if decision.by:
            finding = next(finding for finding in decision.counted if finding.rule == decision.by)
            why = {"origin": record.origin, "rule": finding.rule, "score": finding.score, "detail": finding.detail}
            yield json.dumps(why | {field: getattr(record, field) for field in FIELDS}, ensure_ascii=False) + "\n"


def _differences(curation: Curation) -> Iterator[str]:
    """Yield a patch without context that turns the rows that were read, as JSON lines, into the curated file."""
    yield f"--- {curation.loaded.name} as JSON lines\n+++ {CURATED}\n"
    kept = 0
    rows = zip(curation.loaded.records, curation.records, curation.decisions, strict=True)
    for number, (original, record, decision) in enumerate(rows, start=1):
        stays = decision.outcome != "dropped"
        kept += stays
        if stays and original == record:
            continue
        why = decision.by or ", ".join(dict.fromkeys(finding.rule for finding in decision.counted))
        yield f"@@ -{number},1 +{kept},{int(stays)} @@ {original.origin}: {why}\n-{_line(original)}"
        yield f"+{_line(record)}" if stays else ""


def _line(record: Record) -> str:
    return canonical_lines([record]).decode("utf-8")


def _sarif(curation: Curation) -> dict[str, Any]:
    """Return the findings in the Static Analysis Results Interchange Format 2.1.0, for code hosts and editors."""
    names = [name for name in RULES if any(count.rule == name and count.found for count in curation.counts)]
    rules = [
        {
            "id": name,
            "shortDescription": {"text": f"The record {RULES[name].about}."},
            "help": {"text": RULES[name].fix},
            "defaultConfiguration": {"level": RULES[name].severity},
        }
        for name in names
    ]
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": names.index(finding.rule),
            "level": RULES[finding.rule].severity,
            "message": {"text": f"The record {RULES[finding.rule].about}: {finding.detail}"},
            "locations": [_location(record.origin, curation.loaded.name)],
            "properties": {"score": finding.score, "outcome": decision.outcome},
        }
        for record, decision in zip(curation.loaded.records, curation.decisions, strict=True)
        for finding in decision.counted
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "alpaca-lora curate", "version": __version__, "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def _location(origin: str, source: str) -> dict[str, Any]:
    name, colon, line = origin.rpartition(":")
    if not colon or not line.isdigit():
        return {"logicalLocations": [{"fullyQualifiedName": origin}]}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(name, source)}, "region": {"startLine": int(line)}}}


def _uri(name: str, source: str) -> str:
    """Return where a file is found from where the source, a path or a glob, was given; else the file's name alone."""
    path, folder = Path(source), folder_of(source)
    if path.name != name:
        path = Path(name) if folder is None else folder / name
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
