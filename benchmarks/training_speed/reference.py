"""Train the workload in float32 with plain PyTorch and PEFT: what every tool's loss and gradients are compared with.

Run:  python benchmarks/training_speed/reference.py WORKLOAD DIRECTORY --base DIR --init DIR

Nothing of this library's trainer, losses or kernels is used, so an error in them cannot hide. Needs the time of the
whole epoch in float32 (about five minutes for 256 rows on two cores), once per workload. Where the tools hold weights
in four bits it holds the same, and computes with them in float32.
"""

from typing import Any

import torch
from peers.probe import Cell, Probe, read_cell
from peft import PeftModel
from torch.nn import functional

from alpaca_lora.config import QuantizationSettings
from alpaca_lora.models import load_base_model

Rows = list[dict[str, list[int]]]
MICRO = 4


def batches(step: Rows) -> list[Rows]:
    """Return the records of a step in micro-batches of similar lengths; their order within a step is no matter."""
    ordered = sorted(step, key=lambda row: len(row["input_ids"]))
    return [ordered[start : start + MICRO] for start in range(0, len(ordered), MICRO)]


def summed_loss(model: Any, rows: Rows) -> torch.Tensor:
    """Return the negative log-likelihood of the rows' supervised tokens, summed."""
    width = max(len(row["input_ids"]) for row in rows)
    padded = {
        key: torch.tensor([row[key] + [fill] * (width - len(row[key])) for row in rows], device=model.device)
        for key, fill in (("input_ids", 0), ("labels", -100))
    }
    mask = torch.tensor(
        [[1] * len(row["labels"]) + [0] * (width - len(row["labels"])) for row in rows], device=model.device
    )
    causal = model.get_base_model()
    hidden = causal.model(input_ids=padded["input_ids"], attention_mask=mask, use_cache=False).last_hidden_state
    targets = padded["labels"][:, 1:]
    wanted = targets != -100
    return functional.cross_entropy(causal.lm_head(hidden[:, :-1][wanted]), targets[wanted], reduction="sum")


def train(cell: Cell, probe: Probe) -> None:
    """Train one epoch and save the adapter."""
    quantization = QuantizationSettings(method=cell.quantization)
    base: Any = load_base_model(cell.base, precision="fp32", quantization=quantization, device=cell.device)
    model = PeftModel.from_pretrained(base, str(cell.init), is_trainable=True)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=cell.recipe["learning_rate"], weight_decay=0.0)
    model.train()
    probe.begin()
    for step in cell.workload["steps"]:
        count = sum(label != -100 for row in step for label in row["labels"][1:])
        total = 0.0
        for rows in batches(step):
            loss = summed_loss(model, rows) / count
            loss.backward()
            total += float(loss.detach())
        probe.losses.append(total)
        if not probe.ends:
            probe.keep_gradients({name.removesuffix(".default.weight"): p.grad for name, p in parameters.items()})
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), cell.recipe["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad()
        probe.end_step()
    probe.finish()
    model.save_pretrained(str(cell.out / "adapter"))


if __name__ == "__main__":
    _cell = read_cell({"float32": {"dtype": "float32"}})
    train(_cell, Probe(_cell))
