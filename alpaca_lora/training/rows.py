"""Encoded rows as a few flat arrays: a token costs four bytes, and a million rows are no Python objects."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

import numpy as np

from alpaca_lora.models import IGNORED
from alpaca_lora.training.encoding import EncodedRow, Rejection

Integers: TypeAlias = np.ndarray[tuple[int], np.dtype[np.signedinteger]]


@dataclass(frozen=True, eq=False)
class EncodedRows(Sequence[EncodedRow]):
    """A sequence of `EncodedRow` that makes each one when it is asked for.

    Labels are not stored: they are the ids, behind as many -100 as the row has masked ids at its start.
    """

    ids: Integers
    """The ids of all rows, one row after the other."""

    starts: Integers
    """Where each row begins in `ids`, and at the end where the last one ends."""

    masked: Integers
    """How many ids at the start of each row are not learned."""

    cut: Integers
    """How many tokens each row lost to fit."""

    origins: Sequence[str]
    """Where each row's record came from."""

    @property
    def lengths(self) -> Integers:
        """Tokens of each row."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.origins)

    def __iter__(self) -> Iterator[EncodedRow]:
        return map(self._row, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> EncodedRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedRow]: ...
    def __getitem__(self, index: int | slice) -> EncodedRow | list[EncodedRow]:
        """Return one row, or a list of them."""
        picked = range(len(self))[index]
        return self._row(picked) if isinstance(picked, int) else [self._row(place) for place in picked]

    def _row(self, index: int) -> EncodedRow:
        ids = tuple(self.ids[self.starts[index] : self.starts[index + 1]].tolist())
        masked = int(self.masked[index])
        labels = (IGNORED,) * masked + ids[masked:]
        return EncodedRow(ids, labels, self.origins[index], int(self.cut[index]))


def gather_rows(outcomes: Iterable[EncodedRow | Rejection]) -> tuple[EncodedRows, list[Rejection]]:
    """Collect what `encode_records` yields, as it comes."""
    ids, starts, masked, cut = array("i"), array("q", [0]), array("i"), array("i")
    origins: list[str] = []
    rejected: list[Rejection] = []
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            rejected.append(outcome)
            continue
        ids.extend(outcome.input_ids)
        starts.append(len(ids))
        masked.append(outcome.labels.count(IGNORED))
        cut.append(outcome.cut_tokens)
        origins.append(outcome.origin)
    flat, borders, hidden, lost = (np.asarray(values) for values in (ids, starts, masked, cut))
    return EncodedRows(flat, borders, hidden, lost, origins), rejected
