"""Seed tasks: 175 of our own in the public domain, or a file of the user's."""

from collections import Counter
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from alpaca_lora._paths import expanded
from alpaca_lora.errors import ConfigError
from alpaca_lora.records import Record, read_dataset

__all__ = ["SeedTask", "Seeds", "load_seeds"]

_MARK = "is_classification"


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
        path: any file that `load_records` reads. A task may say `"is_classification": true`, as those of Self-Instruct
            do; where it says nothing, an output of at most three words that several tasks share counts as a label. None
            takes the packaged tasks.

    Raises:
        ConfigError: there are fewer than three.
        RecordError: the file cannot be read.
    """
    packaged = files("alpaca_lora.selfinstruct").joinpath("seeds.jsonl")
    if path is None:
        with as_file(packaged) as file:
            loaded = replace(read_dataset(file, extra_columns=(_MARK,)), name="packaged")
    else:
        loaded = read_dataset(expanded(path), extra_columns=(_MARK,))
    records = loaded.records
    if len(records) < 3:
        raise ConfigError(f"{loaded.name!r} holds {len(records)} seed tasks; give at least 3, better 20 or more")
    shared = Counter(record.output for record in records if len(record.output.split()) <= 3)
    marks = (record.extra.get(_MARK) for record in records)
    tasks = (
        SeedTask(record, mark if isinstance(mark, bool) else shared[record.output] > 1)
        for record, mark in zip(records, marks, strict=True)
    )
    return Seeds(loaded.name, tuple(tasks), loaded.sha256)
