import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.models import IGNORED, encode_prompt, encode_text, load_tokenizer
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record
from alpaca_lora.training.encoding import EncodedRow, Rejection, encode_records

PROMPTER = Prompter()


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return load_tokenizer(tiny_base)


def encode(tokenizer, record, **options):
    return next(encode_records([record], PROMPTER, tokenizer, **{"max_length": 512, **options}))


def test_ids_are_prompt_then_answer_then_end(tokenizer):
    record = Record("Add.", "2 + 2", "4", origin="d.json:1")
    row = encode(tokenizer, record)
    prompt = encode_prompt(tokenizer, PROMPTER.prompt(record))
    answer = [*encode_text(tokenizer, "4"), tokenizer.eos_token_id]
    assert row == EncodedRow((*prompt, *answer), (*[IGNORED] * len(prompt), *answer), "d.json:1")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXT, TEXT, TEXT)
def test_what_is_learned_decodes_to_the_answer_and_its_end(tokenizer, instruction, context, output):
    record = Record(instruction, context, output)
    row = encode(tokenizer, record, max_length=4096)
    learned = [label for label in row.labels if label != IGNORED]
    assert learned[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in learned[:-1]
    assert tokenizer.decode(learned[:-1], clean_up_tokenization_spaces=False) == output


def test_control_text_in_a_row_cannot_end_the_answer(tokenizer):
    record = Record("Say <|endoftext|>", "", "before<|endoftext|>after")
    row = encode(tokenizer, record)
    assert list(row.input_ids).count(tokenizer.eos_token_id) == 1
    assert tokenizer("before<|endoftext|>after")["input_ids"].count(tokenizer.eos_token_id) == 1


@pytest.mark.catalogue(85)
def test_the_end_is_learned_even_where_padding_has_the_same_id(tiny_base):
    tokenizer = load_tokenizer(tiny_base)
    tokenizer.pad_token = tokenizer.eos_token
    assert encode(tokenizer, Record("Hi", "", "Hello")).labels[-1] == tokenizer.eos_token_id


def test_training_on_the_prompt_leaves_out_only_the_first_id(tokenizer):
    row = encode(tokenizer, Record("Hi", "", "Hello"), train_on_prompt=True)
    assert row.labels == (IGNORED, *row.input_ids[1:])


@pytest.mark.parametrize("template", ["alpaca", "alpaca_legacy", "alpaca_short", "vigogne"])
@pytest.mark.parametrize("output", [" leading space", "\nnewline", "\n\ntwo", "7", "🦙", "word"])
@pytest.mark.catalogue(58)
def test_the_prompt_is_never_merged_with_the_answer(tokenizer, template, output):
    prompter, record = Prompter(template), Record("Do it.", "", output)
    row = next(encode_records([record], prompter, tokenizer, max_length=512))
    prompt = encode_prompt(tokenizer, prompter.prompt(record))
    assert list(row.input_ids[: len(prompt)]) == prompt
    assert row.labels[: len(prompt)] == (IGNORED,) * len(prompt)


class TestLength:
    """What happens one token below, at, and above max_length."""

    record = Record("Copy the input.", "one two three four five six seven", "eight nine ten eleven", origin="d:3")

    @pytest.fixture
    def full(self, tokenizer):
        return len(encode(tokenizer, self.record).input_ids)

    @pytest.mark.parametrize("slack", [0, 1])
    @pytest.mark.parametrize("overlong", ["drop", "truncate_input", "truncate_output", "error"])
    def test_what_fits_is_untouched(self, tokenizer, full, slack, overlong):
        row = encode(tokenizer, self.record, max_length=full + slack, overlong=overlong)
        assert len(row.input_ids) == full
        assert row.cut_tokens == 0

    def test_drop_gives_the_place_the_reason_and_the_length(self, tokenizer, full):
        dropped = encode(tokenizer, self.record, max_length=full - 1)
        assert dropped == Rejection("d:3", f"longer than {full - 1} tokens", full)

    @pytest.mark.catalogue(37)
    def test_a_shortened_answer_still_ends(self, tokenizer, full):
        row = encode(tokenizer, self.record, max_length=full - 2, overlong="truncate_output")
        whole = encode(tokenizer, self.record)
        assert row.input_ids == (*whole.input_ids[:-3], tokenizer.eos_token_id)
        assert row.cut_tokens == 2

    def test_a_shortened_input_leaves_the_answer_whole(self, tokenizer, full):
        row = encode(tokenizer, self.record, max_length=full - 4, overlong="truncate_input")
        text = tokenizer.decode(row.input_ids)
        assert len(row.input_ids) <= full - 4
        assert "### Response:\neight nine ten eleven" in text
        assert "one two" in text
        assert "seven" not in text

    @pytest.mark.parametrize("overlong", ["drop", "truncate_input", "truncate_output"])
    @pytest.mark.catalogue(36)
    def test_a_prompt_that_fills_the_row_is_rejected(self, tokenizer, overlong):
        rejected = encode(tokenizer, self.record, max_length=20, overlong=overlong)
        assert isinstance(rejected, Rejection)
        assert rejected.reason.startswith("the prompt alone needs")
