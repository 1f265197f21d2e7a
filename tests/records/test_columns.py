"""Which column is which field: told, or understood and said."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import ConfigError, RecordError
from alpaca_lora.records import Record, read_dataset

ALIASES = [
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("instruction", "response"),
]
NAMES = ["instruction", "input", "output", "prompt", "response", "context", "instances", "conversations", "messages"]
TURN = st.fixed_dictionaries(
    {}, optional={"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text()}
)
VALUES = st.none() | st.text() | st.integers() | st.lists(st.text() | TURN, max_size=3)


def lines(*objects):
    return "".join(json.dumps(fields) + "\n" for fields in objects)


@pytest.mark.parametrize(("instruction", "output"), ALIASES)
def test_known_names_are_read_and_the_mapping_is_announced(read, instruction, output):
    loaded = read("d.jsonl", lines({instruction: "a", output: "b"}, {instruction: "c", output: "d"}))
    assert loaded.records == (Record("a", "", "b"), Record("c", "", "d"))
    chosen = [f"'{column}' as {field}" for field, column in (("instruction", instruction), ("output", output))]
    announced = ", ".join(item for item in chosen if item != "'instruction' as instruction")
    assert loaded.notes[0] == f"d.jsonl: no column_map was given: read {announced}"


def test_dolly_rows_have_their_context_as_input(read):
    row = {"instruction": "a", "context": "x", "response": "b", "category": "open_qa"}
    loaded = read("d.jsonl", lines(row))
    assert loaded.records == (Record("a", "x", "b"),)
    assert loaded.notes == (
        "d.jsonl: no column_map was given: read 'context' as input, 'response' as output",
        "d.jsonl: columns that are not read: 'category'",
    )


def test_the_names_of_alpaca_win_over_the_other_known_ones(read):
    row = {"prompt": "p", "completion": "c", "instruction": "a", "input": "", "output": "b"}
    loaded = read("d.jsonl", lines(row))
    assert loaded.records == (Record("a", "", "b"),)
    assert loaded.notes == ("d.jsonl: columns that are not read: 'prompt', 'completion'",)


def test_one_file_has_one_mapping_which_is_that_of_most_rows(faults):
    content = lines(*[{"prompt": "a", "response": "b"}] * 2, {"instruction": "a", "output": "b"})
    rest = "is missing; the row has 'instruction', 'output'; add it, or name it in column_map (--map)"
    assert faults("d.jsonl", content) == [f'd.jsonl:3: field "{name}" {rest}' for name in ("prompt", "response")]


def test_a_column_map_is_followed_without_a_note(read):
    row = {"frage": "a", "kontext": "x", "output": "b"}
    loaded = read("d.jsonl", lines(row), column_map={"instruction": "frage", "input": "kontext"})
    assert (loaded.records, loaded.notes) == ((Record("a", "x", "b"),), ())


def test_a_column_map_wins_over_the_usual_names(read):
    row = {"instruction": "a", "input": "", "output": "b", "better": "c"}
    loaded = read("d.jsonl", lines(row), column_map={"output": "better"})
    assert loaded.records == (Record("a", "", "c"),)
    assert loaded.notes == ("d.jsonl: columns that are not read: 'output'",)


def test_a_column_that_the_map_names_must_be_there(faults):
    content = lines({"question": "a", "answer": "b"}, {"question": "c", "answer": "d"})
    assert faults("d.jsonl", content, column_map={"instruction": "Question", "output": "answer"}) == [
        "d.jsonl:1: field \"Question\" is missing; the row has 'question', 'answer'; "
        "use 'question' with column_map={'instruction': 'question'} (--map instruction=question) (so in all 2 rows)"
    ]


def test_an_input_column_that_the_map_names_must_be_there_too(faults):
    content = lines({"instruction": "a", "context": "x", "output": "b"})
    assert faults("d.jsonl", content, column_map={"input": "contxt"}) == [
        "d.jsonl: column_map names the column 'contxt', which no row has; "
        "the rows have 'instruction', 'context', 'output'"
    ]


def test_a_column_map_of_something_else_is_a_wrong_setting():
    with pytest.raises(ConfigError) as caught:
        read_dataset([], column_map={"question": "instruction"})
    assert str(caught.value) == (
        "column_map maps fields, not 'question'; fields are 'instruction', 'input', 'output': "
        '{"instruction": "question", "output": "answer"}'
    )


def test_a_fault_that_every_row_has_is_said_once(faults):
    assert faults("d.jsonl", lines(*[{"instruction": "a", "output": n} for n in range(1_000)])) == [
        'd.jsonl:1: field "output" must be text (found number 0); quote it, or store it as text (so in all 1,000 rows)'
    ]


def test_faults_that_some_rows_have_are_said_for_each(faults):
    rows = [{"instruction": "a", "output": n} for n in range(40)]
    assert len(faults("d.jsonl", lines(*rows, {"instruction": "a", "output": "b"}))) == 40


def test_all_faults_of_one_row_are_said(faults):
    assert faults("d.jsonl", lines({"instruction": " ", "input": 1, "output": None})) == [
        'd.jsonl:1: field "instruction" is empty; write what to do, or delete the row',
        'd.jsonl:1: field "input" must be text (found number 1); quote it, or store it as text',
        'd.jsonl:1: field "output" is null; write the text, or delete the row',
    ]


def test_an_empty_object_is_a_row_without_fields(faults):
    assert faults("d.jsonl", "{}") == [
        f'd.jsonl:1: field "{field}" is missing; the row has nothing; add it, or name it in column_map (--map)'
        for field in ("instruction", "output")
    ]


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES), max_size=4))
def test_any_mixture_of_known_columns_is_read_or_refused(rows):
    with contextlib.suppress(RecordError):
        assert len(read_dataset(rows).records) >= 1


def test_a_null_output_is_a_fault_even_where_empty_ones_are_accepted(faults):
    assert len(faults("d.jsonl", lines({"instruction": "a", "output": None}), allow_empty_output=True)) == 1


def test_what_was_found_is_shown_shortly_and_without_control_characters(faults):
    [fault] = faults("d.jsonl", json.dumps("\x1b[31m" + "x" * 1_000))
    assert fault.startswith("d.jsonl:1: row must be an object (found text '\\x1b[31mxxx")
    assert len(fault) < 160


def test_columns_that_are_asked_for_come_with_each_record_and_the_others_are_noted():
    rows = [{"instruction": "a", "output": "b", "expected": 4, "topic": "sums"}, {"instruction": "c", "output": "d"}]
    loaded = read_dataset(rows, extra_columns=["expected"])
    assert [record.extra for record in loaded.records] == [{"expected": 4}, {}]
    assert "columns that are not read: 'topic'" in loaded.notes
    assert "columns that are not read: 'expected', 'topic'" in read_dataset(rows).notes
    assert loaded.records == read_dataset(rows).records
