"""A clean process has this one's packages and nothing else of it, and its last word is the error."""

import pytest

from alpaca_lora.adapters.clean_process import run_in_clean_process
from alpaca_lora.errors import AdapterError, ExportError, MissingDependencyError


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


def test_a_package_that_is_not_here_is_no_fault_of_the_files():
    code = "from alpaca_lora._optional import require; require('nobody_has_this', extra='quant')"
    with pytest.raises(MissingDependencyError, match=r"^nobody_has_this is not installed: run  pip install"):
        run_in_clean_process(code, failed=AdapterError)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise MemoryError", "MemoryError"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "it was ended by signal 9, mostly for lack of memory",
        ),
        ("import torch; raise torch.OutOfMemoryError('CUDA')", "torch.OutOfMemoryError: CUDA"),
        ("import torch; torch.empty(2**60, dtype=torch.int8)", "RuntimeError: .* can't allocate memory: .*"),
    ],
)
def test_nor_is_too_little_memory_which_names_the_files_and_what_to_do(code, said):
    with pytest.raises(MemoryError, match=f"^'a' does not open: {said}: free some and try again$"):
        run_in_clean_process(code, failed=lambda last: AdapterError(f"'a' does not open: {last}"))
