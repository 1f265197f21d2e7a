import json

import pytest

from alpaca_lora.errors import RunError
from alpaca_lora.training.checkpoints import MANIFEST, choose_checkpoint, fault_of, list_checkpoints, rotate, seal

FILES = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")


@pytest.fixture
def checkpoint(tmp_path):
    def make(step):
        directory = tmp_path / f"checkpoint-{step}"
        directory.mkdir()
        for name in FILES:
            (directory / name).write_bytes(f"{name} at {step}".encode())
        seal(directory, step)
        return directory

    return make


def test_a_sealed_checkpoint_verifies(checkpoint):
    assert fault_of(checkpoint(3)) is None


def test_a_flipped_bit_is_found(checkpoint):
    path = checkpoint(3) / "optimizer.pt"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    assert fault_of(path.parent) == "optimizer.pt has changed since it was written"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(checkpoint, name):
    directory = checkpoint(3)
    (directory / name).unlink()
    assert fault_of(directory) == f"{name} is missing"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_never_written_is_found(checkpoint, name):
    directory = checkpoint(3)
    (directory / name).unlink()
    seal(directory, 3)
    assert fault_of(directory) == f"{name} is missing"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"step": 3}'])
def test_a_damaged_manifest_is_found(checkpoint, content):
    directory = checkpoint(3)
    (directory / MANIFEST).write_text(content)
    assert "MANIFEST.json is missing or damaged" in fault_of(directory)


def test_a_renamed_checkpoint_is_found(checkpoint, tmp_path):
    checkpoint(3).rename(tmp_path / "checkpoint-9")
    assert fault_of(tmp_path / "checkpoint-9") == "its MANIFEST.json says step 3"


def test_the_pickle_of_all_arguments_is_dropped(checkpoint, tmp_path):
    directory = checkpoint(3)
    (directory / "training_args.bin").write_bytes(b"pickle with a token")
    seal(directory, 3)
    assert not (directory / "training_args.bin").exists()
    assert "training_args.bin" not in json.loads((directory / MANIFEST).read_text())["files"]


class TestChoice:
    """Where a resumed run goes on from."""

    def test_the_newest_is_taken(self, checkpoint, tmp_path):
        newest = [checkpoint(step) for step in (9, 10, 2)][1]
        assert choose_checkpoint(tmp_path, "auto").checkpoint == newest

    def test_a_broken_newest_is_passed_over_and_said(self, checkpoint, tmp_path):
        older, newest = checkpoint(4), checkpoint(8)
        (newest / "optimizer.pt").unlink()
        choice = choose_checkpoint(tmp_path, "auto")
        assert choice.checkpoint == older
        assert choice.skipped == ("skipped checkpoint-8: optimizer.pt is missing",)

    def test_if_none_verifies_nothing_is_deleted(self, checkpoint, tmp_path):
        directory = checkpoint(4)
        (directory / "optimizer.pt").unlink()
        with pytest.raises(RunError, match=r"skipped checkpoint-4: optimizer\.pt is missing\. Nothing was deleted"):
            choose_checkpoint(tmp_path, "auto")
        assert directory.is_dir()

    @pytest.mark.catalogue(81)
    def test_an_empty_directory_starts_afresh(self, tmp_path):
        assert choose_checkpoint(tmp_path, "auto").checkpoint is None

    def test_a_named_checkpoint_is_taken_or_refused_but_never_replaced(self, checkpoint, tmp_path):
        older = checkpoint(4)
        checkpoint(8)
        assert choose_checkpoint(tmp_path, str(older)).checkpoint == older
        (older / "scheduler.pt").unlink()
        with pytest.raises(RunError, match="cannot resume from"):
            choose_checkpoint(tmp_path, str(older))

    def test_another_runs_checkpoint_is_refused(self, checkpoint, tmp_path):
        with pytest.raises(RunError, match="is no checkpoint of"):
            choose_checkpoint(tmp_path / "other", str(checkpoint(4)))


class TestRotation:
    """Only our own, and never the best."""

    def test_the_newest_and_the_best_stay(self, checkpoint, tmp_path):
        for step in (1, 2, 3, 4):
            checkpoint(step)
        rotate(tmp_path, keep=2, best_step=1)
        assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-3", "checkpoint-1"]

    def test_a_directory_of_the_user_stays(self, checkpoint, tmp_path):
        for name in ("checkpoint-1", "checkpoint-final"):
            (tmp_path / name).mkdir()
        for step in (5, 6, 7):
            checkpoint(step)
        rotate(tmp_path, keep=1, best_step=None)
        assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-1", "checkpoint-final", "checkpoint-7"}
