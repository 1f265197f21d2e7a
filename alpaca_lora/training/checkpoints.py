"""Checkpoints that are there whole or not at all, and the choice of the one to go on from.

A checkpoint is written into a hidden directory, hashed, and renamed; `MANIFEST.json` names every file with its size
and SHA-256. Resuming takes the newest one that still agrees with its manifest, so a crash while saving costs no more
than the steps since the checkpoint before.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from alpaca_lora import _files
from alpaca_lora.errors import RunError

MANIFEST = "MANIFEST.json"
_REQUIRED = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Choice:
    """Where to go on from."""

    checkpoint: Path | None
    """The newest checkpoint that verifies; None to start afresh."""

    skipped: tuple[str, ...]
    """One sentence for each newer checkpoint that does not verify."""


def seal(directory: Path, step: int) -> None:
    """Write the manifest of a checkpoint's files, and drop what must not be stored (a pickle of all arguments)."""
    (directory / "training_args.bin").unlink(missing_ok=True)
    files = {
        path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": _files.sha256_of(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    _files.write_json(directory / MANIFEST, {"step": step, "files": files})


def fault_of(directory: Path) -> str | None:
    """Return why a checkpoint cannot be used, or None if it agrees with its manifest."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        files, step = manifest["files"], manifest["step"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its {MANIFEST} is missing or damaged ({type(error).__name__})"
    if directory.name != f"checkpoint-{step}":
        return f"its {MANIFEST} says step {step}"
    for name in {*_REQUIRED, *files}:
        path = directory / name
        if name not in files or not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != files[name]["bytes"] or _files.sha256_of(path) != files[name]["sha256"]:
            return f"{name} has changed since it was written"
    return None


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return the run's checkpoints, newest first; directories that are not ours are left out."""
    found = [
        (int(match[1]), path)
        for path in run_dir.glob("checkpoint-*")
        if (match := _NAME.fullmatch(path.name)) and path.is_dir()
    ]
    return [path for _, path in sorted(found, reverse=True)]


def choose_checkpoint(run_dir: Path, resume: str) -> Choice:
    """Decide where to go on from.

    Args:
        run_dir: the run's directory.
        resume: `auto` takes the newest checkpoint that verifies, `never` none, a path that one.

    Raises:
        RunError: the named checkpoint is another run's or does not verify, or none of several does.
    """
    if resume == "never":
        return Choice(None, ())
    if resume != "auto":
        path = Path(resume).expanduser().resolve()
        if path.parent != run_dir.resolve():
            raise RunError(f"{resume!r} is no checkpoint of {str(run_dir)!r}: copy the whole run to go on from it")
        if fault := fault_of(path):
            raise RunError(f"cannot resume from {str(path)!r}: {fault}; resume='auto' takes the newest that verifies")
        return Choice(path, ())
    skipped: list[str] = []
    for path in list_checkpoints(run_dir):
        fault = fault_of(path)
        if fault is None:
            return Choice(path, tuple(skipped))
        skipped.append(f"skipped {path.name}: {fault}")
    if skipped:
        raise RunError(
            f"no checkpoint in {str(run_dir)!r} verifies: {'; '.join(skipped)}. Nothing was deleted; "
            "to start over give another output_dir"
        )
    return Choice(None, ())


def rotate(run_dir: Path, keep: int, best_step: int | None) -> None:
    """Delete all but the newest `keep` checkpoints and the best one; only directories with our manifest are touched."""
    ours = [path for path in list_checkpoints(run_dir) if (path / MANIFEST).is_file()]
    for path in ours[keep:]:
        if path.name != f"checkpoint-{best_step}":
            shutil.rmtree(path)
