"""Checkpoints that are there whole or not at all, and the choice of the one to go on from.

A checkpoint is written into a hidden directory, hashed, flushed and renamed; `MANIFEST.json` names its run, its step
and every file with size and SHA-256. Resuming takes the newest one that still agrees with its manifest, so a crash
while saving costs no more than the steps since the checkpoint before. What does not agree is put into `quarantine/`
with the reason; only checkpoints that carry this run's id are ever deleted.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora._exhaustion import require_space
from alpaca_lora._paths import expanded
from alpaca_lora._runs import run_id_of
from alpaca_lora.errors import DiskFullError, RunError

MANIFEST = "MANIFEST.json"
STATE = "trainer_state.json"
_REQUIRED = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "scheduler.pt", STATE)
_NAME = re.compile(r"checkpoint-([0-9]+)")


@dataclass(frozen=True)
class Choice:
    """Where to go on from."""

    checkpoint: Path | None
    """The newest checkpoint that verifies; None to start afresh."""

    skipped: tuple[str, ...]
    """One sentence for each newer checkpoint that cannot be used."""


def write_manifest(directory: Path, step: int, run_id: str, processes: int = 1) -> None:
    """Write the manifest of a checkpoint's files.

    A pickle of all arguments is dropped first: it may hold a token, and nothing reads it. Numbers that JSON does not
    know become null.

    Args:
        directory: where the checkpoint is being made.
        step: optimizer steps done.
        run_id: the run that it belongs to.
        processes: how many trained together; each has a random state of its own.
    """
    (directory / "training_args.bin").unlink(missing_ok=True)
    state = json.loads((directory / STATE).read_text(encoding="utf-8"), parse_constant=lambda _: None)
    state["best_model_checkpoint"] = None  # the path of the staging directory; best_global_step says it too
    _files.write_json(directory / STATE, state)
    files = {
        path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": _files.sha256_of(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    _files.write_json(directory / MANIFEST, {"run": run_id, "step": step, "processes": processes, "files": files})


def fault_of(directory: Path, run_id: str | None = None) -> str | None:
    """Return why a checkpoint cannot be used, or None if it agrees with its manifest.

    Args:
        directory: the checkpoint.
        run_id: the run that it must belong to; None for any.
    """
    try:
        manifest = _read_manifest(directory)
        for name in {*_REQUIRED, *_random_states(manifest["processes"]), *manifest["files"]}:
            expected = manifest["files"].get(name)
            path = directory / name
            if expected is None or not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["bytes"] or _files.sha256_of(path) != expected["sha256"]:
                return f"{name} has changed since it was written"
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        return f"its {MANIFEST} is missing or damaged ({type(error).__name__})"
    if directory.name != f"checkpoint-{manifest['step']}":
        return f"its {MANIFEST} says step {manifest['step']}"
    if run_id is not None and manifest["run"] != run_id:
        return "it belongs to another run"
    return None


def _random_states(processes: int) -> list[str]:
    """Return the names that the Trainer gives to the states of chance."""
    return [f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else ["rng_state.pth"]


def _read_manifest(directory: Path) -> dict[str, Any]:
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or not isinstance(manifest["files"], dict):
        raise ValueError("an object with files is expected")
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in manifest["files"]):
        raise ValueError("a file outside of the checkpoint")
    processes = manifest.get("processes", 1)
    if not isinstance(processes, int) or processes > len(manifest["files"]):
        raise ValueError("a file of each process is expected")
    return {"run": manifest["run"], "step": manifest["step"], "processes": processes, "files": manifest["files"]}


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return the run's checkpoints, newest first; directories of other names are left out."""
    found = [
        (int(match[1]), path)
        for path in run_dir.glob("checkpoint-*")
        if (match := _NAME.fullmatch(path.name)) and path.is_dir()
    ]
    return [path for _, path in sorted(found, reverse=True)]


def choose_checkpoint(run_dir: Path, resume: str) -> Choice:
    """Decide where to go on from, and move what was ours and is damaged into `quarantine/`.

    Args:
        run_dir: the run's directory.
        resume: `auto` takes the newest checkpoint that verifies, `never` none, a path that one.

    Raises:
        RunError: the named checkpoint is another run's or does not verify.
    """
    if resume == "never":
        return Choice(None, ())
    path = expanded(resume).resolve()
    if resume != "auto" and path.parent != run_dir.resolve():
        raise RunError(f"{resume!r} is no checkpoint of {str(run_dir)!r}: copy the whole run to go on from it")
    run_id = run_id_of(run_dir)
    if resume != "auto":
        if fault := fault_of(path, run_id):
            raise RunError(f"cannot resume from {str(path)!r}: {fault}; resume='auto' takes the newest that verifies")
        return Choice(path, ())
    choice = newest_of(list_checkpoints(run_dir), run_id)
    if choice.checkpoint is None and choice.skipped:
        said = "no checkpoint verified, so training began anew; nothing was deleted"
        return Choice(None, (*choice.skipped, said))
    return choice


def newest_of(checkpoints: Iterable[Path], run_id: str) -> Choice:
    """Return the first checkpoint that verifies, and move those before it that were ours into `quarantine/`.

    Args:
        checkpoints: of one run, newest first.
        run_id: the run's id.
    """
    skipped: list[str] = []
    for path in checkpoints:
        fault = fault_of(path, run_id)
        if fault is None:
            return Choice(path, tuple(skipped))
        skipped.append(f"skipped {path.name}: {fault}{_put_aside(path, fault)}")
    return Choice(None, tuple(skipped))


def _put_aside(path: Path, fault: str) -> str:
    """Move a damaged checkpoint out of the way; one without our manifest is somebody's own, and stays."""
    if not (path / MANIFEST).exists() or "another run" in fault:
        return ""
    return f"; it is now {_files.set_aside(path, fault).relative_to(path.parent)}"


def make_room(run_dir: Path, step: int, run_id: str) -> bool:
    """Tell whether the checkpoint of a step has yet to be written, and free its name of anything else.

    Whatever stands there and does not verify is moved into `quarantine/`, also if it is not ours.
    """
    final = run_dir / f"checkpoint-{step}"
    fault = fault_of(final, run_id)
    if fault and (final.exists() or final.is_symlink()):
        _files.set_aside(final, fault)
    return fault is not None


def rotate(run_dir: Path, keep: int, best_step: int | None, run_id: str) -> None:
    """Delete all but the newest `keep` checkpoints and the best one; only those that carry this run's id are touched.

    Args:
        run_dir: the run's directory.
        keep: how many stay.
        best_step: step of one that stays in any case; None where there is none.
        run_id: the run's id.
    """
    for path in [path for path in list_checkpoints(run_dir) if _belongs(path, run_id)][keep:]:
        if path.name != f"checkpoint-{best_step}":
            _files.remove_directory(path)


def _belongs(path: Path, run_id: str) -> bool:
    try:
        return bool(_read_manifest(path)["run"] == run_id) and not path.is_symlink()
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def size_of(directory: Path) -> int:
    """Return the bytes of a checkpoint's files."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def rotate_if_full(run_dir: Path, needed_bytes: int, best_step: int | None, run_id: str) -> None:
    """Let go of all checkpoints but the newest and the best, where there is no other room for the next one.

    Raises:
        DiskFullError: that was not enough.
    """
    try:
        require_space(run_dir, needed_bytes)
    except DiskFullError:
        rotate(run_dir, 1, best_step, run_id)
        require_space(run_dir, needed_bytes)
