import hashlib

import pytest

from alpaca_lora.replication.manifest import describe_files, repeats


@pytest.mark.parametrize(
    ("stage", "path", "claimed"),
    [
        ("generate", "records.jsonl", True),
        ("generate", "journal.jsonl", False),
        ("curate", "curated.jsonl", True),
        ("curate", "changes.diff", False),
        ("finetune", "adapter/adapter_model.safetensors", True),
        ("finetune", "checkpoint-4/adapter_model.safetensors", False),
        ("finetune", "metrics.jsonl", False),
        ("evaluate", "results.json", True),
        ("evaluate", "judge/outputs/results.json", False),
        ("export", "hf/model.safetensors", True),
        ("export", "hf/a/b", False),
    ],
)
def test_only_files_without_times_and_paths_are_said_to_repeat(stage, path, claimed):
    assert repeats(stage, path) is claimed


def test_every_file_is_listed_but_hidden_ones(tmp_path):
    for name in ("run.json", "adapter/weights", ".lock", "adapter/.hidden", ".staging-1/half"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert describe_files("finetune", tmp_path) == {
        "adapter/weights": {"sha256": hashlib.sha256(b"adapter/weights").hexdigest(), "bytes": 15, "repeats": True},
        "run.json": {"sha256": hashlib.sha256(b"run.json").hexdigest(), "bytes": 8, "repeats": False},
    }
