"""A generation is replayed from its journal: what does not follow from the answers is found, sealed or not."""

import re

import pytest

from alpaca_lora.records import save_records
from alpaca_lora.selfinstruct import load_seeds

PASSED = {"files": "passed", "end": "passed", "records": "passed", "ledger": "passed"}


def test_a_generation_follows_from_its_answers(generation, found_in):
    found = found_in(generation)
    assert (found.result.kind, found.outcomes, found.result.passed) == ("generation", PASSED, True)
    assert "byte for byte" in found.said["records"]


@pytest.mark.parametrize(
    "settings", [{"pilot": 3}, {"budget_tokens": 9_000}, {"second": "b"}, {"second": "b", "budget_tokens": 20_000}]
)
def test_so_does_one_that_was_ended_early_or_had_its_answers_written_anew(settings, generate, found_in, tmp_path):
    result = generate(tmp_path / "run", **settings)
    assert found_in(tmp_path / "run").outcomes == PASSED
    assert (result.status == "completed") == (settings == {"second": "b"})


@pytest.mark.parametrize(
    ("file", "change", "check", "said"),
    [
        ("records.jsonl", lambda rows: rows.pop(), "records", "records.jsonl does not follow from the answers"),
        ("records.jsonl", lambda rows: rows[0].update(output="Else."), "records", "records.jsonl does not follow"),
        ("decisions.jsonl", lambda rows: rows[0].update(rule="kept!"), "records", "decisions.jsonl does not follow"),
        (
            "summary.json",
            lambda it: it["settled"].update(tokens=1),
            "ledger",
            "summary.json does not agree with journal",
        ),
        ("summary.json", lambda it: it.update(kept=23), "ledger", "kept 23 instead of 24"),
        ("summary.json", lambda it: it.update(requests=5), "ledger", "requests 5 instead of"),
        ("journal.jsonl", lambda rows: rows[1].update(tokens=0), "records", "does not agree with its checksum"),
        ("run.json", lambda it: it["config"].update(seed=7), "records", "does not follow|answer"),
    ],
)
def test_what_does_not_follow_is_found_although_it_is_sealed(
    generation, copy_of, found_in, rewrite, file, change, check, said
):
    found = found_in(copy_of(generation, lambda it: rewrite(it / file, change)))
    assert found.failure is not None
    assert found.failure.check == check
    assert re.search(said, found.failure.found), found.failure.found


def test_without_its_seed_tasks_a_replay_is_not_claimed(generate, found_in, tmp_path):
    seeds = [task.record for task in load_seeds().tasks[:9]]
    save_records(seeds, tmp_path / "seeds.jsonl")
    generate(tmp_path / "run", num=4, seeds=str(tmp_path / "seeds.jsonl"))
    assert found_in(tmp_path / "run").outcomes == PASSED
    save_records(seeds[1:], tmp_path / "seeds.jsonl")
    changed = found_in(tmp_path / "run")
    (tmp_path / "seeds.jsonl").unlink()
    gone = found_in(tmp_path / "run")
    for found, why in ((changed, "are not those of then"), (gone, "are not here any more")):
        assert found.outcomes == PASSED | {"records": "not checked", "ledger": "not checked"}
        assert why in found.said["records"]


def test_another_version_that_decides_otherwise_is_no_fault(generation, copy_of, found_in, rewrite):
    def change(it):
        rewrite(it / "run.json", lambda run: run["environment"].update(alpaca_lora="0.0.1"))
        rewrite(it / "records.jsonl", lambda rows: rows.pop())

    found = found_in(copy_of(generation, change))
    assert found.outcomes["records"] == "not checked"
    assert "made by alpaca-lora 0.0.1" in found.said["records"]


def test_a_generation_that_was_killed_has_no_seal_and_no_end(generation, copy_of, found_in):
    killed = copy_of(generation)
    for name in ("SHA256SUMS", "records.jsonl", "decisions.jsonl", "summary.json"):
        (killed / name).unlink()
    found = found_in(killed)
    assert "SHA256SUMS is missing" in found.failure.found
    assert found.outcomes["records"] == "not checked"
