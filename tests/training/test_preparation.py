import json
import shutil
from dataclasses import replace

import pytest
import torch

from alpaca_lora._runs import COMPLETE, enter_run
from alpaca_lora._version import __version__
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError, RunError
from alpaca_lora.models import detect_hardware
from alpaca_lora.training import admission, preparation, ranks
from alpaca_lora.training.preparation import prepare


@pytest.mark.catalogue(80)
def test_two_visible_devices_name_the_variable_that_chooses_one(monkeypatch, tiny_base, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="choose it with CUDA_VISIBLE_DEVICES=0"):
        prepare(tiny_base, "alpaca-mini", tmp_path / "run", None)


def test_preparing_writes_nothing(tiny_base, tmp_path):
    run = prepare(tiny_base, "alpaca-mini", tmp_path / "run", FinetuneConfig(max_length=1024))
    assert not (tmp_path / "run").exists()
    assert run.report.read == run.report.trained + run.report.heldout + len(run.report.rejected) == 455
    assert run.contract()["environment"]["alpaca_lora"] == __version__
    assert run.contract()["data"] == {"name": "alpaca-mini", "sha256": run.data.sha256}


def test_a_base_whose_records_would_see_each_other_is_not_trained_on_packed_rows(tiny_base, tmp_path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text()) | {"model_type": "opt"}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="config.packing true puts several records into a row, and a 'opt' model"):
        prepare(base, "alpaca-mini", tmp_path / "run", FinetuneConfig(max_length=1024, packing=True))
    run = prepare(base, "alpaca-mini", tmp_path / "run", FinetuneConfig(max_length=1024))
    assert len(run.rows) == run.report.trained
    assert "packing off: records in one row are not known to stay apart in a 'opt' model" in run.reasons


@pytest.mark.parametrize("size", [0, 10])
def test_records_that_the_data_holds_out_are_counted_when_others_are_taken(size, tiny_base, tmp_path):
    run = prepare(tiny_base, "alpaca-mini", tmp_path / "run", FinetuneConfig(max_length=1024, validation_size=size))
    assert run.report.heldout == size
    assert run.report.read == run.report.trained + size + len(run.report.rejected)
    why = f"held out by the data, and config.validation_size {size} takes others"
    assert run.report.reasons[why] == len(run.data.heldout) > 0


class TestTheSameCommandAgain:
    """A run goes on with what it decided when it began, whatever is decided for a new one by then."""

    OPEN = FinetuneConfig(precision="fp32", packing=False, max_length=1024, batch_size=8)
    ROOMY, TIGHT = 8 * 2**30, 86 * 2**20

    @pytest.fixture
    def enter(self, tiny_base, tmp_path, monkeypatch):
        """Prepare and enter the run with so many bytes free, as `finetune` does, and leave it with a checkpoint."""

        def enter(config, free=self.ROOMY, data="alpaca-mini"):
            monkeypatch.setattr(admission, "free_memory_bytes", lambda hardware: free)
            run = prepare(tiny_base, data, tmp_path / "run", config)
            entry = enter_run(tmp_path / "run", run.contract(), resume="auto")
            (tmp_path / "run" / "checkpoint-1").mkdir(exist_ok=True)
            return run, entry

        return enter

    @staticmethod
    def memory(run):
        config = run.config
        return config.micro_batch_size, config.gradient_checkpointing, config.kernels.checkpointed_layers

    @pytest.mark.parametrize(("then", "now"), [(ROOMY, TIGHT), (TIGHT, ROOMY)])
    def test_free_memory_may_be_another(self, enter, then, now, tmp_path):
        first, _ = enter(self.OPEN, then)
        second, entry = enter(self.OPEN, now)
        assert self.memory(second) == self.memory(first)
        assert second.config == first.config
        assert sorted(second.reasons) == sorted(first.reasons)
        assert entry.notes == ()
        anew = prepare(first.base_dir, "alpaca-mini", tmp_path / "other", self.OPEN)
        assert self.memory(anew) != self.memory(first)

    def test_a_complete_run_needs_no_memory(self, enter, tmp_path):
        enter(self.OPEN)
        (tmp_path / "run" / COMPLETE).touch()
        assert enter(self.OPEN, free=1)[1].complete

    def test_a_given_setting_is_not_taken_from_the_run(self, enter):
        enter(self.OPEN)
        with pytest.raises(RunError, match=r"holds another run: config\.micro_batch_size was 4, now 2\. "):
            enter(self.OPEN.model_copy(update={"micro_batch_size": 2}))

    def test_what_does_not_go_with_the_run_is_named_with_both_values(self, enter):
        enter(self.OPEN)
        with pytest.raises(RunError, match=r"config\.batch_size was 8, now 6; config\.micro_batch_size was 4, now 3"):
            enter(self.OPEN.model_copy(update={"batch_size": 6}))

    def test_a_longer_run_keeps_its_batch_and_its_intervals(self, enter, tmp_path):
        config = FinetuneConfig(precision="fp32", epochs=1, keep_best=True)
        first, _ = enter(config)
        longer = config.model_copy(update={"epochs": 12})
        anew = prepare(first.base_dir, "alpaca-mini", tmp_path / "other", longer)
        assert anew.config.batch_size > first.config.batch_size
        assert anew.config.eval_steps > first.config.eval_steps
        second, entry = enter(longer)
        assert second.config == first.config.model_copy(update={"epochs": 12})
        assert second.plan.total_steps == 12 * first.plan.total_steps
        assert entry.notes[0].startswith("the run is made longer: config.epochs was 1.0, now 12")

    def test_what_is_compiled_stays(self, enter, monkeypatch, tmp_path):
        monkeypatch.setattr(preparation, "detect_hardware", lambda: replace(detect_hardware(), compiler=True))
        config = FinetuneConfig(precision="fp32", epochs=0.2)
        longer = config.model_copy(update={"epochs": 12})
        first, _ = enter(config)
        anew = prepare(first.base_dir, "alpaca-mini", tmp_path / "other", longer)
        assert (first.config.kernels.compiled, anew.config.kernels.compiled) == (None, True)
        assert enter(longer)[0].config.kernels == first.config.kernels

    def test_another_number_of_processes_shares_the_same_batch(self, enter, monkeypatch):
        first, _ = enter(self.OPEN)
        monkeypatch.setattr(ranks, "size", lambda: 4)
        monkeypatch.setattr(ranks, "from_leader", lambda make: make())
        monkeypatch.setattr(ranks, "least", lambda value: value)
        second, entry = enter(self.OPEN)
        assert (first.config.micro_batch_size, second.config.micro_batch_size) == (4, 2)
        assert second.config.batch_size == first.config.batch_size
        assert entry.notes == ()
        monkeypatch.setattr(ranks, "size", lambda: 1)
        assert enter(self.OPEN)[0].config == first.config

    def test_a_run_that_left_no_checkpoint_is_decided_anew(self, enter, tmp_path):
        first, _ = enter(self.OPEN, self.TIGHT)
        (tmp_path / "run" / "checkpoint-1").rmdir()
        assert self.memory(enter(self.OPEN)[0]) != self.memory(first)
