import pytest

from alpaca_lora.records import Record
from alpaca_lora.records.survey import survey


def record(number, output="b", instruction="a", text=""):
    return Record(instruction, text, output, origin=f"d:{number}")


def test_records_that_are_plain_and_different_are_not_remarked_on():
    assert list(survey([record(1), record(2, instruction="c"), record(3, text="x")])) == []


def test_repetitions_and_contradictions_are_told_apart_with_their_places():
    assert list(survey([record(1), record(2, "c"), record(3), record(4, "c")])) == [
        "2 of 4 records repeat an earlier one: d:3 = d:1, d:4 = d:2",
        "1 of 4 records have the instruction and input of an earlier one, but another output: d:2 and d:1",
    ]


def test_the_first_five_places_are_listed():
    [note] = survey([record(number) for number in range(9)])
    assert note == f"8 of 9 records repeat an earlier one: {', '.join(f'd:{n} = d:0' for n in range(1, 6))} and 3 more"


@pytest.mark.parametrize("text", ["\x01", "\x08", "\x0b", "\x1b[0m", "\x7f"])
def test_control_characters_are_counted(text):
    [note] = survey([record(1, instruction=f"x{text}"), record(2)])
    assert note == "1 of 2 records hold control characters, which stay as they are: d:1"


@pytest.mark.parametrize("text", ["### Instruction:", "### Input:", "###Response:"])
def test_markers_of_templates_are_counted(text):
    [note] = survey([record(1, text=f"x {text}")])
    assert "hold a marker of a prompt template" in note


@pytest.mark.parametrize("text", ["<s>", "</s>", "<|im_end|>", "<|endoftext|>", "<start_of_turn>", "[/INST]", "<pad>"])
def test_texts_of_control_tokens_are_counted(text):
    [note] = survey([record(1, output=f"x{text}")])
    assert "hold the text of a control token" in note


@pytest.mark.parametrize("text", ["\t\r\n\x85\u2028", "### A heading:", "a < b | c > d", "<b></b>", "[INSTALL]", "s>"])
def test_ordinary_text_is_not_taken_for_them(text):
    assert list(survey([record(1, output=f"x{text}")])) == []
