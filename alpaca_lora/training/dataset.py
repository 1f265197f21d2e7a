"""Records to the rows that the trainer takes: split, encode, pack, and account for every record."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import EncodingError
from alpaca_lora.models import IGNORED
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record
from alpaca_lora.training.encoding import EncodedRow, Rejection, encode_records
from alpaca_lora.training.packing import pack_lengths

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
    leaked: list[Rejection]
    """Records left out of training because a held-out record has the same instruction and input."""


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
) -> tuple[list[EncodedRow], list[Rejection]]:
    """Encode the records of one split.

    Args:
        records: the split.
        prompter: renders prompt and answer.
        tokenizer: the base model's.
        config: max_length, overlong and train_on_prompt count.
        scored: held-out rows, whose loss is always that of the answer alone.

    Raises:
        EncodingError: overlong is `error` and rows do not fit, or no row is left.
    """
    outcomes = list(
        encode_records(
            records,
            prompter,
            tokenizer,
            max_length=config.max_length,
            overlong=config.overlong,
            train_on_prompt=config.train_on_prompt and not scored,
        )
    )
    rows = [outcome for outcome in outcomes if isinstance(outcome, EncodedRow)]
    rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejection)]
    if rejected and (config.overlong == "error" or not (rows or scored)):
        longest = max(rejection.tokens for rejection in rejected)
        shown = "; ".join(f"{item.origin}: {item.reason}" for item in rejected[:20])
        what = "no record can be trained on" if not rows else f"{len(rejected)} records do not fit"
        raise EncodingError(
            f"{what} at max_length {config.max_length}: {shown}. The longest needs max_length {longest}; "
            "overlong='truncate_output' would shorten answers instead"
        )
    return rows, rejected


def build_dataset(rows: Sequence[EncodedRow], *, max_length: int, packed: bool) -> Rows:
    """Return rows for the trainer: `input_ids`, `labels` and `position_ids`, which restart at each record."""
    groups = (
        pack_lengths([len(row.input_ids) for row in rows], max_length) if packed else [[i] for i in range(len(rows))]
    )
    return Dataset.from_list([_join([rows[index] for index in group]) for group in groups])


def report_on(
    *, read: int, train: Sequence[EncodedRow], heldout: Sequence[EncodedRow], rejected: Sequence[Rejection], rows: int
) -> DataReport:
    """Count what became of the records."""
    lengths = sorted(len(row.input_ids) for row in train)
    return DataReport(
        read=read,
        trained=len(train),
        heldout=len(heldout),
        rejected=tuple(rejected),
        shortened=tuple(
            Rejection(row.origin, f"{row.cut_tokens} tokens cut off", len(row.input_ids) + row.cut_tokens)
            for row in train
            if row.cut_tokens
        ),
        rows=rows,
        tokens=sum(lengths),
        supervised_tokens=sum(label != IGNORED for row in train for label in row.labels),
        quantiles={share: lengths[math.ceil(len(lengths) * share) - 1] for share in (0.5, 0.9, 0.99, 1.0)},
    )


def _join(rows: Sequence[EncodedRow]) -> dict[str, list[int]]:
    return {
        "input_ids": [token for row in rows for token in row.input_ids],
        "labels": [label for row in rows for label in row.labels],
        "position_ids": [position for row in rows for position in range(len(row.input_ids))],
    }


@dataclass(frozen=True)
class Collator:
    """Pad rows on the right to one width.

    Packed rows carry positions instead of a mask: a mask beside them would switch the isolation of records off. Their
    padding is one more record, whose labels count nowhere.
    """

    pad_id: int
    packed: bool

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `labels`, `position_ids` or `attention_mask`, each (rows, longest), and `real_tokens`."""
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        gap_BT = torch.arange(int(lengths.max())) - lengths[:, None]

        def padded(name: str, value: int) -> torch.Tensor:
            return pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value)

        batch = {
            "input_ids": padded("input_ids", self.pad_id),
            "labels": padded("labels", IGNORED),
            "real_tokens": lengths,
        }
        if self.packed:
            return batch | {"position_ids": torch.where(gap_BT < 0, padded("position_ids", 0), gap_BT)}
        return batch | {"attention_mask": (gap_BT < 0).long()}
