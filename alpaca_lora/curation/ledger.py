"""The ledger of a curation: one line for each row with all that was found and decided, and how to read it again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora.curation.catalog import RULES
from alpaca_lora.curation.decisions import Decision
from alpaca_lora.curation.measured import Finding, Measured
from alpaca_lora.errors import RunError
from alpaca_lora.records import Record

__all__ = ["CONTRACT", "LEDGER", "read_measured", "write_ledger"]

LEDGER = "ledger.jsonl"
CONTRACT = "curation.json"


def write_ledger(
    directory: Path, records: Sequence[Record], measured: Sequence[Measured], decisions: Sequence[Decision]
) -> None:
    """Write `ledger.jsonl`.

    Args:
        directory: of the curation.
        records: as they were read.
        measured: what was found.
        decisions: what was decided.
    """
    lines = []
    for number, (record, row, decision) in enumerate(zip(records, measured, decisions, strict=True), start=1):
        line = {
            "row": number,
            "origin": record.origin,
            "decision": decision.outcome,
            "by": decision.by,
            "findings": [_written(finding, finding in decision.counted) for finding in row.findings],
            "verified": list(row.verified),
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    _files.write_text(directory / LEDGER, "".join(lines))


def _written(finding: Finding, counts: bool) -> dict[str, Any]:
    other = {} if finding.other is None else {"like_row": finding.other + 1}
    return {"rule": finding.rule, "score": finding.score, "counts": counts, "detail": finding.detail, **other}


def read_measured(directory: Path, contract: Mapping[str, Any]) -> list[Measured]:
    """Read what another curation found, for deciding anew.

    Args:
        directory: of the other curation.
        contract: what decides the findings, as this run would write it.

    Raises:
        RunError: there is no complete ledger, or its findings are not those that this run would make.
    """
    try:
        stored = dict(json.loads((directory / CONTRACT).read_text(encoding="utf-8"))["measured"])
        lines = [json.loads(line) for line in (directory / LEDGER).read_bytes().splitlines()]
        found = [_read(line, number) for number, line in enumerate(lines, start=1)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{str(directory)!r} holds no complete curation ({error}); run without --replay") from error
    differences = [
        f"{key} was {stored.get(key)!r}, now {value!r}" for key, value in contract.items() if stored.get(key) != value
    ]
    if differences:
        raise RunError(f"{str(directory)!r} cannot be replayed: {'; '.join(differences)}. Run without --replay")
    if len(found) != contract["rows"]:
        raise RunError(
            f"{str(directory / LEDGER)!r} has {len(found)} lines instead of {contract['rows']}; run without --replay"
        )
    return found


def _read(line: Mapping[str, Any], row: int) -> Measured:
    findings = []
    for found in line["findings"]:
        if found["rule"] not in RULES:
            raise ValueError(f"row {row}: unknown rule {found['rule']!r}")
        like = found.get("like_row")
        if like is not None and like not in range(1, row):
            raise ValueError(f"row {row}: like_row must be an earlier row, got {like!r}")
        findings.append(Finding(found["rule"], found["detail"], found["score"], None if like is None else like - 1))
    return Measured(tuple(findings), tuple(line["verified"]))
