import pytest

from alpaca_lora.errors import RunError
from alpaca_lora.evaluation.answering import Answered
from alpaca_lora.evaluation.rows import load_rows, save_rows
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.models import RowLoss
from alpaca_lora.records import Record

TASKS = [
    Task(Record("Say a.", "", "a\u2028b", origin="set.jsonl:1"), dataset="part", expected="a", regex="a+"),
    Task(Record("Say b.", "loudly", "", origin="set.jsonl:2")),
]
ANSWERED = {
    "adapter": Answered(("a", "b\n"), (True, False), (RowLoss(0.1 + 0.2, 3, True), None)),
    "stored": Answered(("x", ""), (None, None), (None, None)),
}


def test_rows_are_read_back_as_they_were(tmp_path):
    save_rows(tmp_path / "rows.jsonl", TASKS, ANSWERED)
    assert load_rows(tmp_path / "rows.jsonl") == (TASKS, ANSWERED)
    assert [task.record.origin for task in load_rows(tmp_path / "rows.jsonl")[0]] == ["set.jsonl:1", "set.jsonl:2"]


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"models": {"a": {}}, "record": {}}', "[" * 10**5])
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(f"{line}\n")
    with pytest.raises(RunError, match=r"rows\.jsonl:1: the line is damaged"):
        load_rows(tmp_path / "rows.jsonl")


def test_rows_of_other_models_are_refused(tmp_path):
    save_rows(tmp_path / "rows.jsonl", TASKS, ANSWERED)
    text = (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(text.replace('"stored"', '"other"', 1), encoding="utf-8")
    with pytest.raises(RunError, match="every row must have the same models, adapter, other"):
        load_rows(tmp_path / "rows.jsonl")
