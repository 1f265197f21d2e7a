"""What records of a batch have in common at their beginning is computed once.

Records of one template begin with the same tokens: a preamble, a system prompt. Attention is causal, so what the model
makes of those tokens is the same in each of them, and as nothing is learned there, the only difference between
computing them once and computing them in each record is in how their gradients are summed. Of eight of Alpaca's records
that is 9 % of the tokens; of short answers under a long system prompt, most of them.

A record that shares its beginning keeps its other tokens only, and attends to the keys and values of the shared ones
before its own; a shared beginning may continue a shorter one that more records share. Where a token's value depends on
the record that it is in, there is nothing to share: dropout of adapters and noise on embeddings are drawn for each.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

_LEAST_TOKENS, _MULTIPLE = 16, 8
"""Fewer tokens in common are not shared, and others up to such a multiple, so that few sizes of products come of it."""


class Segments(NamedTuple):
    """Tokens of a batch in the order in which they are computed."""

    tokens: Sequence[int]
    """Which tokens, by their place in the batch: shared beginnings first, then what is left of each record."""

    bounds: list[int]
    """Where segments begin among them, and where the last one ends."""

    prefixes: list[list[int]]
    """For each segment, the places among them of the tokens that it continues; none where it begins a record."""

    def followed_by(self, padding: int) -> "Segments":
        """Return them with one more of so many tokens, which are in no record."""
        return Segments(self.tokens, [*self.bounds, self.bounds[-1] + padding], [*self.prefixes, []])


def unshared(bounds: Sequence[int]) -> Segments:
    """Return records as they are."""
    return Segments(range(bounds[-1]), [*bounds], [[]] * (len(bounds) - 1))


def share_prefixes(ids_N: list[int], learned_N: Sequence[bool], bounds: Sequence[int]) -> Segments:
    """Find what records have in common.

    Args:
        ids_N: tokens of all records, one after the other.
        learned_N: whether what follows a token is learned; up to the first of these a record can be shared.
        bounds: where records begin, ascending from 0, and N at the end.
    """
    records = [range(start, stop) for start, stop in pairwise(bounds)]
    heads = [ids_N[record.start : _first(learned_N, record)] for record in records]
    tokens: list[int] = []
    edges, prefixes = [0], []
    shared: list[list[int]] = [[]] * len(records)
    for members, length in _groups(heads):
        before = shared[members[0]]
        tokens += records[members[0]][len(before) : length]
        prefixes.append(before)
        for member in members:
            shared[member] = [*before, *range(edges[-1], len(tokens))]
        edges.append(len(tokens))
    for record, before in zip(records, shared, strict=True):
        tokens += record[len(before) :]
        edges.append(len(tokens))
    return Segments(tokens, edges, prefixes + shared)


def _first(learned_N: Sequence[bool], record: range) -> int:
    """Return the first token of a record after which something is learned, or else its last."""
    return next((place for place in record if learned_N[place]), record.stop - 1)


def _groups(heads: Sequence[list[int]]) -> Iterator[tuple[list[int], int]]:
    """Yield which heads have a beginning in common, and its length: larger groups before those within them."""
    order = sorted(range(len(heads)), key=heads.__getitem__)
    common = [_common(heads[left], heads[right]) for left, right in pairwise(order)]
    waiting = [(0, len(order), 0)]
    while waiting:
        first, end, length = waiting.pop()
        edges = [place + 1 for place in range(first, end - 1) if common[place] < length + _LEAST_TOKENS]
        for start, stop in pairwise((first, *edges, end)):
            if stop - start > 1:
                longer = min(common[start : stop - 1]) // _MULTIPLE * _MULTIPLE
                yield order[start:stop], longer
                waiting.append((start, stop, longer))


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))
