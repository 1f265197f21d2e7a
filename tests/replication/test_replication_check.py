"""A replication is complete, each stage what it claims to be, and each made from the one before."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from alpaca_lora._files import sha256_of
from alpaca_lora._seals import list_files, seal
from alpaca_lora.replication.findings import Sheet
from alpaca_lora.replication.replication_check import check_replication
from alpaca_lora.training.progress import Progress

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_gates")]

STAGES = ("1-generate", "2-curate", "3-finetune", "4-evaluate", "5-export")


def look(directory):
    """Check files and sources, without looking into the stages."""
    sheet = Sheet("whole", Progress(enabled=False))
    check_replication(directory, sheet, lambda *_: None)
    return sheet.findings


def first_fault(directory):
    return next((finding for finding in look(directory) if finding.outcome == "failed"), None)


@pytest.fixture
def whole(replicated, copy_of):
    return copy_of(replicated)


def test_a_replication_passes_and_so_does_each_of_its_stages(replicated, found_in):
    result = found_in(replicated).result
    assert (result.kind, result.passed) == ("replication", True)
    assert list(dict.fromkeys(finding.part for finding in result.findings)) == ["whole", *STAGES, "5-export/hf"]
    assert [finding.check for finding in result.findings if finding.outcome == "not checked"] == ["files of the whole"]
    said = {(finding.part, finding.check): finding.found for finding in result.findings}
    assert said["2-curate", "made from"] == "1-generate/records.jsonl"
    assert said["3-finetune", "made from"] == "2-curate/curated.jsonl"
    assert said["4-evaluate", "made from"] == "3-finetune/adapter/adapter_model.safetensors"
    assert "opened in a clean process: each of 21 weights" in said["5-export/hf", "model"]


@given(data=st.data())
@of_hypothesis(max_examples=60)
def test_the_stage_and_the_file_of_a_changed_byte_are_named(replicated, data):
    stage = data.draw(st.sampled_from(STAGES))
    names = [name for name in list_files(replicated / stage) if (replicated / stage / name).stat().st_size]
    path = replicated / stage / data.draw(st.sampled_from(names))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :])
    fault = first_fault(replicated)
    path.write_bytes(content)
    assert fault.part == stage
    assert fault.found.startswith(f"{path.relative_to(replicated / stage).as_posix()} has changed")


def test_no_file_can_be_removed_or_added(whole):
    for stage in STAGES:
        for name in list_files(whole / stage):
            path = whole / stage / name
            moved = path.rename(whole / "README.bak")
            whole_fault, fault, *_ = [finding for finding in look(whole) if finding.outcome == "failed"]
            assert (whole_fault.part, whole_fault.found.startswith("README.bak was added")) == ("whole", True)
            assert (fault.part, fault.found.startswith(f"{name} is missing")) == (stage, True)
            moved.rename(path)
        (whole / stage / "notes.txt").touch()
        assert first_fault(whole).found.startswith("notes.txt was added")
        (whole / stage / "notes.txt").unlink()
    (whole / "6-more").mkdir()
    (whole / "6-more/x").touch()
    assert first_fault(whole).found.startswith("6-more/x was added")


def test_a_seal_covers_what_stands_beside_the_stages(whole):
    seal(whole)
    assert all(finding.outcome == "passed" for finding in look(whole))
    for name in ("README.md", "report.html", "replication.json", "recipe.json", "run.json"):
        content = (whole / name).read_bytes()
        (whole / name).write_bytes(content + b" ")
        assert (first_fault(whole).part, name in first_fault(whole).found) == ("whole", True)
        (whole / name).write_bytes(content)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "stages": [{"dir": "../x", "files": {}}]}', "[" * 10**5]
)
def test_a_damaged_manifest_is_one_error(whole, text):
    (whole / "replication.json").write_text(text)
    assert first_fault(whole).found.startswith("replication.json")


def test_a_stage_that_was_made_anew_without_those_after_it_is_named(whole):
    """Digests agree everywhere, but the curated rows are others than those that were trained on."""
    curated = whole / "2-curate/curated.jsonl"
    curated.write_bytes(b"".join(curated.read_bytes().splitlines(keepends=True)[:-1]))
    manifest = json.loads((whole / "replication.json").read_text(encoding="utf-8"))
    manifest["stages"][1]["files"]["curated.jsonl"]["sha256"] = sha256_of(curated)
    (whole / "replication.json").write_text(json.dumps(manifest))
    fault = first_fault(whole)
    assert (fault.part, fault.check) == ("3-finetune", "made from")
    assert "not from 2-curate/curated.jsonl" in fault.found


def test_joined_records_are_those_that_were_generated_and_more(whole):
    records = whole / "1-generate/records.jsonl"
    joined = whole / "1-generate/joined.jsonl"
    manifest = json.loads((whole / "replication.json").read_text(encoding="utf-8"))
    for content, check in ((records.read_bytes() + b"{}\n", "3"), (b"{}\n", "1-generate")):
        joined.write_bytes(content)
        manifest["stages"][0]["files"]["joined.jsonl"] = {"sha256": sha256_of(joined), "bytes": 0}
        (whole / "replication.json").write_text(json.dumps(manifest))
        fault = first_fault(whole)
        assert (fault.part, fault.check) == ("2-curate" if check == "3" else check, "made from")
