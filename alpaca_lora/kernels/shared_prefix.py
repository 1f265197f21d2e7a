"""What records of a batch have in common at their beginning is computed once.

Records of one template begin with the same tokens: a preamble, a system prompt. Attention is causal, so what the model
makes of those tokens is the same in each of them, and as nothing is learned there, the only difference between
computing them once and computing them in each record is in which order their gradients are summed. Of Alpaca's records
that is a tenth of all tokens; of short answers under a long system prompt, most of them.

A record that shares its beginning keeps its other tokens only, and attends to the keys and values of the shared ones
before its own. Where a token's value depends on the record that it is in, there is nothing to share: dropout of
adapters and noise on embeddings are drawn for each.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_LEAST_TOKENS, _MULTIPLE = 16, 8
"""Shorter beginnings are not shared, and the others up to such a multiple: there are few sizes of products then."""


class Segments(NamedTuple):
    """Tokens of a batch in the order in which they are computed."""

    tokens: list[int]
    """Which tokens, by their place in the batch: shared beginnings first, then what is left of each record."""

    bounds: list[int]
    """Where segments begin among them, and their number at the end."""

    prefixes: list[range]
    """For each segment, the place of the tokens among them that it continues; empty where it begins a record."""


def unshared(bounds: Sequence[int]) -> Segments:
    """Return records as they are."""
    return Segments([*range(bounds[-1])], [*bounds], [range(0)] * (len(bounds) - 1))


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
    edges, prefixes = [0], [range(0)] * len(records)
    for members, length in _groups(heads):
        tokens += records[members[0]][:length]
        for member in members:
            prefixes[member] = range(edges[-1], len(tokens))
        edges.append(len(tokens))
    prefixes = [range(0)] * (len(edges) - 1) + prefixes
    for record, prefix in zip(records, prefixes[-len(records) :], strict=True):
        tokens += record[len(prefix) :]
        edges.append(len(tokens))
    return Segments(tokens, edges, prefixes)


def _first(learned_N: Sequence[bool], record: range) -> int:
    """Return the first token of a record after which something is learned, or else its last."""
    return next((place for place in record if learned_N[place]), record.stop - 1)


def _groups(heads: Sequence[list[int]]) -> list[tuple[list[int], int]]:
    """Return which heads have a beginning in common, and how many tokens of it they share."""
    groups: list[tuple[list[int], int]] = []
    for index in sorted(range(len(heads)), key=heads.__getitem__):
        members, length = groups[-1] if groups else ([], 0)
        common = _common(heads[members[-1]][:length], heads[index]) if members else 0
        if common >= _LEAST_TOKENS:
            groups[-1] = ([*members, index], common)
        else:
            groups.append(([index], len(heads[index])))
    return [(members, length // _MULTIPLE * _MULTIPLE) for members, length in groups if len(members) > 1]


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))
