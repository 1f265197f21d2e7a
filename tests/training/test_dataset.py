import pytest
import torch

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import EncodingError
from alpaca_lora.models import IGNORED, load_base_model, load_tokenizer, supervised_logits
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record, load_records
from alpaca_lora.training.dataset import Collator, build_dataset, encode_split, report_on, split_records
from alpaca_lora.training.encoding import EncodedRow, Rejection, encode_records
from alpaca_lora.training.packing import pack_lengths

RECORDS = [Record(f"Count to {n}.", "", " ".join(map(str, range(n))), origin=f"d:{n}") for n in range(1, 21)]


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return load_tokenizer(tiny_base)


@pytest.fixture(scope="module")
def rows(tokenizer):
    return encode_split(RECORDS, Prompter(), tokenizer, FinetuneConfig())[0]


class TestSplit:
    """Who is trained on and who is scored."""

    def test_nothing_is_in_both_and_nothing_is_lost(self):
        split = split_records(RECORDS, (), 5, seed=1)
        assert len(split.heldout) == 5
        assert sorted(split.train + split.heldout, key=RECORDS.index) == RECORDS

    def test_the_seed_decides(self):
        assert split_records(RECORDS, (), 5, 1) == split_records(RECORDS, (), 5, 1)
        assert split_records(RECORDS, (), 5, 1) != split_records(RECORDS, (), 5, 2)

    def test_a_fixed_set_is_taken_as_it_is(self):
        assert split_records(RECORDS[5:], RECORDS[:5], 5, 1).heldout == RECORDS[:5]

    @pytest.mark.catalogue(41)
    def test_a_copy_of_a_heldout_question_is_not_trained_on(self):
        copy = Record("Count to 1.", "", "another answer", origin="d:99")
        split = split_records([*RECORDS[1:], copy], RECORDS[:1], 1, 1)
        assert copy not in split.train
        assert [(row.origin, row.reason) for row in split.aside] == [("d:99", "asks the same as a held-out record")]


class TestEncodeSplit:
    """What does not fit is listed, or refused."""

    def test_kept_and_rejected_are_all(self, tokenizer):
        kept, rejected = encode_split(RECORDS, Prompter(), tokenizer, FinetuneConfig(max_length=100))
        assert 0 < len(kept) < len(RECORDS)
        assert {row.origin for row in kept} | {row.origin for row in rejected} == {r.origin for r in RECORDS}

    def test_error_names_the_records_and_the_length_that_would_do(self, tokenizer):
        config = FinetuneConfig(max_length=100, overlong="error")
        with pytest.raises(
            EncodingError, match=r"records do not fit at max_length 100: d:\d+: longer .* needs max_len"
        ):
            encode_split(RECORDS, Prompter(), tokenizer, config)

    def test_no_supervised_token_at_all_refuses_to_start(self, tokenizer):
        with pytest.raises(EncodingError, match="no record can be trained on at max_length 10: d:1: the prompt alone"):
            encode_split(RECORDS, Prompter(), tokenizer, FinetuneConfig(max_length=10))

    def test_a_scored_row_is_scored_on_its_answer_alone(self, tokenizer):
        config = FinetuneConfig(train_on_prompt=True)
        trained = encode_split(RECORDS[:1], Prompter(), tokenizer, config)[0][0]
        scored = encode_split(RECORDS[:1], Prompter(), tokenizer, config, scored=True)[0][0]
        assert trained.labels.count(IGNORED) == 1 < scored.labels.count(IGNORED)


def joined(rows):
    """What a row of these records is, said plainly."""
    return {
        "input_ids": [token for row in rows for token in row.input_ids],
        "labels": [label for row in rows for label in row.labels],
        "position_ids": [position for row in rows for position in range(len(row.input_ids))],
    }


class TestPlainPath:
    """Flat arrays hold what plain lists of Python would."""

    @pytest.fixture(params=["alpaca-mini", pytest.param("reference", marks=pytest.mark.reference)])
    def encoded(self, request, tokenizer):
        source = "alpaca-mini"
        if request.param == "reference":
            source = request.getfixturevalue("reference_data") / "alpaca_en_999.json"
        options = {"max_length": 1024, "overlong": "truncate_output"}
        records = load_records(source)
        plain = list(encode_records(records, Prompter(), tokenizer, **options))
        return plain, encode_split(records, Prompter(), tokenizer, FinetuneConfig(**options))

    def test_rows_and_rejections_are_those_of_the_records_one_by_one(self, encoded):
        plain, (rows, rejected) = encoded
        assert list(rows) == [outcome for outcome in plain if isinstance(outcome, EncodedRow)]
        assert rejected == [outcome for outcome in plain if isinstance(outcome, Rejection)]

    @pytest.mark.parametrize("packed_length", [None, 1024, 4096])
    def test_the_trainers_rows_are_joined_from_them(self, encoded, packed_length):
        _, (rows, _) = encoded
        lengths = [len(row.input_ids) for row in rows]
        groups = pack_lengths(lengths, packed_length) if packed_length else [[index] for index in range(len(rows))]
        dataset = build_dataset(rows, packed_length=packed_length)
        assert list(dataset) == [joined([rows[index] for index in group]) | {"records": group} for group in groups]


def test_packing_keeps_every_token_and_label(rows):
    packed = build_dataset(rows, packed_length=256)
    assert len(packed) < len(rows)
    for key in ("input_ids", "labels"):
        assert sorted(token for row in packed[key] for token in row) == sorted(
            t for row in rows for t in getattr(row, key)
        )


def test_a_packed_row_may_be_longer_than_any_record(rows):
    lengths = [len(ids) for ids in build_dataset(rows, packed_length=2048)["input_ids"]]
    assert max(lengths) > 2 * max(rows.lengths)
    assert max(lengths) <= 2048


def test_positions_restart_at_each_record(rows):
    packed = build_dataset(rows, packed_length=256)
    assert sum(position == 0 for row in packed["position_ids"] for position in row) == len(rows)


@pytest.fixture(scope="module")
def model(tiny_base):
    return load_base_model(tiny_base, precision="fp32", device="cpu")


def loss_per_token(model, batch):
    real = {key: batch[key] for key in ("input_ids", "position_ids", "attention_mask") if key in batch}
    logits, targets = supervised_logits(model, real, batch["labels"])
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


class TestIsolation:
    """Packed records do not see each other, and the test would notice if they did."""

    @pytest.fixture
    def separate(self, model, rows):
        dataset = build_dataset(rows, packed_length=None)
        collate = Collator(0, packed=False)
        return {index: loss_per_token(model, collate([dataset[index]])) for index in range(len(rows))}

    @pytest.fixture
    def batch(self, rows):
        return Collator(0, packed=True)(list(build_dataset(rows, packed_length=256)))

    def test_packed_losses_equal_separate_ones(self, model, separate, batch):
        expected = torch.cat(list(separate.values())).sort().values
        assert torch.allclose(loss_per_token(model, batch).sort().values, expected, atol=1e-5)

    def test_without_positions_they_would_not(self, model, separate, batch):
        expected = torch.cat(list(separate.values())).sort().values
        contaminated = {key: value for key, value in batch.items() if key != "position_ids"}
        assert not torch.allclose(loss_per_token(model, contaminated).sort().values, expected, atol=1e-2)


class TestCollator:
    """Padding counts nowhere."""

    rows = (
        {"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7], "position_ids": [0, 1, 2]},
        {"input_ids": [8], "labels": [8], "position_ids": [0]},
    )

    def test_padded_rows_carry_a_mask(self):
        batch = Collator(1, packed=False)(list(self.rows))
        assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
        assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
        assert batch["real_tokens"].tolist() == [3, 1]
        assert "position_ids" not in batch

    def test_packed_rows_carry_positions_and_no_mask(self):
        batch = Collator(1, packed=True)(list(self.rows))
        assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 1]]
        assert "attention_mask" not in batch


def test_the_report_adds_up(rows, tokenizer):
    kept, rejected = encode_split(RECORDS, Prompter(), tokenizer, FinetuneConfig(max_length=100))
    report = report_on(read=20, train=kept, heldout=[], rejected=rejected, rows=len(kept))
    assert report.trained + len(report.rejected) == report.read
    assert report.reasons == {"longer than 100 tokens": len(rejected)}
    assert report.tokens == sum(len(row.input_ids) for row in kept)
    assert report.quantiles[1.0] == max(len(row.input_ids) for row in kept) <= 100
    assert report.quantiles[0.5] <= report.quantiles[0.9]
    assert report.supervised_tokens == sum(label != IGNORED for row in kept for label in row.labels)


def test_the_report_lists_what_was_shortened_with_its_place(tokenizer):
    config = FinetuneConfig(max_length=100, overlong="truncate_output")
    kept, rejected = encode_split(RECORDS, Prompter(), tokenizer, config)
    report = report_on(read=20, train=kept, heldout=[], rejected=rejected, rows=len(kept))
    cut = [row for row in kept if row.cut_tokens]
    assert [(item.origin, item.tokens) for item in report.shortened] == [
        (row.origin, 100 + row.cut_tokens) for row in cut
    ]
    assert report.shortened[0].reason == f"{cut[0].cut_tokens} tokens cut off"
