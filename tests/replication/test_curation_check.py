"""A curation is made again from its own directory: the patch taken back, every row checked and compared."""

import json
import re

import pytest

from alpaca_lora.curation import CurationSettings, curate

ROWS = [
    {"instruction": "Name a river in Africa.", "input": "<noinput>", "output": "The Nile."},
    {"instruction": "What is 17 + 26?", "input": "", "output": "17 + 26 = 44"},
    {"instruction": "What is 17 + 26?", "input": "", "output": "17 + 26 = 43"},
    {"instruction": "Translate into German.", "input": "The sea is wide.", "output": "Das Meer ist weit."},
    {"instruction": "Translate into German.", "input": "The sea is wide.", "output": "Die See ist weit."},
    {"instruction": "Write a short poem about the sea.", "input": "", "output": "Blue\u2028and wide\n\u00a0it lies."},
    {"instruction": "Write a very short poem about the sea.", "input": "", "output": "Salt and foam."},
    {"instruction": "Name a river in Africa.", "input": "", "output": "The  Nile."},
    {"instruction": "Explain why leaves fall from the trees in autumn.", "input": "", "output": "To save water."},
]
CHECKS = {"files": "passed", "counts": "passed", "records": "passed"}


@pytest.fixture(scope="module")
def mended(tmp_path_factory):
    """A curation that repairs, drops for several reasons, and leaves out what is in another set."""
    place = tmp_path_factory.mktemp("curated")
    (place / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    (place / "eval.jsonl").write_text(json.dumps(ROWS[-1]) + "\n", encoding="utf-8")
    settings = CurationSettings(thresholds={"near_duplicate": 0.8})
    result = curate(place / "set.jsonl", place / "out", against=[place / "eval.jsonl"], settings=settings)
    assert (result.read, result.repaired, result.dropped) == (9, 2, 5)
    return place / "out"


def test_every_file_follows_from_the_rows_that_were_read(mended, curation, found_in):
    for directory in (mended, curation):
        found = found_in(directory)
        assert (found.result.kind, found.outcomes) == ("curation", CHECKS)
    assert "1 evaluation sets is taken from the ledger" in found_in(mended).said["records"]


def test_the_source_need_not_be_there(mended, copy_of, found_in):
    assert found_in(copy_of(mended)).outcomes == CHECKS


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("curated.jsonl", lambda rows: rows.pop(), "curated.jsonl has 3 rows, and not those that ledger.jsonl keeps"),
        ("curated.jsonl", lambda rows: rows[0].update(output="The Congo."), "does not follow"),
        (
            "curated.jsonl",
            lambda rows: rows[2].update(output="As an AI, I cannot."),
            "does not follow|not what is found",
        ),
        (
            "ledger.jsonl",
            lambda rows: rows[1]["findings"].clear(),
            "ledger.jsonl:2: what it holds is not what is found",
        ),
        ("ledger.jsonl", lambda rows: rows[2].update(verified=[]), "ledger.jsonl:3: what it holds is not what"),
        ("ledger.jsonl", lambda rows: rows[8].update(by=None), "ledger.jsonl does not follow"),
        ("dropped.jsonl", lambda rows: rows[0].update(score=0.5), "dropped.jsonl does not follow"),
        ("statistics.json", lambda it: it["kept"].update(records=9), "statistics.json does not follow"),
        ("findings.sarif", None, "findings.sarif does not follow"),
        ("report.html", None, "report.html does not follow"),
        ("curation.json", lambda it: it["actions"].update(arithmetic="flag"), "does not follow|keeps"),
        ("curation.json", lambda it: it.update(kept=5), "kept and dropped rows are not those that were read"),
    ],
)
def test_what_does_not_follow_is_found_although_it_is_sealed(mended, copy_of, found_in, rewrite, file, change, said):
    def damage(it):
        if change is None:
            (it / file).write_text((it / file).read_text(encoding="utf-8") + " ", encoding="utf-8")
        else:
            rewrite(it / file, change)

    failure = found_in(copy_of(mended, damage)).failure
    assert failure is not None
    assert re.search(said, failure.found), failure.found


def test_another_version_is_not_judged(mended, copy_of, found_in, rewrite):
    changed = copy_of(mended, lambda it: rewrite(it / "curation.json", lambda one: one["measured"].update(version="0")))
    found = found_in(changed)
    assert (found.outcomes["records"], found.result.passed) == ("not checked", True)
    assert "made by alpaca-lora 0" in found.said["records"]
