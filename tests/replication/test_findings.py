"""What a check ends in is written down, and what this machine lacks is no fault of what is checked."""

import pytest
import torch

from alpaca_lora.errors import DiskFullError, MissingDependencyError, RunError
from alpaca_lora.replication.findings import Sheet, Unchecked
from alpaca_lora.training.progress import Progress


def outcome_of(error):
    def work():
        raise error

    sheet = Sheet("part", Progress(enabled=False))
    assert not sheet.check("name", work)
    return sheet.findings[0].outcome


@pytest.mark.parametrize("error", [Unchecked("not here"), MissingDependencyError("no gguf"), MemoryError("none left")])
def test_what_cannot_be_told_here_is_not_checked(error):
    assert outcome_of(error) == "not checked"


@pytest.mark.parametrize("error", [RunError("other bytes"), KeyError("models"), OSError("no such file")])
def test_what_is_wrong_fails(error):
    assert outcome_of(error) == "failed"


def test_a_full_disk_ends_it():
    with pytest.raises(DiskFullError):
        outcome_of(DiskFullError("no room"))


def test_what_the_allocator_of_torch_cannot_give_is_not_checked_and_no_finding_is_lost():
    sheet = Sheet("part", Progress(enabled=False))
    sheet.check("first", lambda: "fine")
    sheet.check("second", lambda: str(torch.empty(2**56, dtype=torch.uint8)))
    sheet.check("third", lambda: "fine")
    assert [finding.outcome for finding in sheet.findings] == ["passed", "not checked", "passed"]
    assert "not enough memory" in sheet.findings[1].found
    assert outcome_of(torch.OutOfMemoryError("CUDA out of memory")) == "not checked"


def test_a_fault_of_our_own_is_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        Sheet("part", Progress(enabled=False)).check("name", lambda: str(torch.ones(2, 3) @ torch.ones(2, 3)))
