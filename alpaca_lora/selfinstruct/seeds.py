"""Seed tasks: 175 of our own in the public domain, or a file of the user's."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from alpaca_lora.errors import ConfigError
from alpaca_lora.records import Record, read_dataset

__all__ = ["SeedTask", "Seeds", "load_seeds"]


@dataclass(frozen=True, slots=True)
class SeedTask:
    """One task that is shown to a teacher."""

    record: Record
    classification: bool = False
    """Whether the output is one of a few labels."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seed tasks of a run."""

    name: str
    tasks: tuple[SeedTask, ...]
    sha256: str
    """Of what was read."""


def load_seeds(path: str | Path | None = None) -> Seeds:
    """Return seed tasks.

    Args:
        path: any file that `load_records` reads. In JSON lines a task may say `"is_classification": true`, as those of
            Self-Instruct do; elsewhere an output of at most three words that several tasks share counts as a label.
            None takes the packaged tasks.

    Raises:
        ConfigError: there are fewer than three.
        RecordError: the file cannot be read.
    """
    packaged = files("alpaca_lora.selfinstruct").joinpath("seeds.jsonl")
    if path is None:
        data = packaged.read_bytes()
        rows = [json.loads(line) for line in data.decode("utf-8").splitlines()]
        records = read_dataset(rows).records
        marks: list[bool | None] = [row["is_classification"] for row in rows]
        name, digest = "packaged", hashlib.sha256(data).hexdigest()
    else:
        loaded = read_dataset(Path(path).expanduser())
        records, name, digest = loaded.records, loaded.name, loaded.sha256
        marks = _marks(Path(path).expanduser(), len(records))
    if len(records) < 3:
        raise ConfigError(f"{name!r} holds {len(records)} seed tasks; give at least 3, better 20 or more")
    shared = Counter(record.output for record in records if len(record.output.split()) <= 3)
    tasks = (
        SeedTask(record, shared[record.output] > 1 if mark is None else mark)
        for record, mark in zip(records, marks, strict=True)
    )
    return Seeds(name, tuple(tasks), digest)


def _marks(path: Path, count: int) -> list[bool | None]:
    """Return what each task says about being a classification, None where it says nothing."""
    if path.suffix != ".jsonl":
        return [None] * count
    marks: list[bool | None] = []
    for line in path.read_text(encoding="utf-8-sig").split("\n"):  # and not at the separators inside a text
        if line.strip():
            row = json.loads(line)
            mark = row.get("is_classification")
            instances = row.get("instances")
            marks += [mark if isinstance(mark, bool) else None] * (len(instances) if isinstance(instances, list) else 1)
    return marks if len(marks) == count else [None] * count
