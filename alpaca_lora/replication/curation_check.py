"""Whether every file of a curation follows from the rows that were read, which its own patch gives back."""

from pathlib import Path
from typing import Any

from alpaca_lora._seals import SEAL
from alpaca_lora._version import __version__
from alpaca_lora.curation.ledger import CONTRACT
from alpaca_lora.curation.outputs import OUTPUTS
from alpaca_lora.curation.rebuilding import rebuild_curation
from alpaca_lora.errors import RunError
from alpaca_lora.replication.findings import Sheet, Unchecked, read_object

__all__ = ["check_curation"]


def check_curation(directory: Path, sheet: Sheet, scratch: Path) -> None:
    """Curate the rows that were read once more, and compare every file.

    Args:
        directory: of the curation.
        sheet: takes what is found.
        scratch: an empty directory.
    """
    counts = sheet.read("counts", lambda: _read_counts(directory), _described)
    if counts is None:
        sheet.skip(("records",), f"{CONTRACT} cannot be read")
        return
    sheet.check("records", lambda: _rebuild(directory, counts, sheet, scratch))


def _read_counts(directory: Path) -> dict[str, Any]:
    document = read_object(directory / CONTRACT)
    if document["kept"] + document["dropped"] != document["read"]:
        raise RunError(f"{CONTRACT}: kept and dropped rows are not those that were read; curate again")
    return document


def _described(document: dict[str, Any]) -> str:
    return f"{document['read']:,} rows read = {document['kept']:,} kept + {document['dropped']:,} dropped"


def _rebuild(directory: Path, document: dict[str, Any], sheet: Sheet, scratch: Path) -> str:
    version, leaks = document["measured"]["version"], document["measured"]["against_sha256"]
    if version != __version__:
        raise Unchecked(f"made by alpaca-lora {version}, and this is {__version__}: curate the same source again")
    if "data" not in document:
        raise Unchecked("made before the name of the source was stored")
    rows = rebuild_curation(
        directory, scratch, on_progress=lambda stage, done, total: sheet.display.advance(done, total)
    )
    for name in sorted(OUTPUTS - {SEAL}):
        if (directory / name).read_bytes() != (scratch / name).read_bytes():
            raise RunError(f"{name} does not follow from the rows that were read and the ledger: curate again")
    apart = f"; that none is like a row of {len(leaks)} evaluation sets is taken from the ledger" if leaks else ""
    return f"{rows:,} rows checked and compared again give every file, byte for byte{apart}"
