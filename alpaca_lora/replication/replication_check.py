"""Whether a replication is complete, each stage what it claims to be, and each made from the one before."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from alpaca_lora._files import sha256_of
from alpaca_lora._runs import CONTRACT
from alpaca_lora._seals import SEAL, list_files, read_seal
from alpaca_lora.adapters.sidecar import WEIGHTS
from alpaca_lora.curation.ledger import CONTRACT as CURATION
from alpaca_lora.curation.outputs import CURATED
from alpaca_lora.errors import RunError
from alpaca_lora.replication.evaluation_check import RESULTS
from alpaca_lora.replication.findings import Sheet, Unchecked, read_object
from alpaca_lora.selfinstruct.pipeline import RECORDS

__all__ = ["REPLICATION", "Stages", "check_replication", "read_stages"]

REPLICATION = "replication.json"
_JOINED, _RECIPE = "joined.jsonl", "recipe.json"
_FORMAT = 1
_OF_THE_WHOLE = frozenset({"README.md", _RECIPE, "report.html", CONTRACT})
_ALLOWED = _OF_THE_WHOLE | {REPLICATION, SEAL, "sessions.jsonl"}
_ADAPTER = f"adapter/{WEIGHTS}"

Stages = Mapping[str, Mapping[str, str]]
"""The digests of each stage's files, by its directory."""


def check_replication(directory: Path, sheet: Sheet, check_stage: Callable[[Path, Sheet, Path | None], None]) -> None:
    """Check every file, then every stage, then what each was made from.

    Args:
        directory: of the replication.
        sheet: takes what is found.
        check_stage: checks a directory of one stage; gets the adapter of the run where there is one.
    """
    stages = sheet.read("manifest", lambda: read_stages(directory), lambda found: f"{len(found)} stages")
    if stages is None:
        sheet.skip(("stages",), f"{REPLICATION} cannot be read")
        return
    sheet.check("files of the whole", lambda: _check_root(directory, stages))
    adapter = _adapter_of(directory, stages)
    for name, files in stages.items():
        stage = sheet.of(name)
        if not stage.check("files", partial(_compare_files, directory / name, files, stage)):
            stage.skip(("contents",), "its files are not those that were written")
            continue
        stage.check("made from", partial(_check_source, name, stages, directory))
        for place in _parts(directory / name):
            part = place.relative_to(directory).as_posix()
            check_stage(place, sheet.of(part), adapter)


def read_stages(directory: Path) -> dict[str, dict[str, str]]:
    """Return the digests of every stage's files, by directory, in the order of the stages.

    Raises:
        RunError: the manifest is damaged, or names a place outside of the replication.
    """
    document = read_object(directory / REPLICATION)
    if document.get("format") != _FORMAT:
        raise RunError(f"{REPLICATION} is of format {document.get('format')!r}, and this version knows {_FORMAT}")
    stages: dict[str, dict[str, str]] = {}
    try:
        for stage in document["stages"]:
            files = {str(name): str(entry["sha256"]) for name, entry in stage["files"].items()}
            stages[str(stage["dir"])] = files
    except (AttributeError, LookupError, TypeError) as error:
        raise RunError(f"{REPLICATION} is damaged ({type(error).__name__}: {error}): copy it again") from error
    if any(len(PurePosixPath(name).parts) != 1 or name == ".." for name in stages) or not stages:
        raise RunError(f"{REPLICATION} names a stage that is no directory beside it: copy it again")
    return stages


def _check_root(directory: Path, stages: Stages) -> str:
    """Refuse what nobody wrote beside the stages, and a recipe that is another than that of the manifest."""
    there = [name for name in list_files(directory) if PurePosixPath(name).parts[0] not in stages]
    if faults := [f"{name} was added" for name in there if name not in _ALLOWED]:
        raise RunError(f"{faults[0]}: remove it, or copy the replication again")
    if missing := sorted(_OF_THE_WHOLE - set(there)):
        raise RunError(f"{missing[0]} is missing: copy the replication again")
    if read_object(directory / _RECIPE) != read_object(directory / REPLICATION)["recipe"]:
        raise RunError(f"{_RECIPE} is not the recipe of {REPLICATION}: copy the replication again")
    if SEAL not in there:
        raise Unchecked(f"nothing was added, and {_RECIPE} is that of {REPLICATION}; the pages there have no digest")
    sealed = read_seal(directory)
    for name in there:
        if name != SEAL and sealed.get(name) != sha256_of(directory / name):
            raise RunError(f"{name} has changed since it was written: copy the replication again")
    return f"{len(there)} files beside the stages are as they were sealed, and nothing was added"


def _compare_files(directory: Path, files: Mapping[str, str], sheet: Sheet) -> str:
    there = list_files(directory)
    faults = [f"{name} is missing" for name in sorted(files.keys() - set(there))]
    for done, name in enumerate(there, start=1):
        if name not in files:
            faults.append(f"{name} was added")
        elif sha256_of(directory / name) != files[name]:
            faults.append(f"{name} has changed since it was written")
        sheet.display.advance(done, len(there))
    if faults:
        raise RunError(f"{faults[0]}{f' ({len(faults) - 1} more)' if faults[1:] else ''}: copy the replication again")
    return f"{len(there)} files are those of {REPLICATION}"


def _check_source(name: str, stages: Stages, directory: Path) -> str:
    """Compare what a stage says that it was made from with what the stage before it holds."""
    place, files = directory / name, stages[name]
    if CURATION in files:
        found = read_object(place / CURATION)["measured"]["data_sha256"]
        return _same(found, _rows_before(name, stages), "the records")
    if _ADAPTER in files:
        return _same(read_object(place / CONTRACT)["data"]["sha256"], _rows_before(name, stages), "the training data")
    if RESULTS in files:
        found = read_object(place / RESULTS)["models"][0]["adapter_sha256"]
        return _same(
            found, {digests[_ADAPTER]: f"{run}/{_ADAPTER}" for run, digests in _runs_in(stages)}, "the adapter"
        )
    if _JOINED in files and not (place / _JOINED).read_bytes().startswith((place / RECORDS).read_bytes()):
        raise RunError(f"{_JOINED} does not begin with the records of {RECORDS}: copy the replication again")
    raise Unchecked("it has no stage before it" if RECORDS in files else "each part says it of itself")


def _same(found: str, wanted: Mapping[str, str], what: str) -> str:
    if not wanted:
        raise Unchecked(f"{what} come from outside, SHA-256 {found[:12]}…")
    if found not in wanted:
        raise RunError(
            f"{what} that it was made from, SHA-256 {found[:12]}…, are not {' or '.join(wanted.values())}: a stage was "
            "made anew without those after it"
        )
    return f"{what} are {wanted[found]}"


def _rows_before(name: str, stages: Stages) -> dict[str, str]:
    """Return the records that a stage may have been made from, the path by the digest."""
    for earlier in reversed(list(stages)[: list(stages).index(name)]):
        for file in (CURATED, _JOINED, RECORDS):
            if file in stages[earlier]:
                return {stages[earlier][file]: f"{earlier}/{file}"}
    return {}


def _runs_in(stages: Stages) -> Iterator[tuple[str, Mapping[str, str]]]:
    return ((name, files) for name, files in stages.items() if _ADAPTER in files)


def _adapter_of(directory: Path, stages: Stages) -> Path | None:
    return next((directory / name / "adapter" for name, _ in _runs_in(stages)), None)


def _parts(directory: Path) -> list[Path]:
    """Return the directories of a stage that can be checked: itself, or those of several exports."""
    return [path.parent for path in sorted(directory.glob("*/parity.json"))] or [directory]
