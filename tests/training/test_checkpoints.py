import json
import shutil

import pytest

from alpaca_lora.errors import RunError
from alpaca_lora.training.checkpoints import (
    MANIFEST,
    choose_checkpoint,
    fault_of,
    list_checkpoints,
    make_room,
    rotate,
    write_manifest,
)

FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "optimizer.pt",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
)
RUN = "a" * 32


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"run_id": RUN}))

    def make(step, run_id=RUN):
        directory = tmp_path / f"checkpoint-{step}"
        directory.mkdir()
        for name in FILES:
            (directory / name).write_text(json.dumps({"name": name, "step": step}))
        write_manifest(directory, step, run_id)
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


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_file_that_was_never_written_is_found(checkpoint, name):
    directory = checkpoint(3)
    (directory / name).unlink()
    write_manifest(directory, 3, RUN)
    assert fault_of(directory) == f"{name} is missing"


def test_of_several_processes_each_has_its_random_state(checkpoint, tmp_path):
    directory = checkpoint(3)
    for rank in range(2):
        shutil.copy(directory / "rng_state.pth", directory / f"rng_state_{rank}.pth")
    (directory / "rng_state.pth").unlink()
    write_manifest(directory, 3, RUN, processes=2)
    assert fault_of(directory) is None
    assert choose_checkpoint(tmp_path, "auto").checkpoint == directory
    write_manifest(directory, 3, RUN, processes=3)
    assert fault_of(directory) == "rng_state_2.pth is missing"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"step": 3}', '{"run": "a", "step": 3, "files": []}', "[" * 100_000]
)
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
    write_manifest(directory, 3, RUN)
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
        assert choice.skipped == ("skipped checkpoint-8: optimizer.pt is missing; it is now quarantine/checkpoint-8",)
        assert (tmp_path / "quarantine" / "checkpoint-8.txt").read_text() == "optimizer.pt is missing\n"
        assert (tmp_path / "quarantine" / "checkpoint-8" / "scheduler.pt").exists()

    def test_if_none_verifies_it_begins_anew_and_nothing_is_deleted(self, checkpoint, tmp_path):
        (checkpoint(4) / "optimizer.pt").unlink()
        choice = choose_checkpoint(tmp_path, "auto")
        assert choice.checkpoint is None
        assert choice.skipped[-1] == "no checkpoint verified, so training began anew; nothing was deleted"
        assert (tmp_path / "quarantine" / "checkpoint-4").is_dir()

    def test_what_is_not_ours_is_passed_over_and_stays(self, checkpoint, tmp_path):
        older = checkpoint(4)
        (tmp_path / "checkpoint-9").mkdir()
        foreign = checkpoint(8, "b" * 32)
        choice = choose_checkpoint(tmp_path, "auto")
        assert choice.checkpoint == older
        assert choice.skipped[1] == "skipped checkpoint-8: it belongs to another run"
        assert foreign.is_dir()
        assert (tmp_path / "checkpoint-9").is_dir()

    @pytest.mark.catalogue(81)
    def test_an_empty_directory_starts_afresh(self, checkpoint, tmp_path):
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
        rotate(tmp_path, keep=2, best_step=1, run_id=RUN)
        assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-3", "checkpoint-1"]

    def test_a_directory_of_the_user_stays(self, checkpoint, tmp_path):
        for name in ("checkpoint-1", "checkpoint-final"):
            (tmp_path / name).mkdir()
        for step in (5, 6, 7):
            checkpoint(step)
        rotate(tmp_path, keep=1, best_step=None, run_id=RUN)
        assert {path.name for path in tmp_path.glob("checkpoint-*")} == {
            "checkpoint-1",
            "checkpoint-final",
            "checkpoint-7",
        }

    def test_a_checkpoint_of_another_run_stays(self, checkpoint, tmp_path):
        foreign = checkpoint(1, "b" * 32)
        for step in (5, 6):
            checkpoint(step)
        rotate(tmp_path, keep=1, best_step=None, run_id=RUN)
        assert foreign.is_dir()


class TestPlace:
    """What stands where the next checkpoint shall be."""

    def test_one_that_verifies_is_kept(self, checkpoint, tmp_path):
        checkpoint(4)
        assert not make_room(tmp_path, 4, RUN)

    @pytest.mark.parametrize("name", [None, "MANIFEST.json", "optimizer.pt"])
    def test_anything_else_is_moved_and_kept(self, checkpoint, tmp_path, name):
        if name is None:
            (tmp_path / "checkpoint-4").mkdir()
        else:
            (checkpoint(4) / name).write_text("damaged")
        assert make_room(tmp_path, 4, RUN)
        assert not (tmp_path / "checkpoint-4").exists()
        assert (tmp_path / "quarantine" / "checkpoint-4").is_dir()


def test_numbers_that_json_does_not_know_become_null(checkpoint):
    directory = checkpoint(3)
    (directory / "trainer_state.json").write_text(
        '{"best_metric": NaN, "log": [Infinity, 1.5], "best_model_checkpoint": "/a/checkpoint-2"}'
    )
    write_manifest(directory, 3, RUN)
    state = json.loads((directory / "trainer_state.json").read_text(), parse_constant=pytest.fail)
    assert state == {"best_metric": None, "log": [None, 1.5], "best_model_checkpoint": None}
