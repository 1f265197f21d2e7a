"""What is each part of the fast path worth? Every lever off, one at a time, the others on.

Run:  python benchmarks/training_speed/ablation.py [--rows 16] [--rounds 3] [--device cuda --quantization nf4]

One process holds the model of `run.py`'s workload and goes forward and backward through its steps, of eight records
each. The variants take turns at every step, each time beginning with the next of them, so that whatever else the
machine does falls on all; the first round, in which things are compiled, is not counted. Levers are the switches of
`config.kernels`. The gradients of all adapters are compared with those of transformers and PEFT without any kernel.
"""

import argparse
import json
import statistics
from collections import deque
from typing import Any

import report
import run
import torch
import work
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import KernelSettings, LoraSettings, QuantizationSettings
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
    """Return by variant real tokens/s of each step, and the least cosine with gradients of transformers and PEFT."""
    paths = variants(model)
    cells: dict[str, dict[str, Any]] = {name: {"speeds": [], "cosine": 1.0} for name in paths}
    order = deque(paths)
    for turn in range(rounds + 1):
        for batch in batches:
            found, tokens = {}, int(batch["real_tokens"].sum())
            for name in order:
                began = work.clock(model.device.type)
                found[name] = gradients(model, paths[name], batch)
                if turn:
                    cells[name]["speeds"].append(tokens / (work.clock(model.device.type) - began))
            for name, cell in cells.items():
                cosine = torch.nn.functional.cosine_similarity(found[name].double(), found[STOCK].double(), dim=0)
                cell["cosine"] = min(cell["cosine"], cosine.item())
            order.rotate(-1)
        if turn:
            print(f"round {turn} of {rounds}", flush=True)
    return cells


def table(cells: dict[str, dict[str, Any]]) -> str:
    """Return medians as a Markdown table, with what each variant costs against `all on` at the same step."""
    rows = ["| variant | real tokens/s | of all on | gradient cosine |", "|---|--:|--:|--:|"]
    for name, cell in cells.items():
        pairs = zip(cell["speeds"], cells["all on"]["speeds"], strict=True)
        speed, share = statistics.median(cell["speeds"]), statistics.median(own / usual for own, usual in pairs)
        rows.append(f"| {name} | {speed:.0f} | {share:.0%} | {cell['cosine']:.5f} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, write the result file and the table."""
    parser = argparse.ArgumentParser()
    run.add_device(parser)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = run.settle_device(parser.parse_args())
    bench = run.prepare(given)
    recipe, quantization = bench.workload["recipe"], QuantizationSettings(method=given.quantization)
    base = load_base_model(bench.base, precision=given.precision, quantization=quantization, device=given.device)
    model = attach_adapter(base, LoraSettings(rank=recipe["rank"], alpha=recipe["alpha"]), base_dir=str(bench.base))
    set_peft_model_state_dict(model, load_file(bench.directory / "init" / "adapter_model.safetensors"))
    collate = Collator(pad_id=0, packed=False)
    steps = json.loads((bench.directory / "workload.json").read_text(encoding="utf-8"))["steps"]
    batches = [{name: tensor.to(given.device) for name, tensor in collate(step).items()} for step in steps]
    cells = measure(model.train(), batches, given.rounds)
    content = run.stamp(cells) | {"workload": bench.workload, "precision": given.precision, "weights": bench.weights}
    what = f"{bench.weights}, {content['machine']['gpu']['name']}" if given.device == "cuda" else bench.weights
    intro = f"{content['date']}, {what}, {given.rows} records, medians of {given.rounds} rounds."
    name = "ablation" if given.device == "cpu" else "ablation_cuda"
    report.publish_table(name, content, f"{intro}\n\n{table(cells)}")


if __name__ == "__main__":
    main()
