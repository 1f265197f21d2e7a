"""Train a model of some shape for a few steps and print how fast it was: one line of the scaling table.

Run:  python benchmarks/training_speed/shape_cell.py 1.1B --quantization nf4 --length 512 --row-tokens 2048 --steps 4
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import environments
import shapes
import torch
import work
from datasets import Dataset
from peers.probe import peak_rss_bytes
from transformers import TrainerCallback

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import FinetuneConfig, LoraSettings
from alpaca_lora.models import EMBEDDED, load_base_model, load_tokenizer, locate_base_model
from alpaca_lora.training.options import Plan
from alpaca_lora.training.trainer import AlpacaTrainer

PROMPT_SHARE = 0.27  # of the tokens of ../shared/data/alpaca_en_999.json, shared/research/performance.md §0


class Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take the time."""
        self.ends.append(time.monotonic())


def random_rows(length: int, row_tokens: int, count: int) -> list[dict[str, list[int]]]:
    """Return packed rows of records that all have the same length."""
    generator = torch.Generator().manual_seed(0)
    records, masked = row_tokens // length, int(length * PROMPT_SHARE)
    rows = []
    for _ in range(count):
        ids = torch.randint(5, 30_000, (records, length), generator=generator).tolist()
        labels = [[-100] * masked + record[masked:] for record in ids]
        rows.append(
            {
                "input_ids": [token for record in ids for token in record],
                "labels": [label for record in labels for label in record],
                "position_ids": list(range(length)) * records,
                "records": list(range(records)),
            }
        )
    return rows


def weight_bytes(model: Any) -> int:
    """Return the bytes of the frozen weights, the scales of 4-bit ones included, without unpacked copies."""
    total = 0
    for parameter in model.parameters():
        if not parameter.requires_grad:
            total += parameter.numel() * parameter.element_size()
            state = getattr(parameter, "quant_state", None)
            parts = [state, state.state2] if state is not None and state.nested else [state]
            total += sum(part.absmax.numel() * part.absmax.element_size() for part in parts if part is not None)
    return total


def forget_peak() -> None:
    """Let the peak begin anew: while loading it counts mapped files, whose pages the system takes back at need."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def main() -> None:
    """Train, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=["135M", *shapes.SHAPES])
    parser.add_argument("--quantization", choices=["none", "nf4"], default="none")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--row-tokens", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--settings", type=json.loads, default={})
    given = parser.parse_args()
    directory = shapes.directory_of(given.shape, environments.WORKSHOP)
    config = FinetuneConfig(
        **{
            "lora": LoraSettings(rank=8, alpha=16),
            "quantization": given.quantization,
            "max_length": given.length,
            "packing": True,
            "packed_length": max(given.row_tokens, given.length),
            "batch_size": 1,
            "micro_batch_size": 1,
            "learning_rate": 3e-4,
            "lr_schedule": "constant",
            "precision": given.precision,
            "gradient_checkpointing": False,
        }
        | given.settings
    )
    base = load_base_model(directory, precision=given.precision, quantization=config.quantization)
    forget_peak()
    clock = Clock()
    model = attach_adapter(base, config.lora, base_dir=str(directory))
    with tempfile.TemporaryDirectory() as folder:
        trainer = AlpacaTrainer(
            model,
            load_tokenizer(locate_base_model(EMBEDDED)),
            Dataset.from_list(random_rows(given.length, given.row_tokens, given.steps)),
            [],
            config=config,
            plan=Plan(total_steps=given.steps, warmup_steps=0, eval_steps=0, save_steps=given.steps + 1),
            run_dir=Path(folder),
            run_id="",
            origins=[],
            callbacks=[clock],
        )
        trainer.run(None)
    peak = peak_rss_bytes()
    speed = given.row_tokens * (given.steps - 1) / (clock.ends[-1] - clock.ends[0])
    rate = work.matrix_rate(base.config, given.row_tokens, base.dtype, "cpu")
    flops = work.flops(base.config, [given.length], (1 - PROMPT_SHARE) * given.length) / given.length
    print(
        json.dumps(
            {
                "tokens_per_second": speed,
                "peak_rss_bytes": peak,
                "weight_bytes": weight_bytes(base),
                "matrix_flops": rate,
                "matrix_share": speed * flops / rate,
            }
        )
    )


if __name__ == "__main__":
    main()
