"""How fast a training step is on a CPU, by how long OpenMP's threads spin, alone and beside another busy process.

Run:  python benchmarks/openmp_spinning.py     (about five minutes; needs the embedded model)

Each measurement is a process of its own, since OpenMP reads its settings once. The variants take turns, so that
whatever else the machine does falls on all of them; the medians are printed as a table.
"""

import os
import statistics
import subprocess
import sys

VARIANTS = {"default": {}, "1000": {"GOMP_SPINCOUNT": "1000"}, "0": {"GOMP_SPINCOUNT": "0"}}
ROUNDS = 3

STEP = """
import time, torch
from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import LoraSettings
from alpaca_lora.models import EMBEDDED, load_base_model, locate_base_model, supervised_logits
directory = locate_base_model(EMBEDDED)
model = attach_adapter(load_base_model(directory, precision="bf16"), LoraSettings(), base_dir=str(directory)).train()
ids = torch.randint(5, 40000, (1, 512), generator=torch.Generator().manual_seed(0))
def step():
    logits, targets = supervised_logits(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ids)
    torch.nn.functional.cross_entropy(logits, targets).backward()
step()
began = time.monotonic()
step()
print(512 / (time.monotonic() - began))
"""
BUSY = "import torch\na = torch.rand(1500, 1500)\nwhile True: a @ a"


def measure(settings: dict[str, str]) -> float:
    """Return the tokens per second of one training step in a fresh process."""
    environment = os.environ | settings
    result = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


def main() -> None:
    """Print a table of medians."""
    print(f"{'':10}" + "".join(f"{name:>10}" for name in VARIANTS) + "   tokens per second, median of", ROUNDS)
    for label, rivals in (("alone", 0), ("one rival", 1)):
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(rivals)]
        try:
            rounds = [{name: measure(settings) for name, settings in VARIANTS.items()} for _ in range(ROUNDS)]
        finally:
            for process in busy:
                process.kill()
        print(f"{label:10}" + "".join(f"{statistics.median(r[name] for r in rounds):10.0f}" for name in VARIANTS))


if __name__ == "__main__":
    main()
