"""What is each part of the fast path worth? Every lever off, one at a time, the others on.

Run:  python benchmarks/training_speed/ablation.py [--rows 16] [--rounds 3]

One process holds the model of `run.py`'s workload and goes forward and backward through its steps, of eight records
each. The variants take turns at every step, so that whatever else the machine does falls on all of them; the first
round, in which things are compiled, is not counted. Levers are the switches of `config.kernels`. The gradients of all
adapters are compared with those of transformers and PEFT without any kernel.
"""

import argparse
import json
import statistics
import time
from typing import Any

import provenance
import report
import run
import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import KernelSettings, LoraSettings
from alpaca_lora.kernels import FastPath, apply
from alpaca_lora.models import load_base_model
from alpaca_lora.training.dataset import Collator

STOCK = "no kernels at all"
Batch = dict[str, torch.Tensor]


def variants(model: Any) -> dict[str, FastPath]:
    """Return the way from batch to loss of each variant, by name."""
    switches = [name for name, field in KernelSettings.model_fields.items() if field.annotation is bool]
    settings = {f"without {name}": {name: False} for name in switches if name != "enabled"}
    settings = {"all on": {}, **settings, "without compiled": {"compiled": False}, STOCK: {"enabled": False}}
    paths = {
        name: apply(model, KernelSettings(**({"compiled": True} | changed)), longest_record=512)
        for name, changed in settings.items()
    }
    everything = KernelSettings(compiled=True)
    return paths | {"with gradient checkpointing": apply(model, everything, longest_record=512, checkpointed=True)}


def gradients(model: Any, path: FastPath, batch: Batch) -> torch.Tensor:
    """Return the gradients of all adapters as one vector."""
    model.zero_grad(set_to_none=True)
    path.loss(batch, float((batch["labels"] != -100).sum())).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.requires_grad])


def measure(model: Any, batches: list[Batch], rounds: int) -> dict[str, dict[str, Any]]:
    """Return seconds of each round, and the least cosine with the gradients of transformers and PEFT, by variant."""
    paths = variants(model)
    cells: dict[str, dict[str, Any]] = {name: {"seconds": [], "cosine": 1.0} for name in paths}
    for turn in range(rounds + 1):
        seconds = dict.fromkeys(paths, 0.0)
        for batch in batches:
            found = {}
            for name, path in paths.items():
                began = time.monotonic()
                found[name] = gradients(model, path, batch)
                seconds[name] += time.monotonic() - began
            for name, cell in cells.items():
                cosine = torch.nn.functional.cosine_similarity(found[name].double(), found[STOCK].double(), dim=0)
                cell["cosine"] = min(cell["cosine"], cosine.item())
        if turn:
            for name, cell in cells.items():
                cell["seconds"].append(seconds[name])
            print(f"round {turn} of {rounds}", flush=True)
    return cells


def table(cells: dict[str, dict[str, Any]], tokens: int) -> str:
    """Return medians as a Markdown table, with what each variant costs against `all on`."""
    rows = ["| variant | real tokens/s | of all on | gradient cosine |", "|---|--:|--:|--:|"]
    usual = cells["all on"]["seconds"]
    for name, cell in cells.items():
        speed = tokens / statistics.median(cell["seconds"])
        share = statistics.median(one / other for one, other in zip(usual, cell["seconds"], strict=True))
        rows.append(f"| {name} | {speed:.0f} | {share:.0%} | {cell['cosine']:.5f} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, write the result file and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default=provenance.fastest_precision())
    given = parser.parse_args()
    bench = run.prepare(given.rows, given.precision)
    recipe = bench.workload["recipe"]
    base = load_base_model(bench.base, precision=given.precision)
    model = attach_adapter(base, LoraSettings(rank=recipe["rank"], alpha=recipe["alpha"]), base_dir=str(bench.base))
    set_peft_model_state_dict(model, load_file(bench.directory / "init" / "adapter_model.safetensors"))
    collate = Collator(pad_id=0, packed=False)
    steps = json.loads((bench.directory / "workload.json").read_text(encoding="utf-8"))["steps"]
    cells = measure(model.train(), [collate(step) for step in steps], given.rounds)
    content = run.stamp(cells) | {"workload": bench.workload, "precision": given.precision}
    intro = f"{content['date']}, {given.precision}, {given.rows} records, medians of {given.rounds} rounds."
    report.publish_table("ablation", content, f"{intro}\n\n{table(cells, sum(bench.workload['step_tokens']))}")


if __name__ == "__main__":
    main()
