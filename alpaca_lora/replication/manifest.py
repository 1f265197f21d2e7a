"""`replication.json`: what was asked for, every file that came of it with its SHA-256, and on what it was made.

It is written last, so a directory that has it holds a whole replication. Every file of a stage is in it, but for hidden
ones. Of some it says `repeats`: on the same kind of machine the same recipe gives the same bytes again, in whatever
directory, and however often it was interrupted. The others may hold times, paths, or an order that is left to chance.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from alpaca_lora import _files, _runs
from alpaca_lora._version import __version__
from alpaca_lora.replication.stages import Work

__all__ = ["FORMAT", "MANIFEST", "TOLERANCES", "describe_files", "repeats", "write_manifest"]

MANIFEST = "replication.json"
FORMAT = 1

TOLERANCES = {
    "loss_nats": 0.01,
    "share": 0.05,
}
"""How far a figure may be off where it is computed again on another kind of machine: a loss in nats per token, and a
share of rows, as the stop rate. On the same kind the bytes are equal."""

_REPEATING = {
    "generate": ("records.jsonl", "joined.jsonl", "decisions.jsonl"),
    "curate": (
        "curated.jsonl",
        "dropped.jsonl",
        "ledger.jsonl",
        "statistics.json",
        "findings.sarif",
        "datasheet.md",
        "report.html",
        "*.svg",
    ),
    "finetune": ("adapter/*",),
    "evaluate": ("results.json", "rows.jsonl", "outputs/*"),
    "export": ("*/*",),
}
"""The files that repeat, by stage; `*` stands for one name."""


def repeats(stage: str, path: str) -> bool:
    """Tell whether a file, by its path in the directory of its stage, has the same bytes in every replication."""
    file = PurePosixPath(path)
    return any(
        len(file.parts) == len(PurePosixPath(pattern).parts) and file.match(pattern) for pattern in _REPEATING[stage]
    )


def describe_files(stage: str, directory: Path) -> dict[str, dict[str, Any]]:
    """Return digest and size of each file of a stage, by its path in there; hidden ones are the library's own notes."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            found[name.as_posix()] = {
                "sha256": _files.sha256_of(path),
                "bytes": path.stat().st_size,
                "repeats": repeats(stage, name.as_posix()),
            }
    return found


def write_manifest(work: Work) -> Path:
    """Write `replication.json` for stages that are all finished, and return its path."""
    stages = [
        {
            "name": stage,
            "dir": work.directory(stage).name,
            "files": describe_files(stage, work.directory(stage)),
        }
        for stage in work.recipe.stages
    ]
    path = work.root / MANIFEST
    _files.write_json(
        path,
        {
            "format": FORMAT,
            "recipe": work.recipe.to_json(),
            "stages": stages,
            "environment": {_runs.LIBRARY: __version__, **_runs.environment()},
            "tolerances": TOLERANCES,
        },
    )
    return path
