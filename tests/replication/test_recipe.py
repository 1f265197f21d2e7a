"""All stages for real, around a base model of two layers: chained, killed in each, and repeated."""

import json
import os
import signal
import subprocess
import sys

import pytest

import alpaca_lora
from alpaca_lora import errors
from alpaca_lora.evaluation.sets import load_evaluation_set
from alpaca_lora.records import load_records
from alpaca_lora.replication.recipe import replicate

KILLED = """
import json, os, signal, sys
from alpaca_lora import _files
from alpaca_lora.replication.recipe import replicate

recipe, directory, place, writes = json.loads(sys.argv[1]), *sys.argv[2:]
left = int(writes)
write, append = _files.write_bytes, _files.append_durably

def count(path):
    global left
    if place in f"{path}":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def write_bytes(path, *rest, **more):
    count(path)
    write(path, *rest, **more)

def append_durably(stream, lines):
    count(stream.name)
    append(stream, lines)

_files.write_bytes, _files.append_durably = write_bytes, append_durably
replicate(recipe, directory)
"""
"""Runs a replication that is killed when it writes for the n-th time below a place."""


def claimed(directory):
    """The digests of the files that are said to repeat, by stage and path."""
    manifest = json.loads((directory / "replication.json").read_text(encoding="utf-8"))
    return {
        f"{stage['dir']}/{path}": file["sha256"]
        for stage in manifest["stages"]
        for path, file in stage["files"].items()
        if file["repeats"]
    }


def test_the_facade_has_the_verb(records, tmp_path):
    result = alpaca_lora.replicate(records, tmp_path / "run")
    assert isinstance(result, alpaca_lora.ReplicationResult)
    assert result.status == "completed"
    assert [item.stage for item in result.stages] == ["generate", "curate"]
    assert result.stages[0].document["kept"] == 24


def test_generated_records_and_those_of_a_dataset_are_joined_and_kept_apart_from_the_evaluation(
    records, tmp_path, monkeypatch
):
    heldout = [task.record for task in load_evaluation_set("alpaca-mini").tasks]
    data = tmp_path / "data.jsonl"
    rows = [{"question": row.instruction, "input": row.input, "output": row.output} for row in heldout[:3]]
    rows += [{"question": "Name the colour of snow.", "input": "", "output": "Snow is white."}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        **records,
        "data": str(data),
        "curate": {"column_map": {"instruction": "question"}, "against": ["alpaca-mini"]},
    }
    replicate(recipe, tmp_path / "run")
    joined = load_records(tmp_path / "run" / "1-generate" / "joined.jsonl")
    assert len(joined) == 24 + 4
    assert joined[-1].instruction == "Name the colour of snow."
    curated = {record.instruction for record in load_records(tmp_path / "run" / "2-curate" / "curated.jsonl")}
    assert "Name the colour of snow." in curated
    assert curated.isdisjoint(record.instruction for record in heldout)


def test_what_a_later_stage_would_refuse_is_refused_before_anything_is_done(whole, tmp_path, server):
    faulty = whole | {
        "finetune": whole["finetune"] | {"template": "alpca", "base_model": "nowhere"},
        "evaluate": {"data": "none.jsonl"},
    }
    with pytest.raises(errors.ConfigError) as caught:
        replicate(faulty, tmp_path / "run")
    said = str(caught.value)
    assert "unknown template 'alpca'" in said
    assert "no base model at 'nowhere'" in said
    assert "none.jsonl: no such file" in said
    assert not (tmp_path / "run").exists()
    assert server.seen == []


def test_a_directory_that_is_in_use_or_holds_something_else_is_refused(records, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(errors.ConfigError, match="it is not empty and no run of ours"):
        replicate(records, tmp_path / "other")


def test_nothing_is_printed_by_the_library(records, tmp_path, capfd):
    replicate(records, tmp_path / "run")
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Run a recipe in a fresh process and kill it when it writes for the n-th time below a place."""

    def run(recipe, directory, place, writes):
        command = [sys.executable, "-c", KILLED, json.dumps(recipe), str(directory), place, str(writes)]
        environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr

    return run


@pytest.mark.slow
def test_a_replication_that_is_killed_in_every_stage_ends_in_the_bytes_of_one_that_was_left_alone(
    whole, tmp_path, killed, server
):
    replicate(whole, tmp_path / "whole")
    places = (
        ("/1-generate/", 4),
        ("/killed/.staging-", 3),
        ("/3-finetune/", 4),
        ("/4-evaluate/", 1),
        ("/5-export/", 0),
    )
    for place, writes in places:
        killed(whole, tmp_path / "killed", place, writes)
        assert not (tmp_path / "killed" / "replication.json").exists()
    result = replicate(whole, tmp_path / "killed")
    assert result.status == "completed"
    assert claimed(tmp_path / "killed") == claimed(tmp_path / "whole")
    names = set(claimed(tmp_path / "whole"))
    assert names >= {
        "1-generate/records.jsonl",
        "2-curate/curated.jsonl",
        "3-finetune/adapter/adapter_model.safetensors",
        "4-evaluate/results.json",
        "5-export/hf/model.safetensors",
    }
    other = {
        "data": str(tmp_path / "whole" / "2-curate" / "curated.jsonl"),
        "finetune": whole["finetune"] | {"seed": 43},
    }
    replicate(other, tmp_path / "other")
    adapter = "3-finetune/adapter/adapter_model.safetensors"
    assert claimed(tmp_path / "other")[adapter] != claimed(tmp_path / "whole")[adapter]
    rows = json.loads((tmp_path / "whole" / "4-evaluate" / "results.json").read_text(encoding="utf-8"))["set"]
    assert rows["rows"] == 6
    assert all("in the training data" in row["reason"] for row in rows["dropped"])
