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
from alpaca_lora.replication.figures import SESSIONS
from alpaca_lora.replication.findings import Sheet, Sources, Unchecked, read_object
from alpaca_lora.replication.manifest import FORMAT, MANIFEST
from alpaca_lora.replication.recipe import CARD, RECIPE, REPORT
from alpaca_lora.replication.stages import JOINED
from alpaca_lora.selfinstruct.pipeline import RECORDS

__all__ = ["Stages", "check_replication", "read_stages"]

_OF_THE_WHOLE = frozenset({CARD, RECIPE, REPORT, CONTRACT})
_ALLOWED = _OF_THE_WHOLE | {MANIFEST, SEAL, SESSIONS}
_ADAPTER = f"adapter/{WEIGHTS}"

Stages = Mapping[str, Mapping[str, str]]
"""The digests of each stage's files, by its directory."""


def check_replication(directory: Path, sheet: Sheet, check_stage: Callable[[Path, Sheet, Sources], None]) -> None:
    """Check every file, then every stage, then what each was made from.

    Args:
        directory: of the replication.
        sheet: takes what is found.
        check_stage: checks a directory of one stage.
    """
    stages = sheet.read("manifest", lambda: read_stages(directory), lambda found: f"{len(found)} stages")
    if stages is None:
        sheet.skip(("stages",), f"{MANIFEST} cannot be read")
        return
    sheet.check("files of the whole", lambda: _check_root(directory, stages))
    adapter = _adapter_of(directory, stages)
    for name, files in stages.items():
        stage = sheet.of(name)
        if not stage.check("files", partial(_compare_files, directory / name, files, stage)):
            stage.skip(("contents",), "its files are not those that were written")
            adapter = None if _ADAPTER in files else adapter
            continue
        if sources := _sources(name, stages):
            stage.check("made from", partial(_check_source, directory / name, files, sources))
        made_from = Sources(adapter, directory / min(sources.values()) if sources else None)
        for place in _parts(directory / name):
            check_stage(place, sheet.of(place.relative_to(directory).as_posix()), made_from)


def read_stages(directory: Path) -> dict[str, dict[str, str]]:
    """Return the digests of every stage's files, by directory, in the order of the stages.

    Raises:
        RunError: the manifest is damaged, or names a place outside of the replication.
    """
    document = read_object(directory / MANIFEST)
    if document.get("format") != FORMAT:
        raise RunError(f"{MANIFEST} is of format {document.get('format')!r}, and this version knows {FORMAT}")
    stages: dict[str, dict[str, str]] = {}
    try:
        for stage in document["stages"]:
            files = {str(name): str(entry["sha256"]) for name, entry in stage["files"].items()}
            stages[str(stage["dir"])] = files
    except (AttributeError, LookupError, TypeError) as error:
        raise RunError(f"{MANIFEST} is damaged ({type(error).__name__}: {error}): copy it again") from error
    if any(len(PurePosixPath(name).parts) != 1 or name == ".." for name in stages) or not stages:
        raise RunError(f"{MANIFEST} names a stage that is no directory beside it: copy it again")
    return stages


def _check_root(directory: Path, stages: Stages) -> str:
    """Refuse what nobody wrote beside the stages, and a recipe that is another than that of the manifest."""
    there = [name for name in list_files(directory) if PurePosixPath(name).parts[0] not in stages]
    if faults := [f"{name} was added" for name in there if name not in _ALLOWED]:
        raise RunError(f"{faults[0]}: remove it, or copy the replication again")
    if missing := sorted(_OF_THE_WHOLE - set(there)):
        raise RunError(f"{missing[0]} is missing: copy the replication again")
    if read_object(directory / RECIPE) != read_object(directory / MANIFEST)["recipe"]:
        raise RunError(f"{RECIPE} is not the recipe of {MANIFEST}: copy the replication again")
    if SEAL not in there:
        raise Unchecked(f"nothing was added, and {RECIPE} is that of {MANIFEST}; the pages there have no digest")
    sealed = read_seal(directory)
    for name in there:
        if name != SEAL and sealed.get(name) != sha256_of(directory / name):
            raise RunError(f"{name} has changed since it was written: copy the replication again")
    return f"{len(there)} files beside the stages are as they were sealed, and nothing was added"


def _compare_files(directory: Path, files: Mapping[str, str], sheet: Sheet) -> str:
    if directory.is_symlink():
        raise RunError(f"{directory.name} is a link: put a copy of the directory in its place")
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
    return f"{len(there)} files are those of {MANIFEST}"


def _sources(name: str, stages: Stages) -> dict[str, str]:
    """Return what a stage may have been made from, the path by the digest; empty where each part says it of itself."""
    files, earlier = stages[name], list(stages)[: list(stages).index(name)]
    if RESULTS in files:
        return {digests[_ADAPTER]: f"{run}/{_ADAPTER}" for run, digests in _runs_in(stages)}
    if CURATION in files or _ADAPTER in files:
        for stage in reversed(earlier):
            for file in (CURATED, JOINED, RECORDS):
                if file in stages[stage]:
                    return {stages[stage][file]: f"{stage}/{file}"}
    return {files[RECORDS]: f"{name}/{RECORDS}"} if JOINED in files and RECORDS in files else {}


def _check_source(directory: Path, files: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Compare what a stage says that it was made from with what the stage before it holds."""
    if CURATION in files:
        found = read_object(directory / CURATION)["measured"]["data_sha256"]
    elif _ADAPTER in files:
        found = read_object(directory / CONTRACT)["data"]["sha256"]
    elif RESULTS in files:
        found = read_object(directory / RESULTS)["models"][0]["adapter_sha256"]
    else:
        found = files[RECORDS]
        if not (directory / JOINED).read_bytes().startswith((directory / RECORDS).read_bytes()):
            raise RunError(f"{JOINED} does not begin with the records of {RECORDS}: copy the replication again")
    if found not in sources:
        raise RunError(
            f"made from something with SHA-256 {str(found)[:12]}…, and not from {' or '.join(sources.values())}: that "
            "was made anew, and this stage was not; replicate into a new directory"
        )
    return sources[found]


def _runs_in(stages: Stages) -> Iterator[tuple[str, Mapping[str, str]]]:
    return ((name, files) for name, files in stages.items() if _ADAPTER in files)


def _adapter_of(directory: Path, stages: Stages) -> Path | None:
    return next((directory / name / "adapter" for name, _ in _runs_in(stages)), None)


def _parts(directory: Path) -> list[Path]:
    """Return the directories of a stage that can be checked: itself, or those of several exports."""
    return [path.parent for path in sorted(directory.glob("*/parity.json"))] or [directory]
