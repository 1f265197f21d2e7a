from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.curation import CurationSettings
from alpaca_lora.curation.decisions import count_rules, decide
from alpaca_lora.curation.measured import Finding, Measured

NEAR, DEFAULT = "near_duplicate", CurationSettings()


def measured(*rows):
    return [Measured(tuple(row)) for row in rows]


def outcomes(rows, settings=DEFAULT):
    return [decision.outcome for decision in decide(rows, settings)]


def test_of_a_chain_of_similar_rows_only_those_like_a_kept_one_are_dropped():
    rows = measured([], [Finding(NEAR, "", 0.8, 0)], [Finding(NEAR, "", 0.8, 1)])
    assert outcomes(rows) == ["kept", "dropped", "kept"]


def test_a_row_like_one_that_was_dropped_for_its_answer_stays():
    rows = measured([Finding("arithmetic", "")], [Finding("conflicting_answer", "", 1, 0), Finding(NEAR, "", 1, 0)])
    assert outcomes(rows) == ["dropped", "kept"]


def test_a_copy_of_a_dropped_row_is_dropped():
    assert outcomes(measured([Finding("arithmetic", "")], [Finding("exact_duplicate", "", 1, 0)])) == ["dropped"] * 2


def test_a_score_at_the_threshold_does_not_count():
    rows = measured([], [Finding(NEAR, "", 0.7, 0)])
    assert outcomes(rows) == ["kept", "kept"]
    assert outcomes(rows, CurationSettings(thresholds={NEAR: 0.69})) == ["kept", "dropped"]


def test_actions_decide():
    rows = measured([Finding("refusal", "")])
    found = {"drop": "dropped", "flag": "kept", "off": "kept"}
    for action, outcome in found.items():
        assert outcomes(rows, CurationSettings(actions={"refusal": action})) == [outcome]
    assert outcomes(measured([Finding("mojibake", "")])) == ["repaired"]
    assert outcomes(measured([Finding("mojibake", ""), Finding("arithmetic", "")])) == ["dropped"]


def test_a_row_is_dropped_by_the_first_rule_in_their_order():
    (decision,) = decide(measured([Finding("contamination", "", 0.9), Finding("empty_output", "")]), DEFAULT)
    assert decision.by == "empty_output"


names, scores = (
    st.sampled_from(["empty_output", "refusal", "mojibake", "contamination"]),
    st.sampled_from([0.6, 0.8, 1.0]),
)
findings = st.tuples(names, scores).map(lambda found: Finding(found[0], "", found[1]))


@given(st.lists(st.lists(findings, max_size=3), max_size=8), st.sampled_from([0.5, 0.7, 0.9]))
def test_every_row_is_counted_once_and_never_by_two_rules(rows, threshold):
    settings = CurationSettings(thresholds={"contamination": threshold})
    found = measured(*rows)
    decisions = decide(found, settings)
    dropped = sum(decision.outcome == "dropped" for decision in decisions)
    counts = count_rules(found, decisions, settings)
    assert len(decisions) == len(rows)
    assert sum(item.dropped for item in counts) == dropped
    assert all(item.found >= item.dropped + item.repaired + item.flagged for item in counts)
