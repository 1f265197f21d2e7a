"""Files that are written to in place are not opened through a link that somebody put in their place."""

import pytest

from alpaca_lora import _files
from alpaca_lora.errors import RunError


def test_a_lock_is_not_a_link(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link to another place"), _files.lock(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_journal_is_not_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("keep\n")
    (tmp_path / "journal.jsonl").symlink_to(elsewhere)
    with pytest.raises(RunError, match="is a link to another place"):
        _files.open_journal(tmp_path / "journal.jsonl")
    assert elsewhere.read_text() == "keep\n"


def test_reserved_space_is_not_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("keep\n")
    (tmp_path / ".ballast").symlink_to(elsewhere)
    with pytest.raises(RunError, match="is a link to another place"):
        _files.reserve_space(tmp_path / ".ballast", 4096)
    assert elsewhere.read_text() == "keep\n"


def test_a_lock_and_a_journal_of_ours_are_made_and_kept(tmp_path):
    for _ in range(2):
        with _files.lock(tmp_path), _files.open_journal(tmp_path / "journal.jsonl") as journal:
            _files.append_line(journal, 1)
    assert (tmp_path / "journal.jsonl").read_text() == "1\n1\n"
