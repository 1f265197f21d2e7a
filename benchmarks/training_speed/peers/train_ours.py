"""alpaca-lora: `AlpacaTrainer`, as `finetune` uses it, on rows that each hold several records of one step.

`finetune` packs the records as it likes; here every step must have the records that the others get, so the packing is
done step by step: each step's records fill the fewest rows of `row_tokens` that hold the largest step.
"""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from probe import Cell, Probe, read_cell
from torch.utils.data import SequentialSampler
from trainer_probe import TrainerProbe, load_start

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import FinetuneConfig, LoraSettings
from alpaca_lora.models import detect_hardware, load_base_model, load_tokenizer
from alpaca_lora.planning import decide, settle_memory, shape_of
from alpaca_lora.training.options import Plan
from alpaca_lora.training.trainer import AlpacaTrainer

COMPILED = {"compiled": True}
"""What `finetune` decides on a machine with a C++ compiler from about 250 records of this file up."""

MODES: dict[str, dict[str, Any]] = {
    "defaults": {"row_tokens": 2048, "kernels": COMPILED},
    "tuned": {"row_tokens": 4096, "kernels": COMPILED},
    "lean": {"row_tokens": 1024, "kernels": COMPILED, "gradient_checkpointing": True},
}


ON_CUDA: dict[str, dict[str, Any]] = {"defaults": {"row_tokens": 2048, "kernels": COMPILED}}


class InOrder(AlpacaTrainer):
    """The trainer of `finetune`, but for the shuffle: all tools take the rows in one order."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def rows_per_step(steps: list[list[dict[str, list[int]]]], row_tokens: int) -> int:
    """Return how many rows of `row_tokens` it takes to hold the records of any step."""
    count = 1
    while any(max(map(tokens_of, spread(step, count))) > row_tokens for step in steps):
        count += 1
    return count


def tokens_of(records: list[dict[str, list[int]]]) -> int:
    """Return the tokens of several records."""
    return sum(len(record["input_ids"]) for record in records)


def spread(step: list[dict[str, list[int]]], count: int) -> list[list[dict[str, list[int]]]]:
    """Distribute the records of a step over `count` rows of about the same length, the longest first."""
    rows: list[list[dict[str, list[int]]]] = [[] for _ in range(count)]
    for record in sorted(step, key=lambda record: -len(record["input_ids"])):
        min(rows, key=tokens_of).append(record)
    return rows


def join(records: list[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Return one packed row: positions restart at each record."""
    return {
        "input_ids": [token for record in records for token in record["input_ids"]],
        "labels": [label for record in records for label in record["labels"]],
        "position_ids": [position for record in records for position in range(len(record["input_ids"]))],
        "records": list(range(len(records))),
    }


def configure(cell: Cell, rows: int) -> FinetuneConfig:
    """Return the config of the recipe; on a GPU the layers to compute again are decided as in `finetune`."""
    chosen = {name: value for name, value in cell.settings.items() if name != "row_tokens"}
    defaults = {
        "max_length": cell.workload["max_length"],
        "packed_length": cell.settings["row_tokens"],
        "lora": LoraSettings(rank=cell.recipe["rank"], alpha=cell.recipe["alpha"]),
        "packing": True,
        "batch_size": rows,
        "micro_batch_size": 1,
        "epochs": 1,
        "learning_rate": cell.recipe["learning_rate"],
        "lr_schedule": "constant",
        "warmup_steps": 0,
        "max_grad_norm": cell.recipe["max_grad_norm"],
        "precision": cell.precision,
        "quantization": cell.quantization,
        "gradient_checkpointing": None if cell.device == "cuda" else False,
    }
    asked = FinetuneConfig(**(defaults | chosen))
    if cell.device == "cpu":
        return asked
    hardware = detect_hardware()
    room = int(cell.memory_gib * 2**30) if cell.memory_gib else None
    decided = decide(asked, rows=len(cell.rows), hardware=hardware)
    return settle_memory(asked, decided, shape_of(cell.base), hardware, room).config


def train(cell: Cell, probe: Probe) -> None:
    """Train one epoch and save the adapter."""
    steps = cell.workload["steps"]
    rows = rows_per_step(steps, cell.settings["row_tokens"])
    config = configure(cell, rows)
    base = load_base_model(cell.base, precision=config.precision, quantization=config.quantization, device=cell.device)
    torch.manual_seed(0)
    model = attach_adapter(base, config.lora, base_dir=str(cell.base))
    load_start(model, cell.init)
    trainer = InOrder(
        model,
        load_tokenizer(cell.base),
        Dataset.from_list([join(row) for step in steps for row in spread(step, rows)]),
        [],
        config=config,
        plan=Plan(total_steps=len(steps), warmup_steps=0, eval_steps=0, save_steps=len(steps) + 1),
        run_dir=Path(cell.out / "run"),
        run_id="",
        origins=[],
        callbacks=[TrainerProbe(probe)],
    )
    trainer.run(None)
    probe.finish()
    model.save_pretrained(str(cell.out / "adapter"))


if __name__ == "__main__":
    _cell = read_cell(MODES, ON_CUDA)
    train(_cell, Probe(_cell))
