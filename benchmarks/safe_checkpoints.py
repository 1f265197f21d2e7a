"""What do safe checkpoints cost? Stage, hash, flush, rename and verify, against the Trainer's own save.

Run:  python benchmarks/safe_checkpoints.py [--steps 100] [--save-steps 50] [--rounds 3]

The embedded model is trained by `finetune` itself on records of alpaca-mini; what its saves take is measured inside the
run, part by part, and given as a share of the time from the first step to the last. `stock` is the part of a save that
transformers' Trainer does in any case: writing the files. What is left is the price of safety. The result goes into
benchmarks/results/safe_checkpoints/, the table to the terminal.
"""

import argparse
import datetime
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "training_speed"))

import provenance

from alpaca_lora import _files
from alpaca_lora.config import FinetuneConfig
from alpaca_lora.models import EMBEDDED
from alpaca_lora.training import checkpoints, finetune, trainer

PARTS = {
    "whole save": (trainer.AlpacaTrainer, "_save_checkpoint"),
    "stock": (trainer.AlpacaTrainer, "_write_checkpoint"),
    "hash": (trainer, "write_manifest"),
    "flush": (_files, "_sync"),
    "verify": (trainer, "make_room"),
    "rotate": (trainer, "rotate"),
}


class Stopwatch:
    """Adds up the seconds that are spent in some functions, which it replaces for the time of a `with` block."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.saves, self.saving = 0, False
        self.real = {name: getattr(owner, function) for name, (owner, function) in PARTS.items()}

    def __enter__(self) -> "Stopwatch":
        for name, (owner, function) in PARTS.items():
            setattr(owner, function, self._timed(name, self.real[name]))
        return self

    def __exit__(self, *_: object) -> None:
        for name, (owner, function) in PARTS.items():
            setattr(owner, function, self.real[name])

    def _timed(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            if not self.saving and name != "whole save":  # the adapter is written the same way at the end
                return real(*arguments, **options)
            self.saves, self.saving = self.saves + (name == "whole save"), True
            began = time.monotonic()
            try:
                return real(*arguments, **options)
            finally:
                self.seconds[name] += time.monotonic() - began
                self.saving = name != "whole save"

        return timed


def measure(base_model: str, steps: int, save_steps: int) -> dict[str, Any]:
    """Return the seconds of one run, of its saves by part, and the size of a checkpoint."""
    config = FinetuneConfig(
        max_steps=steps,
        save_steps=save_steps,
        epochs=1000,
        batch_size=4,
        micro_batch_size=4,
        packing=False,
        validation_size=0,
        probe_size=0,
    )
    with tempfile.TemporaryDirectory() as folder, Stopwatch() as watch:
        result = finetune(base_model, output_dir=Path(folder) / "run", config=config, progress=False)
        newest = checkpoints.list_checkpoints(result.output_dir)[0]
        began = time.monotonic()
        fault = checkpoints.fault_of(newest)
        verify = time.monotonic() - began
        size = checkpoints.size_of(newest)
    if fault:
        raise SystemExit(f"the checkpoint does not verify: {fault}")
    return {
        "seconds": result.summary.seconds,
        "saves": watch.saves,
        "save_seconds": watch.seconds,
        "verify_at_resume_seconds": verify,
        "checkpoint_bytes": size,
    }


def shares(cell: dict[str, Any]) -> dict[str, float]:
    """Return what the saves and their safety took, as shares of the time of training."""
    whole, stock = cell["save_seconds"]["whole save"], cell["save_seconds"]["stock"]
    return {"stock save": stock / cell["seconds"], "safety": (whole - stock) / cell["seconds"]}


def main() -> None:
    """Measure, print a table, and store the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--save-steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    cells = [measure(given.base_model, given.steps, given.save_steps) for _ in range(given.rounds)]
    medians = {name: statistics.median(shares(cell)[name] for cell in cells) for name in shares(cells[0])}
    cell = cells[0]
    print(f"{cell['saves']} saves of {cell['checkpoint_bytes'] / 2**20:.1f} MiB in {cell['seconds']:.0f} s of training")
    for name in PARTS:
        each = statistics.median(cell["save_seconds"][name] / cell["saves"] for cell in cells)
        print(f"{name:12} {each * 1000:8.1f} ms a save")
    for name, share in medians.items():
        print(f"{name:12} {share:8.2%} of wall time")
    content = {
        "date": datetime.date.today().isoformat(),
        "machine": provenance.machine(),
        "commit": provenance.commit(),
        "settings": vars(given) | {"base_model": Path(given.base_model).name},
        "shares": medians,
        "cells": cells,
    }
    path = Path(__file__).parent / "results" / "safe_checkpoints" / f"{content['date']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
