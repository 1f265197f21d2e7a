from math import inf

import pytest

from alpaca_lora.curation import CurationSettings
from alpaca_lora.errors import ConfigError


def test_what_is_not_named_keeps_the_rules_own():
    settings = CurationSettings(thresholds={"near_duplicate": 0.8}, actions={"refusal": "drop"})
    assert settings.threshold("near_duplicate") == 0.8
    assert settings.threshold("contamination") == 0.7
    assert settings.threshold("refusal") is None
    assert settings.action("refusal") == "drop"
    assert settings.action("no_input_marker") == "fix"
    assert "no_input_marker" in settings.repairs


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        CurationSettings(
            thresholds={"near": 0.5, "refusal": 1, "near_duplicate": 0.4, "contamination": inf},
            actions={"refuse": "drop", "refusal": "fix", "arithmetic": "delete"},
            compare="output",
            method="embedding",
        )
    faults = str(caught.value).splitlines()
    assert faults == [
        "threshold: there is no rule 'near'; alpaca-lora curate --rules lists them",
        "threshold: refusal is found or not, and has no threshold; those that have one are long_instruction, "
        "near_duplicate, contamination",
        "threshold of near_duplicate must be a number from 0.5 on, got 0.4",
        "threshold of contamination must be a number from 0.5 on, got inf",
        "action: there is no rule 'refuse'; alpaca-lora curate --rules lists them",
        "action of refusal cannot be 'fix', which only a person can do here; use drop, flag or off",
        "action of arithmetic must be one of drop, fix, flag, off, got 'delete'",
        "compare must be 'task' or 'instruction', got 'output'",
        "method must be 'exact' or 'minhash', got 'embedding'",
    ]
