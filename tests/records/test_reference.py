"""The published data, read whole."""

import json

import pytest

from alpaca_lora.records import load_records, read_dataset, save_records

pytestmark = pytest.mark.reference


@pytest.mark.parametrize(
    ("name", "count", "with_input"),
    [
        ("alpaca_en_999.json", 999, 412),
        ("gsm8k_alpaca_7473.json", 7_473, 0),
        ("gpteacher_roleplay_3146.json", 3_146, 814),
    ],
)
def test_every_text_is_what_the_standard_parser_reads(reference_data, name, count, with_input):
    published = json.loads((reference_data / name).read_text(encoding="utf-8"))
    records = load_records(reference_data / name)
    assert len(records) == count
    assert sum(bool(record.input) for record in records) == with_input
    assert [[r.instruction, r.input, r.output] for r in records] == [
        [*map(row.get, ("instruction", "input", "output"))] for row in published
    ]


@pytest.mark.parametrize(("name", "count"), [("stanford_seed_tasks_175.jsonl", 175), ("user_oriented_252.jsonl", 252)])
def test_the_nested_tasks_of_self_instruct_are_read(reference_data, name, count):
    loaded = read_dataset(reference_data / name)
    assert len(loaded.records) == count
    assert loaded.records[-1].origin == f"{name}:{count}"
    assert loaded.notes[0] == f"{name}: read 'instances': each question with its answer became a record"


def test_the_line_of_a_record_of_an_array_is_where_its_object_begins(reference_data):
    path = reference_data / "alpaca_en_999.json"
    lines = path.read_text(encoding="utf-8").split("\n")
    for record in load_records(path):
        assert lines[int(record.origin.rpartition(":")[2]) - 1].strip() == "{"


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_published_records_come_back_from_every_format(reference_data, tmp_path, suffix):
    records = load_records(reference_data / "gpteacher_roleplay_3146.json")
    save_records(records, tmp_path / f"d{suffix}")
    assert load_records(tmp_path / f"d{suffix}") == records
