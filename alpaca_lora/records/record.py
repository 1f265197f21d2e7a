"""The data types of this package: a record, what was loaded, and the limits of the reader."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["DEFAULT_LIMITS", "FIELDS", "Limits", "LoadedRecords", "Record", "Row"]

FIELDS = ("instruction", "input", "output")
"""The three fields of a record, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Record:
    """One instruction with its answer."""

    instruction: str
    """What to do."""

    input: str = ""
    """What to do it with; empty where the instruction says everything."""

    output: str = ""
    """The answer that is learned."""

    origin: str = field(default="", compare=False, repr=False)
    """Where it was read, as `data.jsonl:7` or `record 7`; no part of its identity."""

    extra: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What else its row has, of the columns that the reader was asked for; no part of its identity either."""


@dataclass(frozen=True, slots=True)
class LoadedRecords:
    """A dataset that was read without a fault."""

    name: str
    """The source as it was named; for a Hub dataset with the commit that was read."""

    records: tuple[Record, ...]
    """The records in file order."""

    heldout: tuple[Record, ...]
    """Records set aside for evaluation; only the packaged dataset has them."""

    sha256: str
    """Hash of the bytes of one file, of the digests of several, or of records in memory as canonical JSON lines."""

    notes: tuple[str, ...] = ()
    """What a careful person would want to know: chosen columns, skipped lines, duplicates, each with its count."""

    @property
    def count(self) -> int:
        """Return how many records were read."""
        return len(self.records) + len(self.heldout)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one row may cost before it is refused, so that no file exhausts memory or the stack."""

    line_bytes: int = 8 * 2**20
    """Longest line of JSON lines, and longest element of a JSON array, in bytes."""

    field_bytes: int = 2**20
    """Longest text of one field, in bytes of UTF-8."""

    depth: int = 64
    """Deepest nesting of objects and lists in one row."""

    integer_digits: int = 18
    """Most digits of an integer anywhere in a row."""

    unpacked_bytes: int = 4 * 2**30
    """Largest content of a `.gz` file, in bytes."""


DEFAULT_LIMITS = Limits()


class Row(NamedTuple):
    """One row as it was parsed, before anything is known about its columns."""

    line: int
    """Line where it starts, or its number where there are no lines; from 1."""

    fields: Any
    """The parsed value: an object, if the file is in order."""

    origin: str
    """`data.jsonl:7` or `record 7`."""
