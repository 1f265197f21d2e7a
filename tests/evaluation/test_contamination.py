import json

import pytest

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError, RecordError, RunError
from alpaca_lora.evaluation.contamination import find_leaks, find_training_data
from alpaca_lora.records import Record, load_records, read_dataset, save_records
from alpaca_lora.training.dataset import split_records

TRAINED = [
    Record("Describe how a lighthouse warns ships of rocks at night.", "", "It turns a bright lamp.", "t:1"),
    Record("Sum the numbers.", "4, 9, 12", "25", "t:2"),
    Record("说出三种颜色。", "", "红、黄、蓝。", "t:3"),
    Record(
        "Cite this.", "", "One two three four five six seven eight nine ten eleven twelve thirteen fourteen.", "t:4"
    ),
]


@pytest.mark.parametrize(
    ("record", "origin"),
    [
        (Record("Describe how a lighthouse warns ships of rocks at night."), "t:1"),
        (Record("describe how a lighthouse  warns ships of rocks at NIGHT"), "t:1"),
        (Record("Describe to me how a lighthouse warns the ships of rocks at night."), "t:1"),
        (Record("Sum the numbers.", "4, 9, 12"), "t:2"),
        (Record("说出三种颜色。"), "t:3"),
        (Record("Go on: one two three four five six seven eight nine ten eleven twelve thirteen"), "t:4"),
        (Record("Sum the numbers.", "7, 8, 30, 2"), None),
        (Record("Describe how a windmill grinds corn."), None),
        (Record("说出三种水果。"), None),
    ],
)
def test_a_row_of_the_training_data_is_found_and_no_other(record, origin):
    leaks = find_leaks([Record("Name a river in Asia."), record], TRAINED)
    assert {place: leak.origin for place, leak in leaks.items()} == ({} if origin is None else {1: origin})


def test_every_copy_of_a_leaked_row_is_found():
    assert list(find_leaks([TRAINED[0], TRAINED[0], TRAINED[2], TRAINED[2]], TRAINED)) == [0, 1, 2, 3]


@pytest.fixture
def run_dir(tmp_path):
    """A run that trained on 30 records and held out 5 of them."""
    records = [Record(f"task {n}", "", f"answer {n}") for n in range(30)]
    save_records(records, tmp_path / "data.jsonl")
    loaded = read_dataset(tmp_path / "data.jsonl")
    config = FinetuneConfig(validation_size=5, seed=3)
    run = {"data": {"name": loaded.name, "sha256": loaded.sha256}, "config": config.model_dump(mode="json")}
    (tmp_path / "run/adapter").mkdir(parents=True)
    (tmp_path / "run/run.json").write_text(json.dumps(run), encoding="utf-8")
    return tmp_path / "run"


def test_what_a_run_held_out_is_no_training_data(run_dir):
    records = load_records(run_dir.parent / "data.jsonl")
    split = split_records(records, (), 5, 3)
    trained = find_training_data(run_dir / "adapter")
    assert trained.records == tuple(split.train)
    assert len(trained.records) == 25
    assert not find_leaks(split.heldout, [record for record in trained.records if record not in split.heldout])


def test_data_that_has_moved_is_asked_for_and_checked(run_dir, tmp_path):
    moved = (tmp_path / "data.jsonl").rename(tmp_path / "moved.jsonl")
    with pytest.raises(RecordError, match="cannot be read, so no row can be compared with it"):
        find_training_data(run_dir / "adapter")
    assert len(find_training_data(run_dir / "adapter", moved).records) == 25
    moved.write_text(moved.read_text(encoding="utf-8").replace("task 1", "task x"), encoding="utf-8")
    with pytest.raises(RecordError, match=r"is not what the adapter was trained on: its SHA-256 is [0-9a-f]{12}…, not"):
        find_training_data(run_dir / "adapter", moved)


def test_an_adapter_without_its_run_needs_to_be_told(tmp_path):
    with pytest.raises(ConfigError, match="--trained-on FILE"):
        find_training_data(tmp_path)
    assert find_training_data(tmp_path, "unknown") is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"config": {}}', '{"data": {"name": "a", "sha256": "b"}, "config": 1}']
)
def test_a_damaged_run_is_refused(run_dir, content):
    (run_dir / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"run\.json' is damaged"):
        find_training_data(run_dir / "adapter")
