import json

import pytest

from alpaca_lora import curate
from alpaca_lora.errors import ConfigError
from alpaca_lora.selfinstruct import NoveltyIndex, load_seeds


def test_there_are_175_seeds_as_varied_as_the_published_ones():
    tasks = load_seeds().tasks
    assert len(tasks) == 175
    assert sum(task.classification for task in tasks) == 26
    assert sum(bool(task.record.input) for task in tasks) == 125
    assert all(task.record.input for task in tasks if task.classification)


def test_no_two_seeds_are_alike():
    index = NoveltyIndex(threshold=0.6)
    assert [task.record.instruction for task in load_seeds().tasks if index.admit(task.record.instruction)] == []


@pytest.mark.reference
def test_no_seed_is_one_of_stanfords(reference_data):
    path = reference_data / "stanford_seed_tasks_175.jsonl"
    published = [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]
    index = NoveltyIndex(published, threshold=0.7)
    assert [task.record.instruction for task in load_seeds().tasks if index.nearest(task.record.instruction)] == []
    assert index.nearest(published[3]) is not None


@pytest.mark.reference
def test_stanfords_own_file_is_read_with_its_classifications(reference_data):
    seeds = load_seeds(reference_data / "stanford_seed_tasks_175.jsonl")
    assert (len(seeds.tasks), sum(task.classification for task in seeds.tasks)) == (175, 26)
    assert seeds.sha256 == "7779004fa198fdf27cf70a159363879d8a26c53329e11b436af17b3941875f48"


def test_without_marks_a_short_output_that_tasks_share_is_a_label(tmp_path):
    path = tmp_path / "seeds.json"
    path.write_text(
        json.dumps([{"instruction": f"Is {n} even?", "output": "yes" if n % 2 == 0 else f"No, {n}."} for n in range(4)])
    )
    assert [task.classification for task in load_seeds(path).tasks] == [True, False, True, False]


def test_marks_are_read_line_by_line_whatever_a_text_holds(tmp_path):
    rows = [
        {"instruction": "Is it\u2028even?", "output": "yes", "is_classification": True, "instances": 5},
        {"instruction": "Name it.", "output": "a\x85b", "is_classification": False, "instances": None},
        {"instruction": "Say it.", "output": "c", "is_classification": "perhaps"},
    ]
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert [task.classification for task in load_seeds(path).tasks] == [True, False, False]


@pytest.mark.parametrize("name", ["seeds.json", "seeds.jsonl", "seeds-*.jsonl"])
def test_marks_are_read_from_whatever_is_read(tmp_path, name):
    rows = [{"instruction": f"Is {n} even?", "output": "yes", "is_classification": n == 1} for n in range(4)]
    path = tmp_path / name.replace("*", "1")
    path.write_text(json.dumps(rows) if "*" not in name else "".join(json.dumps(row) + "\n" for row in rows))
    assert [task.classification for task in load_seeds(tmp_path / name).tasks] == [False, True, False, False]


def test_two_seeds_are_too_few(tmp_path):
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n' * 2)
    with pytest.raises(ConfigError, match="holds 2 seed tasks; give at least 3"):
        load_seeds(path)


def test_the_linter_finds_nothing_wrong_with_the_packaged_seeds(tmp_path):
    result = curate([task.record for task in load_seeds().tasks], tmp_path / "curated")
    assert (result.read, result.kept, result.repaired, result.dropped) == (175, 175, 0, 0)
