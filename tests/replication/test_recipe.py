"""All stages for real, around a base model of two layers: chained, killed in each, and repeated."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import alpaca_lora
from alpaca_lora import errors
from alpaca_lora.evaluation.sets import load_evaluation_set
from alpaca_lora.records import load_records
from alpaca_lora.replication.recipe import replicate

SCRIPT = """
import json, sys
from pathlib import Path
from alpaca_lora import _files
from alpaca_lora.replication.recipe import replicate
from tests.crash.faults import in_child, kill

recipe, root = json.loads(sys.argv[1]), Path(sys.argv[2])
places = json.loads(sys.argv[3])

def killed(place, left):
    write, append = _files.write_bytes, _files.append_durably

    def count(path):
        nonlocal left
        left -= place in str(path)
        if left < 0:
            kill()

    def write_bytes(path, *rest, **more):
        count(path)
        write(path, *rest, **more)

    def append_durably(stream, lines):
        count(stream.name)
        append(stream, lines)

    _files.write_bytes, _files.append_durably = write_bytes, append_durably
    return replicate(recipe, root / "killed").status

def run(recipe, name):
    return replicate(recipe, root / name).status

ended = [in_child(lambda: killed(*place)) for place in places.items()]
begun = (root / "killed" / "replication.json").exists()
done = [in_child(lambda: run(recipe, name)) for name in ("killed", "whole")]
seeded = {
    "data": str(root / "whole" / "2-curate" / "curated.jsonl"),
    "finetune": recipe["finetune"] | {"seed": 43},
}
print(json.dumps([ended, begun, done, in_child(lambda: run(seeded, "other"))]))
"""
"""Carries a recipe out killed at the n-th write below each of some places, then left alone, then with another seed.

Each is a fork of one process that has imported everything, as in `tests/crash`.
"""


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
    records, tmp_path, found_in
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
    assert found_in(tmp_path / "run").failure is None
    assert found_in(tmp_path / "run" / "1-generate").failure is None


def test_a_replication_that_is_complete_is_left_as_it_is(records, tmp_path, found_in):
    replicate(records, tmp_path / "run")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"}
    assert replicate(records, tmp_path / "run").status == "completed"
    assert {path: path.stat().st_mtime_ns for path in files if path.is_file()}.items() <= files.items()
    assert found_in(tmp_path / "run").outcomes["files of the whole"] == "passed"


def test_a_stage_that_was_deleted_is_done_again_and_sealed_anew(records, tmp_path, found_in):
    replicate(records, tmp_path / "run")
    manifest = (tmp_path / "run/replication.json").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "run/2-curate")
    assert replicate(records, tmp_path / "run").status == "completed"
    assert (tmp_path / "run/replication.json").stat().st_mtime_ns > manifest
    assert found_in(tmp_path / "run").failure is None


@pytest.mark.parametrize("undone", [(), ("2-curate", "SHA256SUMS", "report.html", "README.md")])
def test_what_was_generated_from_is_told_as_it_was_then(undone, records, tmp_path):
    packaged = Path(alpaca_lora.__file__).parent.joinpath("selfinstruct/seeds.jsonl").read_text(encoding="utf-8")
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(packaged.splitlines(keepends=True)[:20]), encoding="utf-8")
    recipe = records | {"generate": records["generate"] | {"seeds": str(seeds)}}
    first = replicate(recipe, tmp_path / "run")
    assert any("(20)" in text for text in first.deviations)
    for name in undone:
        place = tmp_path / "run" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    seeds.unlink()
    again = replicate(recipe, tmp_path / "run")
    assert (again.status, again.deviations) == ("completed", first.deviations)
    assert "(20)" in (tmp_path / "run/README.md").read_text(encoding="utf-8")


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


@pytest.mark.slow
def test_a_replication_that_is_killed_in_every_stage_ends_in_the_bytes_of_one_that_was_left_alone(
    whole, tmp_path, repository, found_in
):
    places = {"/1-generate/": 4, "/killed/.staging-": 3, "/3-finetune/": 4, "/4-evaluate/": 1, "/5-export/": 0}
    command = [sys.executable, "-c", SCRIPT, json.dumps(whole), str(tmp_path), json.dumps(places)]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    ended, complete, whole_ones, other = json.loads(done.stdout)
    assert ended == [[-signal.SIGKILL, None]] * len(places)
    assert not complete
    assert whole_ones == [[0, "completed"]] * 2
    assert other == [0, "completed"]
    first = claimed(tmp_path / "whole")
    assert claimed(tmp_path / "killed") == first
    assert first.keys() >= {
        "1-generate/records.jsonl",
        "2-curate/curated.jsonl",
        "3-finetune/adapter/adapter_model.safetensors",
        "4-evaluate/results.json",
        "5-export/hf/model.safetensors",
    }
    adapter = "3-finetune/adapter/adapter_model.safetensors"
    assert claimed(tmp_path / "other")[adapter] != first[adapter]
    found = json.loads((tmp_path / "whole" / "4-evaluate" / "results.json").read_text(encoding="utf-8"))["set"]
    assert (found["rows"], found["read"], found["dropped"]) == (6, 6, [])
    assert found_in(tmp_path / "killed").failure is None


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
def test_what_a_run_held_out_is_read_by_the_columns_of_its_data(whole, tmp_path, found_in):
    data = tmp_path / "data.jsonl"
    rows = [{"frage": row.instruction, "antwort": row.output} for row in load_records("alpaca-mini")[:24]]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    trained = whole["finetune"] | {"column_map": {"instruction": "frage", "output": "antwort"}}
    recipe = {"data": str(data), "finetune": trained, "evaluate": whole["evaluate"]}
    assert replicate(recipe, tmp_path / "run").status == "completed"
    found = json.loads((tmp_path / "run" / "4-evaluate" / "results.json").read_text(encoding="utf-8"))
    assert found["set"]["read"] == 6
    assert found["config"]["column_map"] == trained["column_map"]
    assert found_in(tmp_path / "run").failure is None
