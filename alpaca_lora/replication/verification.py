"""`verify`: is a directory of this library what it claims to be, untouched, and do its results follow from its inputs?

Nothing is downloaded and nobody is asked. The directory is read and never written to; what is made again is made
elsewhere and removed. What cannot be told here is said with its reason, and never counted as passed.
"""

import shlex
import tempfile
from functools import partial
from pathlib import Path

from alpaca_lora import _files
from alpaca_lora._paths import check_paths, expanded
from alpaca_lora._runs import CONTRACT
from alpaca_lora._seals import SEAL, list_files, read_seal, seal_faults
from alpaca_lora.adapters.saving import CONFIG
from alpaca_lora.curation.ledger import CONTRACT as CURATION
from alpaca_lora.errors import ConfigError, RunError
from alpaca_lora.evaluation.blind import COMPARISON
from alpaca_lora.exports.parity import REPORT
from alpaca_lora.exports.weight_diff import MANIFEST
from alpaca_lora.replication.curation_check import check_curation
from alpaca_lora.replication.determinism import train_again
from alpaca_lora.replication.evaluation_check import check_evaluation, check_judging
from alpaca_lora.replication.export_check import check_export, check_weight_diff
from alpaca_lora.replication.findings import NOWHERE, Sheet, Sources, VerificationResult, read_object
from alpaca_lora.replication.generation_check import check_generation
from alpaca_lora.replication.manifest import MANIFEST as REPLICATION
from alpaca_lora.replication.replication_check import check_replication
from alpaca_lora.replication.run_check import check_adapter_directory, check_run
from alpaca_lora.training.progress import Progress

__all__ = ["verify"]

_MARKS = {
    REPLICATION: "replication",
    CURATION: "curation",
    MANIFEST: "weight difference",
    REPORT: "export",
    CONTRACT: "run",
    CONFIG: "adapter",
}
"""The file that tells what a directory is."""

DAMAGED = "damaged directory"

_KINDS = {"generation": "generation", "evaluation": "evaluation", "judging": "judging", None: "run"}
"""What run.json says of the kind of work; finetune's says nothing."""


def verify(directory: str | Path, *, determinism: bool = False, progress: bool = True) -> VerificationResult:
    """Tell whether a directory is what it claims to be, untouched, and its results follow from what is stored in it.

    Args:
        directory: of a run, generation, curation, evaluation, export or replication, or an adapter.
        determinism: also train a run again, beside it, and compare the bytes of the adapter.
        progress: show on stderr what is being checked.

    Returns:
        A finding for each check: passed, failed, or not checked with the reason.

    Raises:
        RunError: the directory is not there, or nothing that this library wrote.
        ConfigError: determinism is asked of something that was not trained.
    """
    check_paths(directory=directory)
    path = expanded(directory)
    kind = _kind_or_damage(path)
    if determinism and kind not in ("run", "replication", DAMAGED):
        raise ConfigError(f"{str(directory)!r} holds a {kind}, and only a run of finetune can be trained again")
    with Progress(enabled=progress) as display:
        sheet = Sheet(path.resolve().name, display)
        if kind == "replication":
            check_replication(path, sheet, partial(_check_stage, determinism=determinism))
        elif kind != "adapter" and not _check_files(path, sheet):
            sheet.skip(("contents",), "the files are not those that were written")
        elif kind == DAMAGED:
            sheet.check("kind", lambda: kind_of(path))
        else:
            _check_contents(path, sheet, kind, determinism=determinism)
    return VerificationResult(directory=path, kind=kind, findings=tuple(sheet.findings))


def _kind_or_damage(directory: Path) -> str:
    """Return what a directory is, or that one which was sealed has lost the file that tells."""
    try:
        return kind_of(directory)
    except RunError:
        if (directory / SEAL).is_file():
            return DAMAGED
        raise


def kind_of(directory: Path) -> str:
    """Return what a directory is.

    Raises:
        RunError: it is nothing of ours.
    """
    if not directory.is_dir():
        raise RunError(f"{str(directory)!r} is no directory: give that of a run, a generation, a curation …")
    mark = next((name for name in _MARKS if (directory / name).is_file()), None)
    if mark is None and (directory / COMPARISON).is_file():
        raise RunError(
            f"{str(directory)!r} is a blind comparison, and those are not sealed: alpaca-lora compare --output-dir "
            f"{shlex.quote(str(directory))} tells whether its pairs are those of its key, and counts the votes again"
        )
    if mark is None:
        held = ", ".join(sorted(item.name for item in directory.iterdir())[:3]) or "nothing"
        raise RunError(
            f"{str(directory)!r} is nothing that alpaca-lora wrote (it holds {held}): give the directory of a run, a "
            "generation, a curation, an evaluation, an export or a replication"
        )
    if mark != CONTRACT:
        return _MARKS[mark]
    kind = read_object(directory / CONTRACT).get("kind")
    if kind == "replication":
        raise RunError(f"the replication in {str(directory)!r} has not ended: finish it with the same command")
    if not isinstance(kind, str | None) or kind not in _KINDS:
        raise RunError(f"{str(directory / CONTRACT)!r} is of the kind {kind!r}, which this version does not know")
    return _KINDS[kind]


def _check_files(directory: Path, sheet: Sheet) -> bool:
    """Compare every file with the seal; return whether it makes sense to look into them."""
    there: list[str] = []

    def compare() -> str:
        there.extend(list_files(directory))
        return _compare_seal(directory, sheet) if SEAL in there else _miss_seal()

    return sheet.check("files", compare) or bool(there and SEAL not in there)


def _compare_seal(directory: Path, sheet: Sheet) -> str:
    sealed = read_seal(directory)
    faults = list(seal_faults(directory, sealed, sheet.display.advance))
    if faults:
        raise RunError(f"{faults[0]}{f' ({len(faults) - 1} more)' if faults[1:] else ''}: copy the directory again")
    return f"{len(sealed)} files are as they were sealed"


def _miss_seal() -> str:
    raise RunError(
        f"{SEAL} is missing, so nothing tells whether a byte has changed: the work has not ended, was done by an "
        "earlier version, or the file was removed; finish it with the same command, or copy the directory again"
    )


def _check_stage(directory: Path, sheet: Sheet, made_from: Sources, *, determinism: bool) -> None:
    """Check a stage of a replication, or a part of one."""

    def find_kind() -> str:
        kind = kind_of(directory)
        if kind == "replication":
            raise RunError(f"{REPLICATION} is within a stage: copy the replication again")
        return kind

    kind = sheet.read("kind", find_kind, str)
    if kind is not None:
        _check_contents(directory, sheet, kind, made_from, determinism=determinism)


def _check_contents(
    directory: Path, sheet: Sheet, kind: str, made_from: Sources = NOWHERE, *, determinism: bool
) -> None:
    """Check what the directory of one stage says, by its kind."""
    with _files.scratch_directory(Path(tempfile.gettempdir())) as scratch:
        checks = {
            "run": lambda: check_run(directory, sheet, made_from.data),
            "generation": lambda: check_generation(directory, sheet, scratch),
            "curation": lambda: check_curation(directory, sheet, scratch),
            "evaluation": lambda: check_evaluation(directory, sheet, scratch),
            "judging": lambda: check_judging(directory, sheet, scratch),
            "export": lambda: check_export(directory, sheet, made_from.adapter),
            "weight difference": lambda: check_weight_diff(directory, sheet),
            "adapter": lambda: check_adapter_directory(directory, sheet),
        }
        checks[kind]()
    if kind == "run" and determinism:
        train_again(directory, sheet, made_from.data)
