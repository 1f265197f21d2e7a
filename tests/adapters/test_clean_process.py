"""A clean process has this one's packages and nothing else of it, and its last word is the error."""

import pytest

from alpaca_lora.adapters.clean_process import run_in_clean_process
from alpaca_lora.errors import AdapterError, ExportError


def test_what_it_prints_is_returned_and_the_hub_is_out_of_its_reach(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    code = "import os, sys, alpaca_lora; print(sys.argv[1:], os.environ['HF_HUB_OFFLINE'])"
    assert run_in_clean_process(code, "a b", failed=AdapterError) == "['a b'] 1\n"


@pytest.mark.parametrize("kind", [AdapterError, ExportError])
@pytest.mark.parametrize(
    ("code", "said"), [("raise ValueError('no')", "ValueError: no"), ("exit(3)", "it ended with 3 and no message")]
)
def test_one_that_fails_is_the_callers_error_with_its_last_line(kind, code, said):
    with pytest.raises(kind, match=f"it failed: {said}"):
        run_in_clean_process(code, failed=lambda last: kind(f"it failed: {last}"))
