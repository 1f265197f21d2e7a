"""Whether the records of a generation follow from the answers in its journal, and its bill from the calls."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora._runs import CONTRACT, JOURNAL, LIBRARY
from alpaca_lora._version import __version__
from alpaca_lora.config import SelfInstructConfig
from alpaca_lora.errors import AlpacaLoraError, RecordError, RunError
from alpaca_lora.replication.findings import Sheet, Unchecked, differing, read_object
from alpaca_lora.selfinstruct import GenerationResult, generate_instructions, load_seeds
from alpaca_lora.selfinstruct.pipeline import DECISIONS, RECORDS, SUMMARY
from alpaca_lora.teachers import StoredTeacher

__all__ = ["check_generation", "made_elsewhere", "restage"]

_PLENTY = 2**40
_OF_THE_SESSION = ("reason", "budget", "notes")
"""What a replay, which asks nobody, has of its own."""

_OF_ITS_END = ("status", "wanted", "requests", "pieces", "dropped", "faults", "skipped")
"""What it also has of its own where the run was ended by something that is not in the journal."""


def check_generation(directory: Path, sheet: Sheet, scratch: Path) -> None:
    """Decide again about every stored answer, and compare.

    Args:
        directory: of the generation.
        sheet: takes what is found.
        scratch: an empty directory.
    """
    summary = sheet.read("end", lambda: read_object(directory / SUMMARY), _end)
    if summary is None:
        sheet.skip(("records", "ledger"), f"{SUMMARY} cannot be read")
        return
    result = sheet.read(
        "records",
        lambda: _replay(directory, summary, scratch),
        lambda _: (
            f"{' and '.join(_files_of(summary))} follow from the {summary['requests']} stored answers, byte for byte"
        ),
    )
    if result is None:
        sheet.skip(("ledger",), "the answers could not be replayed")
        return
    sheet.check("ledger", lambda: _compare_bills(summary, result))


def _end(summary: Mapping[str, Any]) -> str:
    return f"{summary['status']}: {summary['kept']} of {summary['wanted']} records after {summary['requests']} requests"


def _replay(directory: Path, summary: Mapping[str, Any], scratch: Path) -> GenerationResult:
    """Run the generation on a copy of its journal, with teachers that answer nothing more."""
    contract = read_object(directory / CONTRACT)
    settings, complete = contract["config"], summary["status"] == "completed"
    _require(settings, contract)
    config = SelfInstructConfig(
        **settings,
        num=summary["wanted"] if complete else _PLENTY,
        pilot=None if complete else max(1, summary["requests"]),
        patience=_PLENTY,
        pause_seconds=1e-6,
    )
    restage(directory, scratch, CONTRACT, JOURNAL)
    roles = {role: StoredTeacher(said, summary["notes"]) for role, said in contract["teachers"].items()}
    try:
        result = generate_instructions(
            roles["tasks"],
            scratch,
            config=config,
            answers=roles.get("answers"),
            judge=roles.get("judge"),
            progress=False,
        )
        _follow(directory, summary, result)
    except AlpacaLoraError as error:
        raise made_elsewhere(contract, RunError(str(error).replace(f"{scratch}/", ""))) from error
    return result


def restage(directory: Path, scratch: Path, *names: str) -> None:
    """Copy files of a run to where it can be gone through again without changing it."""
    for name in names:
        _files.write_bytes(scratch / name, (directory / name).read_bytes())


def made_elsewhere(contract: Mapping[str, Any], error: Exception) -> Exception:
    """Return what a replay that gives something else means: a fault only where this very version made the run."""
    version = contract.get("environment", {}).get(LIBRARY, "an earlier version")
    if version == __version__:
        return error
    return Unchecked(f"made by alpaca-lora {version}, and {__version__} decides otherwise ({error})")


def _require(settings: Mapping[str, Any], contract: Mapping[str, Any]) -> None:
    """Refuse to replay with other seed tasks or requirements than those of then."""
    seeds, requirements = settings.get("seeds"), settings.get("requirements")
    try:
        found = load_seeds(seeds).sha256
        words = None if requirements is None else _files.sha256_of(Path(requirements).expanduser())
    except (OSError, RecordError) as error:
        raise Unchecked(f"seed tasks or requirements are not here any more ({error})") from error
    if found != contract["seeds_sha256"]:
        raise Unchecked(f"the seed tasks {seeds or 'of this version'!r} are not those of then")
    if words not in (None, contract["requirements_sha256"]):
        raise Unchecked(f"the requirements {requirements!r} are not those of then")


def _files_of(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the files that follow from the answers: what ended an unfinished run is in no journal."""
    return (RECORDS, DECISIONS) if summary["status"] == "completed" else (RECORDS,)


def _follow(directory: Path, summary: Mapping[str, Any], result: GenerationResult) -> None:
    """Compare what the answers give with what is stored."""
    for name in _files_of(summary):
        if (directory / name).read_bytes() != (result.output_dir / name).read_bytes():
            raise RunError(f"{name} does not follow from the answers in {JOURNAL}: generate into a new directory")


def _compare_bills(summary: Mapping[str, Any], result: GenerationResult) -> str:
    again = replace(result.summary, priced=summary["priced"]).to_dict()
    apart = _OF_THE_SESSION if summary["status"] == "completed" else (*_OF_THE_SESSION, *_OF_ITS_END)
    stored, found = ({key: value for key, value in one.items() if key not in apart} for one in (summary, again))
    if said := differing(stored, found):
        raise RunError(f"{SUMMARY} does not agree with {JOURNAL}: {said}; generate into a new directory")
    return f"{summary['settled']['tokens']:,} tokens are the sum of the calls, and every count is that of the decisions"
