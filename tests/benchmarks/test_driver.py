"""Our own driver trains as the trainer is today: a benchmark that rots is worth nothing."""

import json
import math
import sys

import pytest
import torch

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import LoraSettings
from alpaca_lora.models import load_base_model

RECIPE = {"rank": 4, "alpha": 8, "learning_rate": 1e-2, "max_grad_norm": 1.0}
PROBES = ["layers.1.self_attn.q_proj", "layers.1.mlp.down_proj"]


@pytest.fixture
def driver(part, repository, monkeypatch):
    """Import the driver, which finds the probe beside it."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks" / "training_speed" / "peers"))
    yield part("train_ours")
    for name in ("train_ours", "probe", "trainer_probe"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21, in examine
@pytest.mark.parametrize(("mode", "precision"), [("defaults", "fp32"), ("tuned", "bf16"), ("lean", "fp32")])
def test_our_driver_reports_every_step_and_leaves_an_adapter(driver, part, tiny_base, tmp_path, mode, precision):
    base = load_base_model(tiny_base, precision=precision)
    model = attach_adapter(base, LoraSettings(rank=4, alpha=8), base_dir=str(tiny_base))
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.01)
    model.save_pretrained(str(tmp_path / "init"))
    record = {"input_ids": list(range(20, 40)), "labels": [-100] * 5 + list(range(25, 40))}
    workload = {"max_length": 32, "recipe": RECIPE, "probes": PROBES, "steps": [[record] * 4] * 5}
    cell = driver.Cell(
        workload, tiny_base, tmp_path / "init", tmp_path, mode, precision, driver.MODES[mode] | {"kernels": {}}
    )
    driver.train(cell, driver.Probe(cell))
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (result["precision"], len(result["step_ends_seconds"])) == (precision, 5)
    assert all(map(math.isfinite, result["losses"]))
    assert result["losses"][-1] < result["losses"][0]
    gradients = part("examine").load_file(tmp_path / "gradients.safetensors")
    assert len(gradients) == 2 * len(PROBES)
    trained = part("examine").heldout_loss(tiny_base, precision, "none", tmp_path / "adapter", [record])
    assert trained == pytest.approx(result["losses"][-1], abs=0.5)
