"""What is written comes back, byte for byte."""

import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alpaca_lora.errors import RecordError
from alpaca_lora.records import Record, load_records, save_records

FORMATS = [".json", ".jsonl", ".csv", ".parquet"]
ODD = [
    "👩‍🚀𝒳 e\u0301",
    "שלום \u202eעולם\u200f",
    "a\r\nb\rc\nd",
    "a\u2028b\u2029c\u0085d\x0b\x0c",
    "{instruction} {} {{0}} %s ${x}",
    '"quoted" \\"escaped\\" \'single\'',
    "=1+1",
    "@SUM(A1)",
    "a,b;c\td",
    "2024-01-01",
    "007",
    "null",
    "\ufeffafter a mark",
    "### Response:\n</s>",
    " a space on both sides ",
]
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(ODD)
filled = texts.filter(str.strip)
records = st.lists(st.builds(Record, filled, texts, filled), min_size=1, max_size=8)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@example(written=[Record(text, text, text) for text in ODD])
@given(written=records)
def test_every_text_comes_back_as_it_was(tmp_path, suffix, written):
    path = tmp_path / f"d{suffix}"
    save_records(written, path)
    assert load_records(path) == written


@pytest.mark.parametrize("suffix", FORMATS)
def test_saving_what_was_read_gives_the_same_file(tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    save_records([Record(text, text, text) for text in ODD], first)
    save_records(load_records(first), second)
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".jsonl", '{"instruction": "é", "input": "", "output": "a\\nb"}\n'),
        (".json", '[\n  {\n    "instruction": "é",\n    "input": "",\n    "output": "a\\nb"\n  }\n]\n'),
        (".csv", '"instruction","input","output"\n"é","","a\nb"\n'),
    ],
)
def test_the_forms_are_these(tmp_path, suffix, content):
    path = tmp_path / "new" / f"d{suffix}"
    save_records([Record("é", "", "a\nb", origin="elsewhere:1")], path)
    assert path.read_bytes() == content.encode()


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(RecordError) as caught:
        save_records([Record("a")], tmp_path / "d.xlsx")
    assert caught.value.faults == ("d.xlsx: unknown suffix '.xlsx'; use one of .json, .jsonl, .csv, .parquet",)
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'd.xlsx'}: 1 fault\n")


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    path = tmp_path / "d.jsonl"
    save_records([Record("old", "", "b")], path)
    with pytest.raises(RecordError) as caught:
        save_records([Record("a", "", "b"), Record("\ud800", "", "\0"), Record("a", None, "b")], path)
    assert caught.value.faults == (
        'record 2: field "instruction" holds U+D800, half of a character, which is not UTF-8; write all of it',
        'record 2: field "output" holds the character U+0000, which cuts text short in tokenizers; delete it',
        'record 3: field "input" is null; write the text, or delete the row',
    )
    assert load_records(path) == [Record("old", "", "b")]
    assert os.listdir(tmp_path) == ["d.jsonl"]


def test_rows_that_are_no_records_are_named_with_what_makes_one(tmp_path):
    with pytest.raises(
        RecordError, match=r"record 2: must be a Record \(found dict\); make one with Record\(\*\*row\)"
    ):
        save_records([Record("a", "", "b"), {"instruction": "a", "output": "b"}], tmp_path / "d.jsonl")
    assert not (tmp_path / "d.jsonl").exists()
