"""The checks on published data: what they find, and that they let right answers pass."""

import random
import re
from dataclasses import replace

import pytest

from alpaca_lora.curation import RULES, curate
from alpaca_lora.records import load_records

pytestmark = pytest.mark.reference

PLANTED, SEED = 500, 0
RESULT = re.compile(r"=\s*\$?\s*(\d[\d,]*(?:\.\d+)?)")
CALCULATED = re.compile(r"[\d%)][^=\n]*[-+*/x×÷][^=\n]*\d[^=\n]*$")


def with_a_wrong_result(record, rng):
    """Change one result of a calculation, by a little, by a lot or to its double; None for an answer without one."""
    results = [
        found
        for found in RESULT.finditer(record.output)
        if CALCULATED.search(record.output[: found.start()].rpartition("\n")[2])
    ]
    if not results:
        return None
    found = rng.choice(results)
    right = float(found[1].replace(",", ""))
    amiss = rng.choice([right + rng.choice([1, 2, 3, 5, 10]), right * 2 or 1, abs(right - rng.choice([1, 2, 3]))])
    amiss = amiss if amiss != right else right + 4
    return replace(record, output=f"{record.output[: found.start(1)]}{amiss:g}{record.output[found.end(1) :]}")


@pytest.mark.slow
def test_wrong_results_planted_in_gsm8k_are_found_and_untouched_answers_pass(reference_data):
    check = RULES["arithmetic"].check
    rng = random.Random(SEED)
    records = load_records(reference_data / "gsm8k_alpaca_7473.json")
    rng.shuffle(records)
    planted, untouched = [], []
    for record in records:
        changed = with_a_wrong_result(record, rng) if len(planted) < PLANTED else None
        (untouched if changed is None else planted).append(changed or record)
    assert len(planted) == PLANTED
    found = sum(bool(verdict and not verdict.ok) for verdict in map(check, planted))
    rejected = sum(bool(verdict and not verdict.ok) for verdict in map(check, untouched))
    assert found >= 0.9 * PLANTED
    assert rejected <= 0.01 * len(untouched)


def test_the_published_alpaca_records_are_kept_or_dropped_and_nothing_else(reference_data, tmp_path):
    source = reference_data / "alpaca_en_999.json"
    result = curate(source, tmp_path / "out", against=[reference_data / "user_oriented_252.jsonl"])
    assert result.read == 999
    assert result.kept + result.dropped == 999
    found = {item.rule: item.found for item in result.rules}
    assert found["no_input_marker"] == 8
    assert found["exact_duplicate"] == 14
    assert "contamination" not in found


def test_general_instructions_are_no_leak_of_seed_tasks_into_the_evaluation_set(reference_data, tmp_path):
    source, held_out = reference_data / "stanford_seed_tasks_175.jsonl", reference_data / "user_oriented_252.jsonl"
    result = curate(source, tmp_path / "out", against=[held_out])
    assert "contamination" not in {item.rule for item in result.rules}
