import csv
import gzip
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


def test_columns_of_other_names_may_be_told(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"frage": "Add 2 and 2.", "antwort": "4", "expected": "4"}])
    with pytest.raises(RecordError, match="name it in column_map"):
        load_evaluation_set(path)
    (task,) = load_evaluation_set(path, {"instruction": "frage", "output": "antwort"}).tasks
    assert (task.record.instruction, task.record.output, task.expected) == ("Add 2 and 2.", "4", "4")


CHECKED = [
    {"instruction": "Add 2 and 2.", "output": "4", "expected": "4", "regex": None},
    {"instruction": "Name a colour.", "output": "Red", "expected": None, "regex": "Red|Blue"},
]


def write_table(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path, rows):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"])
def test_every_format_says_what_is_right(name, tmp_path):
    path = tmp_path / name
    if name == "a.csv":
        write_table(path, CHECKED)
    elif name == "a.parquet":
        write_parquet(path, CHECKED)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(write(tmp_path / "b.jsonl", CHECKED).read_bytes()))
    else:
        write(path, CHECKED)
    tasks = load_evaluation_set(path).tasks
    assert [(task.expected, task.regex) for task in tasks] == [("4", None), (None, "Red|Blue")]


def test_files_of_one_name_keep_their_own_answers(tmp_path):
    for name, said in (("a", "4"), ("b", "5")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "x.jsonl", [{"instruction": f"Say {said}.", "output": "", "expected": said}])
    tasks = load_evaluation_set(tmp_path / "*/x.jsonl").tasks
    assert [(task.record.instruction, task.expected) for task in tasks] == [("Say 4.", "4"), ("Say 5.", "5")]


def test_a_conversation_keeps_what_its_row_says_is_right(tmp_path):
    turns = [{"role": "user", "content": "Add 2 and 2."}, {"role": "assistant", "content": "4"}]
    (task,) = load_evaluation_set(write(tmp_path / "a.jsonl", [{"messages": turns, "expected": "4"}])).tasks
    assert (task.record.output, task.expected) == ("4", "4")


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
