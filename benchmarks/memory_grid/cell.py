"""Train a model of some shape for two steps and print what memory that took: one cell of the grid.

Run:  python benchmarks/memory_grid/cell.py smollm2-135m 2048 512 '{"lora.rank": 8, "quantization.method": "nf4"}'

The process first trains a model of two narrow layers, so that what torch and its libraries take for themselves is in
the baseline. Then two figures of the real one are taken: the peak of the resident memory over the baseline (VmHWM), as
the system sees it, and the most bytes that tensors held at once, counted operation by operation.
"""

import functools
import gc
import json
import re
import sys
import tempfile
import weakref
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "training_speed"))

import environments
import grid
import provenance
import shapes
import torch
from datasets import Dataset
from shape_cell import forget_peak, random_rows
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import SequentialSampler

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.models import EMBEDDED, detect_hardware, load_base_model, load_tokenizer, locate_base_model
from alpaca_lora.training.options import Plan
from alpaca_lora.training.trainer import AlpacaTrainer

SHORT = 64
"""Tokens of the rows of the first step."""


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the storages that operations made and that are still there."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note the storages that are new."""
        before = {
            leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)
        }
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self.known and storage._cdata not in before:
                    self.known[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._freed, storage._cdata)
        self.peak = max(self.peak, self.now)
        return out

    def _freed(self, key: int) -> None:
        self.now -= self.known.pop(key)


def resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024


def held_bytes(model: Any) -> int:
    """Return the bytes of a model's parameters, constants of 4-bit ones included, each storage once."""
    storages = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        state = getattr(tensor, "quant_state", None)
        parts = [state.absmax, *([state.state2.absmax] if state.nested else [])] if state is not None else []
        for part in (tensor, *parts):
            storages[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
    return sum(storages.values())


def rows_of(config: FinetuneConfig, tokens: int) -> Dataset:
    """Return a step of short rows, which makes the optimizer's state, and a step of full ones."""
    count = config.batch_size or 1
    short = random_rows(SHORT, SHORT, count)
    return Dataset.from_list([*short, *random_rows(config.max_length, tokens, count)])


@functools.cache
def tokenizer() -> Any:
    """Return the embedded model's tokenizer."""
    return load_tokenizer(locate_base_model(EMBEDDED))


def train(directory: Path, config: FinetuneConfig, tokens: int, folder: Path) -> tuple[AlpacaTrainer, int]:
    """Train for two steps; return the trainer with all that it holds, and the most bytes that tensors held."""
    base = load_base_model(directory, precision=config.precision or "fp32", quantization=config.quantization)
    forget_peak()  # while a model loads, mapped files count, whose pages the system takes back at need
    torch.manual_seed(0)
    rows = rows_of(config, tokens)
    trainer = AlpacaTrainer(
        attach_adapter(base, config.lora, base_dir=str(directory)),
        tokenizer(),
        rows,
        [],
        config=config,
        plan=Plan(total_steps=2, warmup_steps=0, eval_steps=0, save_steps=3),
        run_dir=folder,
        run_id="",
        origins=[],
        callbacks=[],
    )
    trainer._get_train_sampler = lambda *_: SequentialSampler(rows)
    held = held_bytes(trainer.model)
    with LiveTensors() as live:
        trainer.run(None)
    return trainer, held + live.peak


def measure(shape: str, tokens: int, length: int, settings: dict[str, Any]) -> dict[str, int]:
    """Return the bytes that one training takes; meant for a process that has computed nothing yet."""
    config = grid.config_of_cell(tokens, length, settings)
    with tempfile.TemporaryDirectory() as folder:
        tiny, _ = train(shapes.directory_of("tiny", environments.WORKSHOP), config, length, Path(folder))
        tiny.fast_path.undo()
        del tiny
        gc.collect()
        baseline = resident("VmRSS")
        trainer, tensors = train(shapes.directory_of(shape, environments.WORKSHOP), config, tokens, Path(folder))
        return {
            "baseline_bytes": baseline,
            "peak_bytes": resident("VmHWM") - baseline,
            "held_bytes": held_bytes(trainer.model),
            "tensor_bytes": tensors,
            "memory_bytes": detect_hardware().memory_bytes,
        }


def stamp(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Return cells with where and with what they were measured."""
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "peft", "trl", "bitsandbytes")}
    return {"machine": provenance.machine(), "commit": provenance.commit(), "versions": versions, "cells": cells}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))))
