"""A curation from its own directory: the rows that were read, what is found about them, and every file once more."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from alpaca_lora.curation.catalog import CONTAMINATION
from alpaca_lora.curation.decisions import count_rules, decide
from alpaca_lora.curation.ledger import CONTRACT, LEDGER, read_measured
from alpaca_lora.curation.measured import Measured, repair_record
from alpaca_lora.curation.outputs import CURATED, Curation
from alpaca_lora.curation.pipeline import OnProgress, measure, write_curation
from alpaca_lora.curation.settings import CurationSettings
from alpaca_lora.errors import RunError
from alpaca_lora.records import LoadedRecords, Record
from alpaca_lora.records.record import FIELDS

__all__ = ["rebuild_curation"]

_PLACE = re.compile(r"@@ -(\d+),1 ")


def rebuild_curation(
    directory: Path, target: Path, *, on_progress: OnProgress = lambda stage, done, total: None
) -> int:
    """Write every file of a curation again, from what its directory holds.

    The rows that were read come from taking the patch `changes.diff` back. Each is checked and compared once more; only
    what was found by comparing with evaluation sets, which are not there, is taken from the ledger.

    Args:
        directory: of the curation.
        target: an empty directory.
        on_progress: as for `curate`.

    Returns:
        How many rows were looked at.

    Raises:
        RunError: the ledger is damaged, or does not hold what this version finds in these rows.
    """
    document = json.loads((directory / CONTRACT).read_text(encoding="utf-8"))
    contract: dict[str, Any] = document["measured"]
    settings = CurationSettings(
        thresholds=document["thresholds"],
        actions=document["actions"],
        compare=contract["compare"],
        method=contract["method"],
    )
    originals = _originals(directory)
    loaded = LoadedRecords(document["data"], tuple(originals), (), contract["data_sha256"], tuple(document["notes"]))
    stored = read_measured(directory, contract)
    _, found = measure(originals, {}, settings, on_progress)
    for number, (had, has) in enumerate(zip(stored, found, strict=True), start=1):
        if _without_leaks(had) != has:
            raise RunError(f"{LEDGER}:{number}: what it holds is not what is found in this row: {_named(had, has)}")
    records = [repair_record(record, settings)[0] for record in originals]
    decisions = decide(stored, settings)
    curation = Curation(loaded, records, decisions, count_rules(stored, decisions, settings), settings)
    write_curation(target, curation, stored, contract)
    return len(originals)


def _originals(directory: Path) -> list[Record]:
    """Return the rows as they were read: the curated ones, with the patch taken back."""
    ledger = [json.loads(line) for line in (directory / LEDGER).read_bytes().splitlines()]
    curated = (directory / CURATED).read_text(encoding="utf-8").split("\n")[:-1]
    patch = (directory / "changes.diff").read_text(encoding="utf-8").split("\n")
    changed = {int(place[1]): removed[1:] for line, removed in pairwise(patch) if (place := _PLACE.match(line))}
    if len(curated) != sum(line["decision"] != "dropped" for line in ledger):
        raise RunError(f"{CURATED} has {len(curated)} rows, and not those that {LEDGER} keeps")
    kept, rows = iter(curated), []
    for number, line in enumerate(ledger, start=1):
        stays = "" if line["decision"] == "dropped" else next(kept)
        row: dict[str, Any] = json.loads(changed.get(number, stays))
        instruction, given, output = (str(row[field]) for field in FIELDS)
        rows.append(Record(instruction, given, output, origin=line["origin"]))
    return rows


def _without_leaks(measured: Measured) -> Measured:
    findings = tuple(finding for finding in measured.findings if finding.rule != CONTAMINATION)
    return measured._replace(findings=findings)


def _named(had: Measured, has: Measured) -> str:
    stored, found = ([finding.rule for finding in one.findings] for one in (had, has))
    return f"stored {', '.join(stored) or 'nothing'}, found {', '.join(found) or 'nothing'}"
