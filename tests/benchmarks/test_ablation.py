"""Every lever is switched off once, and what is learned stays the same."""

import pytest
import torch

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import LoraSettings
from alpaca_lora.models import detect_hardware, load_base_model
from alpaca_lora.training.dataset import Collator


@pytest.mark.slow
@pytest.mark.skipif(not detect_hardware().compiler, reason="there is no C++ compiler")
def test_every_lever_has_a_variant_that_learns_the_same(part, tiny_base):
    base = load_base_model(tiny_base, precision="fp32")
    model = attach_adapter(base, LoraSettings(rank=4, alpha=8), base_dir=str(tiny_base))
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.01)
    records = [
        {"input_ids": list(range(20, 50 + more)), "labels": [-100] * 25 + list(range(45, 50 + more))} for more in (0, 5)
    ]
    ablation = part("ablation")
    cells = ablation.measure(model.train(), [Collator(pad_id=0, packed=False)(records)], rounds=2)
    levers = ("shared_prefixes", "attention", "lora", "loss", "norm", "rope", "swiglu", "compiled")
    ends = ("no kernels at all", "with gradient checkpointing")
    assert cells.keys() == {"all on", *(f"without {lever}" for lever in levers), *ends}
    assert all(len(cell["speeds"]) == 2 and cell["cosine"] > 0.9999 for cell in cells.values())
    assert len(ablation.table(cells).splitlines()) == 2 + len(cells)
