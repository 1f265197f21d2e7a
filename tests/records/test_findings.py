import pickle

import pytest

from alpaca_lora.errors import AlpacaLoraError, RecordError
from alpaca_lora.records.findings import Findings, fault_error, first_line


def test_faults_come_in_line_order_with_file_line_and_column():
    findings = Findings("d.jsonl")
    findings.fault(9, "late")
    findings.fault(2, "early", column=5)
    findings.fault(0, "of the whole file")
    assert findings.faults == ["d.jsonl: of the whole file", "d.jsonl:2:5: early", "d.jsonl:9: late"]


def test_rows_in_memory_are_counted():
    findings = Findings()
    findings.fault(3, "wrong")
    assert findings.faults == ["record 3: wrong"]


def test_the_message_shows_twenty_faults_and_the_count():
    error = fault_error("cannot read d.jsonl", [f"d.jsonl:{n}: wrong" for n in range(1, 1_235)])
    assert str(error).splitlines() == [
        "cannot read d.jsonl: 1,234 faults",
        *[f"  d.jsonl:{n}: wrong" for n in range(1, 21)],
        "  and 1,214 more; all of them are in .faults",
    ]
    assert len(error.faults) == 1_234


def test_a_single_fault_is_shown_whole():
    assert str(fault_error("cannot read d", ["d: wrong"])) == "cannot read d: 1 fault\n  d: wrong"


@pytest.mark.parametrize("kind", [RecordError, AlpacaLoraError, ValueError])
def test_the_error_is_caught_as(kind):
    with pytest.raises(kind):
        raise fault_error("cannot read d", ["d: wrong"])


def test_the_faults_survive_another_process():
    error = pickle.loads(pickle.dumps(fault_error("cannot read d", ["d: wrong"])))
    assert error.faults == ("d: wrong",)


@pytest.mark.parametrize(
    ("error", "line"),
    [(OSError("\n  Not found.\nTry this"), "Not found"), (KeyError(), "KeyError"), (OSError(" "), "OSError")],
)
def test_of_a_foreign_error_the_first_line_is_quoted(error, line):
    assert first_line(error) == line
