"""How fast a training step is on a CPU, by how long OpenMP's threads spin, alone and beside another busy process.

Run:  python benchmarks/openmp_spinning.py     (about five minutes; needs the embedded model)

Each measurement is a process of its own, since OpenMP reads its settings once. The variants take turns, so that
whatever else the machine does falls on all of them; the medians are printed as a table.
"""

import os
import statistics
import subprocess
import sys

VARIANTS = {"default": {}} | {str(spins): {"GOMP_SPINCOUNT": str(spins)} for spins in (100_000, 30_000, 10_000, 1_000)}
ROUNDS = 3

STEP = """
import time, torch
from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import KernelSettings, LoraSettings
from alpaca_lora.kernels import fast_path
from alpaca_lora.models import EMBEDDED, load_base_model, locate_base_model
directory = locate_base_model(EMBEDDED)
model = attach_adapter(load_base_model(directory, precision="bf16"), LoraSettings(), base_dir=str(directory)).train()
fast = fast_path.apply(model, KernelSettings(compiled=True), longest_record=512)
ids = torch.randint(5, 40000, (1, 2048), generator=torch.Generator().manual_seed(0))
positions, length = torch.arange(512).repeat(1, 4), torch.tensor([2048])
batch = {"input_ids": ids, "labels": ids, "position_ids": positions, "real_tokens": length}
def step():
    fast.loss(batch, 1500.0).backward()
step()
step()
began = time.monotonic()
step()
step()
print(2 * 2048 / (time.monotonic() - began))
"""
BUSY = "import torch\na = torch.rand(1500, 1500)\nwhile True: a @ a"


def measure(settings: dict[str, str]) -> float:
    """Return the tokens per second of two training steps in a fresh process."""
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
