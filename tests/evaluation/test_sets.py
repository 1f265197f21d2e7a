import json

import pytest

from alpaca_lora.errors import RecordError
from alpaca_lora.evaluation.sets import Task, load_evaluation_set
from alpaca_lora.records import Record, load_records


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_packaged_set_is_the_held_out_part():
    loaded = load_evaluation_set("alpaca-mini")
    trained = {(record.instruction, record.input) for record in load_records("alpaca-mini")}
    assert len(loaded.tasks) == 60
    assert not trained & {(task.record.instruction, task.record.input) for task in loaded.tasks}


def test_rows_may_say_what_is_right_and_where_they_belong(tmp_path):
    rows = [
        {"instruction": "Add 2 and 2.", "output": "4", "expected": "4", "dataset": "sums"},
        {"instruction": "Name a colour.", "output": "Red", "regex": "(?i)red|green"},
        {"instruction": "Say hello.", "output": ""},
    ]
    first, second, third = load_evaluation_set(write(tmp_path / "a.jsonl", rows)).tasks
    assert (first.dataset, first.expected, second.regex, third.expected, third.regex) == (
        "sums", "4", "(?i)red|green", None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ("Paris", "paris.", True),
        (" New\nYork", "new york", True),
        ("Paris, France", "Paris", False),
        ("", "x", False),
    ],
)
def test_an_answer_equals_the_expected_one_but_for_case_space_and_stop(answer, expected, same):
    assert Task(Record("a"), expected=expected).equals_expected(answer) is same


def test_a_row_without_a_check_is_neither_right_nor_wrong():
    assert Task(Record("a")).equals_expected("b") is None
    assert Task(Record("a")).matches_regex("b") is None
    assert Task(Record("a"), regex=r"\b4\b").matches_regex("It is 4.") is True
    assert Task(Record("a"), regex=r"\b4\b").matches_regex("It is 42.") is False


def test_faults_of_checks_are_named_with_their_line(tmp_path):
    rows = [
        {"instruction": "a", "output": "b", "regex": "("},
        {"instruction": "a", "output": "b", "expected": 4},
        {"instruction": "a", "output": "b", "dataset": ""},
    ]
    with pytest.raises(RecordError) as caught:
        load_evaluation_set(write(tmp_path / "a.jsonl", rows))
    assert [fault.partition(" is no")[0].partition(" must")[0] for fault in caught.value.faults] == [
        'a.jsonl:1: field "regex"',
        'a.jsonl:2: field "expected"',
        'a.jsonl:3: field "dataset"',
    ]


@pytest.mark.reference
def test_the_published_sets_are_read(reference_data):
    alpaca_eval = load_evaluation_set(reference_data / "alpaca_eval/text_davinci_003.outputs.json")
    assert len(alpaca_eval.tasks) == 805
    assert len({task.dataset for task in alpaca_eval.tasks}) == 5
    assert len(load_evaluation_set(reference_data / "user_oriented_252.jsonl").tasks) == 252
