import json
import shutil

import pytest
import torch

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.training.preparation import count_steps, prepare


@pytest.mark.parametrize(
    ("rows", "settings", "steps"),
    [
        (16, {"epochs": 1.0}, 4),
        (17, {"epochs": 1.0}, 5),
        (17, {"epochs": 2.5}, 13),
        (1, {"epochs": 3.0}, 3),
        (1000, {"epochs": 3.0, "max_steps": 7}, 7),
        (8, {"epochs": 1.0, "max_steps": 7}, 2),
    ],
)
def test_a_last_smaller_batch_of_an_epoch_is_a_step_too(rows, settings, steps):
    assert count_steps(rows, FinetuneConfig(batch_size=4, micro_batch_size=2, **settings)) == steps


@pytest.mark.catalogue(80)
def test_two_visible_devices_name_the_variable_that_chooses_one(monkeypatch, tiny_base, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="choose it with CUDA_VISIBLE_DEVICES=0"):
        prepare(tiny_base, "alpaca-mini", tmp_path / "run", None)


def test_preparing_writes_nothing(tiny_base, tmp_path):
    run = prepare(tiny_base, "alpaca-mini", tmp_path / "run", FinetuneConfig(max_length=1024))
    assert not (tmp_path / "run").exists()
    assert run.report.read == run.report.trained + run.report.heldout + len(run.report.rejected) == 455
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
