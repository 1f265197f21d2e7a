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
