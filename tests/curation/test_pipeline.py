"""A curation as a whole: what it writes, that nothing is lost, and that a replay is a fresh run."""

import json
import re
from urllib.parse import unquote

import pytest

from alpaca_lora.curation import CurationSettings, curate
from alpaca_lora.curation.outputs import OUTPUTS
from alpaca_lora.errors import ConfigError, RecordError, RunError
from alpaca_lora.records import Record, load_records, read_dataset
from alpaca_lora.records.writing import canonical_lines


@pytest.fixture
def source(rows, tmp_path):
    path = tmp_path / "data" / "set.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_each_row_is_decided_as_a_person_would(source, tmp_path):
    result = curate(source, tmp_path / "out")
    decided = [(line["decision"], line["by"]) for line in lines(tmp_path / "out" / "ledger.jsonl")]
    assert decided == [
        ("repaired", None),
        ("dropped", "arithmetic"),
        ("kept", None),
        ("kept", None),
        ("dropped", "conflicting_answer"),
        ("kept", None),
        ("kept", None),
        ("dropped", "near_duplicate"),
        ("kept", None),
        ("dropped", "near_duplicate"),
        ("kept", None),
        ("kept", None),
    ]
    assert (result.read, result.kept, result.repaired, result.dropped) == (12, 8, 1, 4)


def test_kept_and_dropped_records_are_all_that_were_read(source, rows, tmp_path):
    result = curate(source, tmp_path / "out")
    kept, dropped = load_records(result.data), lines(tmp_path / "out" / "dropped.jsonl")
    assert len(kept) + len(dropped) == len(rows)
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS
    assert kept[0].input == ""
    for line in dropped:
        number = int(line["origin"].removeprefix("set.jsonl:"))
        assert rows[number - 1] == {name: line[name] for name in ("instruction", "input", "output")}


def apply_patch(original, patch):
    """Apply a patch without context, checking each line that it removes."""
    result, place = [], 0
    for line in patch[2:]:
        if line.startswith("@@"):
            old = int(line.split()[1].split(",")[0].removeprefix("-"))
            new, count = map(int, line.split()[2].removeprefix("+").split(","))
            result += original[place : old - 1]
            assert len(result) == new - bool(count)
            place = old
        elif line.startswith("-"):
            assert original[place - 1] == line[1:]
        else:
            result.append(line[1:])
    return [*result, *original[place:]]


def test_the_patch_makes_the_curated_file_of_what_was_read(source, tmp_path):
    curate(source, tmp_path / "out")
    original = canonical_lines(load_records(source)).decode().splitlines()
    patch = (tmp_path / "out" / "changes.diff").read_text(encoding="utf-8").splitlines()
    curated = (tmp_path / "out" / "curated.jsonl").read_text(encoding="utf-8").splitlines()
    assert original != curated
    assert apply_patch(original, patch) == curated


@pytest.mark.parametrize(
    "settings",
    [
        CurationSettings(thresholds={"near_duplicate": 0.9}),
        CurationSettings(thresholds={"near_duplicate": 0.55}),
        CurationSettings(actions={"arithmetic": "flag", "refusal": "drop", "conflicting_answer": "off"}),
    ],
    ids=["a higher threshold", "a lower threshold", "other actions"],
)
def test_a_replay_writes_the_very_bytes_of_a_fresh_run(source, tmp_path, settings):
    curate(source, tmp_path / "first")
    curate(source, tmp_path / "fresh", settings=settings)
    curate(source, tmp_path / "replayed", settings=settings, replay=tmp_path / "first")
    assert contents(tmp_path / "replayed") == contents(tmp_path / "fresh")
    assert contents(tmp_path / "replayed") != contents(tmp_path / "first")


def test_a_replay_measures_nothing(source, tmp_path, monkeypatch):
    curate(source, tmp_path / "first")
    monkeypatch.setattr("alpaca_lora.curation.pipeline.check_record", None)
    monkeypatch.setattr("alpaca_lora.curation.pipeline.compare_within", None)
    result = curate(source, tmp_path / "second", replay=tmp_path / "first")
    assert result.kept == 8
    with pytest.raises(TypeError):
        curate(source, tmp_path / "third")


def test_findings_of_other_data_or_other_repairs_are_not_replayed(source, rows, tmp_path):
    curate(source, tmp_path / "first")
    with pytest.raises(RunError, match="rows was 12, now 11; data_sha256 was"):
        curate(rows[1:], tmp_path / "second", replay=tmp_path / "first")
    settings = CurationSettings(actions={"no_input_marker": "drop"})
    with pytest.raises(RunError, match="repairs was"):
        curate(source, tmp_path / "second", settings=settings, replay=tmp_path / "first")
    with pytest.raises(RunError, match="column_map was None"):
        curate(source, tmp_path / "second", column_map={"input": "instruction"}, replay=tmp_path / "first")
    (tmp_path / "first" / "ledger.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="has 0 lines instead of 12"):
        curate(source, tmp_path / "second", replay=tmp_path / "first")
    with pytest.raises(RunError, match="holds no complete curation"):
        curate(source, tmp_path / "second", replay=tmp_path / "nowhere")
    assert not (tmp_path / "second").exists()


def test_what_is_held_out_is_left_out(source, tmp_path):
    held_out = tmp_path / "eval.jsonl"
    held_out.write_text('{"instruction": "Explain why the leaves fall from trees in autumn.", "output": "x"}\n')
    result = curate(source, tmp_path / "out", against=[held_out])
    assert {item.rule: item.dropped for item in result.rules}["contamination"] == 1
    assert "leaves" not in result.data.read_text(encoding="utf-8")


def test_a_map_is_for_held_out_sets_too_that_lack_the_usual_columns(tmp_path):
    def write(name, *rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return tmp_path / name

    asked = ["Name a river in Africa.", "Explain why leaves fall in autumn.", "Describe how bees make honey."]
    source = write("data.jsonl", *({"frage": text, "antwort": f"About {text}"} for text in asked))
    odd = write("odd.jsonl", {"frage": asked[1], "antwort": "It is cold."})
    usual = write("usual.jsonl", {"instruction": asked[2], "output": "They fly out."})
    columns = {"instruction": "frage", "output": "antwort"}
    result = curate(source, tmp_path / "out", against=[odd, usual], column_map=columns)
    assert [record.instruction for record in load_records(result.data)] == asked[:1]
    write("odd.jsonl", {"frage": "", "antwort": "It is cold."})
    with pytest.raises(RecordError, match=r"odd\.jsonl:1: field \"frage\" is empty"):
        curate(source, tmp_path / "out", against=[odd], column_map=columns)


def test_of_a_set_with_rows_for_evaluation_only_these_are_held_out(tmp_path):
    mini = read_dataset("alpaca-mini")
    trained, evaluated = mini.records[0], mini.heldout[0]
    source = tmp_path / "set.jsonl"
    source.write_bytes(canonical_lines([trained, evaluated]))
    result = curate(source, tmp_path / "out", against=["alpaca-mini"])
    assert load_records(result.data) == [trained]
    (dropped,) = lines(tmp_path / "out" / "dropped.jsonl")
    assert (dropped["rule"], dropped["instruction"]) == ("contamination", evaluated.instruction)


def test_the_packaged_records_stay_but_for_one_that_is_much_like_another(tmp_path):
    curate("alpaca-mini", tmp_path / "out")
    (dropped,) = lines(tmp_path / "out" / "dropped.jsonl")
    assert (dropped["rule"], dropped["instruction"]) == ("near_duplicate", "Change the sentence to the passive voice.")


def test_an_earlier_curation_is_replaced_and_anything_else_is_not(source, tmp_path):
    curate(source, tmp_path / "out")
    first = contents(tmp_path / "out")
    curate(source, tmp_path / "out")
    assert contents(tmp_path / "out") == first
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"it holds more than a curation \(notes.txt\), which would be lost"):
        curate(source, tmp_path / "out")
    with pytest.raises(ConfigError, match="it holds the data 'set.jsonl'"):
        curate(source, source.parent)


KILLED = """
import os, signal, sys
from pathlib import Path
from alpaca_lora.curation import curate
replace = Path.replace
def killed_at_the_second_rename(path, target):
    if path.is_dir() and path.name.startswith(".staging-"):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
Path.replace = killed_at_the_second_rename
curate(sys.argv[1], sys.argv[2])
"""


def test_an_earlier_curation_is_back_after_a_kill_between_the_two_renames(source, tmp_path, run_python, monkeypatch):
    curate(source, tmp_path / "runs" / "out")
    first = contents(tmp_path / "runs" / "out")
    other = tmp_path / "runs" / ".staging-of-another-process"
    other.mkdir()
    monkeypatch.chdir(tmp_path / "runs")
    assert run_python("-c", KILLED, source, "out", cwd=tmp_path / "runs").returncode < 0
    assert not (tmp_path / "runs" / "out").exists()
    with pytest.raises(RecordError):
        curate(tmp_path / "none.jsonl", "out")
    assert contents(tmp_path / "runs" / "out") == first
    assert other.exists()


def test_a_link_is_not_taken_for_an_earlier_curation(source, tmp_path):
    curate(source, tmp_path / "elsewhere" / "out")
    first = contents(tmp_path / "elsewhere" / "out")
    (tmp_path / ".retired-out").symlink_to(tmp_path / "elsewhere" / "out")
    curate(source, tmp_path / "out", settings=CurationSettings(actions={"refusal": "drop"}))
    assert contents(tmp_path / "elsewhere" / "out") == first
    assert contents(tmp_path / "out") != first


def test_a_file_that_cannot_be_read_leaves_nothing(tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"instruction": 3, "output": "x"}\n', encoding="utf-8")
    with pytest.raises(RecordError, match="must be text"):
        curate(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_set_of_which_nothing_stays_is_told_as_such(tmp_path):
    result = curate([{"instruction": "Name a colour.", "output": " "}], tmp_path / "out")
    assert (result.kept, result.dropped) == (0, 1)
    assert result.data.read_bytes() == b""


def test_findings_name_file_line_rule_and_level_for_other_tools(source, tmp_path):
    curate(source, tmp_path / "out")
    (run,) = json.loads((tmp_path / "out" / "findings.sarif").read_text(encoding="utf-8"))["runs"]
    found = next(result for result in run["results"] if result["ruleId"] == "arithmetic")
    assert found["level"] == "error"
    assert found["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": source.as_uri()},
        "region": {"startLine": 2},
    }
    assert run["tool"]["driver"]["rules"][found["ruleIndex"]]["id"] == "arithmetic"
    assert found["message"]["text"] == "The record has a wrong equation in its answer: 17 + 26 = 44 (it is 43)"


@pytest.mark.parametrize(
    ("source", "uris"),
    [
        ("my set/a%20.jsonl", {"my%20set/a%2520.jsonl"}),
        ("./my set/../my set/a%20.jsonl", {"my%20set/../my%20set/a%2520.jsonl"}),
        ("part*/same.jsonl", {"part1/same.jsonl", "part2/same.jsonl"}),
        ("./part?/*.jsonl", {"part1/same.jsonl", "part2/same.jsonl"}),
    ],
)
def test_findings_point_to_the_file_from_where_the_source_was_named(tmp_path, monkeypatch, rows, source, uris):
    for name, part in {"my set/a%20.jsonl": rows, "part1/same.jsonl": rows, "part2/same.jsonl": rows}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(canonical_lines([Record(**row) for row in part]))
    monkeypatch.chdir(tmp_path)
    curate(source, "out")
    assert locations(tmp_path / "out") == uris
    assert all((tmp_path / unquote(uri)).is_file() for uri in uris)
    if len(uris) == 2:
        assert {line["origin"].rpartition(":")[0] for line in lines(tmp_path / "out" / "dropped.jsonl")} == uris


def test_of_a_file_that_was_named_in_full_findings_have_a_file_uri(source, tmp_path):
    curate(source, tmp_path / "out")
    assert locations(tmp_path / "out") == {source.as_uri()}


def locations(directory):
    """The files that findings point to."""
    (run,) = json.loads((directory / "findings.sarif").read_text(encoding="utf-8"))["runs"]
    places = [place["physicalLocation"] for result in run["results"] for place in result["locations"]]
    return {place["artifactLocation"]["uri"] for place in places}


def test_progress_is_told(source, tmp_path):
    told = []
    curate(source, tmp_path / "out", on_progress=lambda *progress: told.append(progress))
    assert told[0] == ("checking", 1, 12)
    assert ("comparing", 12, 12) in told
    assert told[-1] == ("writing", 1, 1)


@pytest.mark.slow
def test_a_curated_set_trains_unchanged(source, tiny_base, tmp_path):
    from alpaca_lora.config import FinetuneConfig
    from alpaca_lora.training import finetune

    curated = curate(source, tmp_path / "out")
    config = FinetuneConfig(max_steps=2, validation_size=2, probe_size=0, max_length=160)
    result = finetune(tiny_base, curated.data, tmp_path / "run", config=config, progress=False)
    assert result.status == "completed"
    assert result.summary.data.trained_rows + result.summary.data.heldout_rows == curated.kept


def test_neither_the_data_nor_a_hidden_file_is_replaced(source, tmp_path):
    first = curate(source, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"it holds the data 'curated\.jsonl'"):
        curate(first.data, tmp_path / "out")
    (tmp_path / "out" / ".git").mkdir()
    with pytest.raises(ConfigError, match=r"holds more than a curation \(\.git\)"):
        curate(source, tmp_path / "out")
    assert (tmp_path / "out" / ".git").is_dir()


@pytest.mark.parametrize("names", [["COMPLETE", "adapter", "run.json"], [".git"]])
def test_a_run_and_a_hidden_directory_are_no_curation_to_replace(source, tmp_path, names):
    for name in names:
        (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=rf"it holds more than a curation \({', '.join(names)}\)"):
        curate(source, tmp_path / "run")
    assert sorted(item.name for item in (tmp_path / "run").iterdir()) == names


@pytest.mark.parametrize("content", ['{"measured": []}', '{"measured": null}', "[" * 200_000])
def test_a_damaged_curation_is_not_replayed(source, tmp_path, content):
    curate(source, tmp_path / "first")
    (tmp_path / "first" / "curation.json").write_text(content)
    with pytest.raises(RunError, match="holds no complete curation|cannot be replayed"):
        curate(source, tmp_path / "second", replay=tmp_path / "first")


@pytest.mark.parametrize("like", [0, 3, 99, -1, "1"])
def test_a_ledger_that_names_no_earlier_row_is_not_replayed(source, tmp_path, like):
    curate(source, tmp_path / "first")
    path = tmp_path / "first" / "ledger.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'"like_row": 2\b', f'"like_row": {json.dumps(like)}', text, count=1), encoding="utf-8")
    with pytest.raises(RunError, match="row 3: like_row must be an earlier row"):
        curate(source, tmp_path / "second", replay=tmp_path / "first")


def test_a_path_for_a_list_and_a_mapping_for_settings_are_refused(source, tmp_path):
    with pytest.raises(ConfigError, match="against must be a list of files"):
        curate(source, tmp_path / "out", against="eval.jsonl")
    with pytest.raises(ConfigError, match="settings must be CurationSettings"):
        curate(source, tmp_path / "out", settings={"thresholds": {}})
