"""What a check ends in is written down, and what this machine lacks is no fault of what is checked."""

import pytest

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
