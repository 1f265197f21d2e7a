"""Records to the rows that the trainer takes: split, encode, pack, and account for every record."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import EncodingError
from alpaca_lora.models import IGNORED
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record
from alpaca_lora.training.encoding import EncodedRow, Rejection, encode_records
from alpaca_lora.training.packing import pack_lengths
from alpaca_lora.training.progress import Progress
from alpaca_lora.training.row_cache import RowCache
from alpaca_lora.training.rows import EncodedRows, gather_rows

_FEW = 1000
"""Records that are encoded in a moment: only where there are more is progress shown and the result kept."""

_GROUP_BATCHES = 50
"""Batches whose rows are sorted by length together; fifty are what transformers takes."""

Rows: TypeAlias = Dataset
"""Rows as the trainer takes them."""


@dataclass(frozen=True)
class DataReport:
    """What became of the records."""

    read: int
    """Records in the source, the held-out set included."""

    trained: int
    """Records that are trained on."""

    heldout: int
    """Records that are only scored."""

    rejected: tuple[Rejection, ...]
    """Records that are neither, with the reason."""

    shortened: tuple[Rejection, ...]
    """Records that are trained on, but lost tokens to fit."""

    rows: int
    """Sequences that the trainer sees in one epoch; fewer than records when packed."""

    tokens: int
    """Tokens of one epoch, without padding."""

    supervised_tokens: int
    """Those of them that are learned."""

    quantiles: dict[float, int]
    """Length in tokens that this share of the training records does not exceed, as {0.5: 96, 1.0: 503}."""

    @property
    def reasons(self) -> dict[str, int]:
        """Return how many records were rejected for each reason."""
        return dict(Counter(rejection.reason for rejection in self.rejected))


@dataclass(frozen=True)
class Split:
    """Records by what they are used for."""

    train: list[Record]
    heldout: list[Record]
    aside: list[Rejection]
    """Records that are neither: a held-out one asks the same, or the data holds them out and the settings do not."""


def split_records(records: Sequence[Record], heldout: Sequence[Record], count: int, seed: int) -> Split:
    """Divide records into those to learn from and those to score on, so that no question is in both.

    Args:
        records: all records that may be trained on.
        heldout: a fixed held-out set, which then is the result; empty to draw one.
        count: how many to draw.
        seed: decides which.
    """
    if not heldout:
        drawn = set(random.Random(seed).sample(range(len(records)), count))  # noqa: S311
        heldout = [record for index, record in enumerate(records) if index in drawn]
        records = [record for index, record in enumerate(records) if index not in drawn]
    known = {(record.instruction, record.input) for record in heldout}
    train = [record for record in records if (record.instruction, record.input) not in known]
    leaked = [record for record in records if (record.instruction, record.input) in known]
    return Split(
        train, list(heldout), [Rejection(record.origin, "asks the same as a held-out record", 0) for record in leaked]
    )


def encode_split(
    records: Sequence[Record],
    prompter: Prompter,
    tokenizer: PreTrainedTokenizerBase,
    config: FinetuneConfig,
    *,
    scored: bool = False,
    cache: RowCache | None = None,
    display: Progress | None = None,
) -> tuple[EncodedRows, list[Rejection]]:
    """Encode the records of one split, or take them from the cache.

    Args:
        records: the split.
        prompter: renders prompt and answer.
        tokenizer: the base model's.
        config: max_length, overlong and train_on_prompt count.
        scored: held-out rows, whose loss is always that of the answer alone.
        cache: that of this prompter and tokenizer; None encodes always and keeps nothing.
        display: shows how far it is, where there is much to do.

    Raises:
        EncodingError: overlong is `error` and rows do not fit, or no row is left.
    """
    max_length, overlong, learn_all = config.max_length, config.overlong, config.train_on_prompt and not scored
    outcomes = encode_records(
        records, prompter, tokenizer, max_length=max_length, overlong=overlong, train_on_prompt=learn_all
    )
    if len(records) <= _FEW:
        cache = display = None
    key = cache.key(records, (max_length, overlong, learn_all)) if cache else ""
    encoded = cache.read(key) if cache else None
    if display:
        kept = encoded is not None
        display.stage(
            f"taking {len(records):,} encoded records from the cache" if kept else f"encoding {len(records):,} records"
        )
    if encoded is None:
        encoded = gather_rows(_counted(outcomes, len(records), display))
        if cache:
            cache.write(key, encoded)
    _check_fit(*encoded, config, needed=not scored)
    return encoded


def _counted(
    outcomes: Iterator[EncodedRow | Rejection], total: int, display: Progress | None
) -> Iterator[EncodedRow | Rejection]:
    for done, outcome in enumerate(outcomes, start=1):
        yield outcome
        if display and done % _FEW == 0:
            display.advance(done, total)


def _check_fit(rows: EncodedRows, rejected: Sequence[Rejection], config: FinetuneConfig, *, needed: bool) -> None:
    """Refuse a split of which nothing fits, or too little."""
    if rejected and (config.overlong == "error" or (needed and not rows)):
        longest = max(rejection.tokens for rejection in rejected)
        shown = "; ".join(f"{item.origin}: {item.reason}" for item in rejected[:20])
        what = "no record can be trained on" if needed and not rows else f"{len(rejected)} records do not fit"
        instead = "" if config.overlong == "truncate_output" else "; overlong='truncate_output' would shorten answers"
        raise EncodingError(
            f"{what} at max_length {config.max_length}: {shown}. The longest needs max_length {longest}{instead}"
        )


def build_dataset(rows: EncodedRows, *, packed_length: int | None) -> Rows:
    """Return rows for the trainer: `input_ids`, `labels`, `position_ids`, which restart at each record, and `records`.

    The last says which of the encoded records are in a row, so that a fault can be traced to them.

    They are Arrow arrays from the start, since trl takes nothing but a `datasets.Dataset`.

    Args:
        rows: the encoded records.
        packed_length: most tokens of a row that holds several records; None makes a row of each record.
    """
    order, sizes = np.arange(len(rows)), np.ones(len(rows), dtype=np.int64)
    if packed_length is not None:
        groups = pack_lengths(rows.lengths.tolist(), packed_length)
        order = np.array([index for group in groups for index in group])
        sizes = np.array([len(group) for group in groups])
    lengths = rows.lengths[order]
    ends = np.concatenate(([0], lengths.cumsum()))
    spans = zip(rows.starts[order].tolist(), lengths.tolist(), strict=True)
    ids = np.concatenate([rows.ids[start : start + length] for start, length in spans])
    positions = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths.tolist()])
    labels = np.where(positions < rows.masked[order].repeat(lengths), np.int32(IGNORED), ids)
    borders = pa.array(ends[np.concatenate(([0], sizes.cumsum()))])
    columns = {"input_ids": ids, "labels": labels, "position_ids": positions}
    lists = {name: pa.LargeListArray.from_arrays(borders, pa.array(values)) for name, values in columns.items()}
    lists["records"] = pa.LargeListArray.from_arrays(pa.array(np.concatenate(([0], sizes.cumsum()))), pa.array(order))
    return Dataset(pa.table(lists), fingerprint="rows")  # without one it would hash everything


class LengthGroups(Sampler[int]):
    """An order of rows in which those of one batch are about equally long, so that little is padded.

    The rows are shuffled, cut into groups of fifty batches, and sorted within each; then the batches are shuffled. The
    order follows from seed and epoch alone, so that a resumed run takes up exactly where it was.

    Args:
        rows: what `build_dataset` returned.
        batch_size: rows of an optimizer step.
        seed: decides the order.
    """

    def __init__(self, rows: Rows, batch_size: int, seed: int) -> None:
        offsets = rows.data.column("input_ids").combine_chunks().offsets.to_numpy()
        self.lengths, self.batch_size, self.seed, self.epoch = np.diff(offsets), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the data loader does, at the start of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        draw = np.random.default_rng([self.seed, self.epoch])
        shuffled = draw.permutation(len(self))
        group = self.batch_size * _GROUP_BATCHES
        parts = [shuffled[start : start + group] for start in range(0, len(self), group)]
        order = np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in parts])
        whole = len(self) // self.batch_size * self.batch_size
        batches = draw.permutation(order[:whole].reshape(-1, self.batch_size))
        return iter([*batches.flatten().tolist(), *order[whole:].tolist()])


def report_on(
    *, read: int, train: EncodedRows, heldout: Sequence[EncodedRow], rejected: Sequence[Rejection], rows: int
) -> DataReport:
    """Count what became of the records."""
    lengths = np.sort(train.lengths)
    return DataReport(
        read=read,
        trained=len(train),
        heldout=len(heldout),
        rejected=tuple(rejected),
        shortened=tuple(
            Rejection(row.origin, f"{row.cut_tokens} tokens cut off", len(row.input_ids) + row.cut_tokens)
            for row in (train[int(index)] for index in train.cut.nonzero()[0])
        ),
        rows=rows,
        tokens=int(lengths.sum()),
        supervised_tokens=int(lengths.sum() - train.masked.sum()),
        quantiles={share: int(lengths[math.ceil(len(lengths) * share) - 1]) for share in (0.5, 0.9, 0.99, 1.0)},
    )


@dataclass(frozen=True)
class Collator:
    """Pad rows on the right to one width.

    Packed rows carry positions instead of a mask: a mask beside them would switch the isolation of records off. Their
    padding is one more record, whose labels count nowhere.
    """

    pad_id: int
    packed: bool

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return tensors of shape (rows, longest), and `real_tokens` of shape (rows).

        They are `input_ids`, `labels`, `records`, and `position_ids` or `attention_mask`.
        """
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        gap_BT = torch.arange(int(lengths.max())) - lengths[:, None]

        def padded(name: str, value: int) -> torch.Tensor:
            return pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value)

        batch = {
            "input_ids": padded("input_ids", self.pad_id),
            "labels": padded("labels", IGNORED),
            "real_tokens": lengths,
        }
        if "records" in rows[0]:
            batch["records"] = padded("records", -1)
        if self.packed:
            return batch | {"position_ids": torch.where(gap_BT < 0, padded("position_ids", 0), gap_BT)}
        return batch | {"attention_mask": (gap_BT < 0).long()}
