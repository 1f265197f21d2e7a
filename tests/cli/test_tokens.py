from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from alpaca_lora.cli.tokens import describe, pieces_of, render_colored, render_plain
from alpaca_lora.models import load_tokenizer
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record
from alpaca_lora.training.encoding import EncodedRow, Rejection, encode_records

PROMPT = "### Instruction:\nSay.\n\n### Response:\n"


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_base)


@pytest.fixture
def encode(tokenizer: PreTrainedTokenizerBase):
    def encoded(output: str, **options) -> EncodedRow | Rejection:
        record = Record("Say.", "", output, "data.jsonl:7")
        (outcome,) = encode_records([record], Prompter("alpaca_short"), tokenizer, **{"max_length": 128} | options)
        return outcome

    return encoded


@pytest.mark.parametrize("answer", ["Red.", "", "naïve 🦙 日本", " two\n\nlines\n"])
def test_the_pieces_are_the_row_and_exactly_the_answer_is_learned(encode, tokenizer, answer: str):
    pieces = list(pieces_of(encode(answer), tokenizer))

    def text(learned: bool) -> str:
        return "".join(piece.text for piece in pieces if piece.learned is learned).replace("↵\n", "\n")

    assert text(learned=False) == PROMPT
    assert text(learned=True) == answer + "<|endoftext|>"
    assert [piece.ends for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_a_character_of_several_tokens_is_one_piece(encode, tokenizer):
    assert "🦙" in [piece.text for piece in pieces_of(encode("a 🦙!"), tokenizer)]


def test_the_text_of_a_control_token_is_no_end(encode, tokenizer):
    pieces = list(pieces_of(encode("<|endoftext|>"), tokenizer))

    assert pieces[-1].text == "<|endoftext|>"
    assert sum(piece.text == "<|endoftext|>" for piece in pieces) == 1


def test_a_prompt_that_is_learned_too_is_shown_so_but_for_its_first_token(encode, tokenizer):
    pieces = list(pieces_of(encode("Red.", train_on_prompt=True), tokenizer))

    assert [piece.learned for piece in pieces] == [False] + [True] * (len(pieces) - 1)


def test_plain_text_marks_every_token(encode, tokenizer):
    shown = render_plain(encode("Red\x1b."), tokenizer)

    assert shown.startswith("⟨###⟩⟨ I⟩⟨nstruction⟩⟨:⟩⟨↵⟩\n⟨")
    assert shown.endswith("⟨:⟩⟨↵⟩\n⟦R⟧⟦e⟧⟦d⟧⟦␛⟧⟦.⟧⟦<|endoftext|>⟧")


def test_color_tells_masked_from_learned_and_marks_the_end(encode, tokenizer):
    row = encode("Red.")
    text = render_colored(row, tokenizer)
    styles = [str(span.style).removesuffix(" underline") for span in text.spans]

    learned = sum(piece.learned for piece in pieces_of(row, tokenizer))
    assert text.plain.replace("↵\n", "\n") == PROMPT + "Red.<|endoftext|>"
    assert styles == ["dim"] * (len(styles) - learned) + ["green"] * (learned - 1) + ["bold reverse green"]


def test_a_row_is_described_by_origin_length_and_what_is_learned(encode):
    row = encode("Red.")

    assert describe(row) == f"data.jsonl:7: {len(row.input_ids)} tokens, 5 learned"


def test_a_shortened_row_says_by_how_much(encode):
    full = len(encode("Red.").input_ids)

    shortened = encode("Red.", max_length=full - 2, overlong="truncate_output")
    assert describe(shortened) == f"data.jsonl:7: {full - 2} tokens, 3 learned, 2 cut off to fit"


def test_a_record_that_is_left_out_says_why(encode):
    full = len(encode("Red.").input_ids)

    assert describe(encode("Red.", max_length=full - 1)) == (
        f"data.jsonl:7: not trained on, longer than {full - 1} tokens (the whole record has {full} tokens)"
    )
