"""Make what everybody trains on: token ids grouped into optimizer steps, a held-out set, and the adapter's start.

Run:  python benchmarks/training_speed/workload.py DIRECTORY --rows 256

Records come from the published Alpaca file next to the checkout, encoded by this library; those over the length are
left out. The first `rows` are trained on in that order, the last 100 are scored. The adapter starts a little off zero:
with PEFT's usual start (B = 0) the gradients of all A matrices vanish, and the gate could not compare them.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import LoraSettings
from alpaca_lora.models import EMBEDDED, load_base_model, load_tokenizer, locate_base_model
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import load_records
from alpaca_lora.training.encoding import EncodedRow, encode_records

DATA = Path(__file__).parents[3] / "shared" / "data" / "alpaca_en_999.json"
MAX_LENGTH, STEP_SIZE, HELDOUT, SEED, START = 512, 8, 100, 20261122, 0.01
RECIPE = {"rank": 8, "alpha": 16, "learning_rate": 3e-4, "max_grad_norm": 1.0}
PROBED_LAYERS = (0, 10, 20, 25, 29)
PROBES = [
    f"layers.{layer}.{name}"
    for layer in PROBED_LAYERS
    for name in (
        *(f"self_attn.{part}_proj" for part in "qkvo"),
        *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
    )
]


def make_workload(rows: int) -> dict[str, Any]:
    """Return the workload as JSON values.

    Args:
        rows: records to train on, a multiple of the records of a step.
    """
    if rows % STEP_SIZE:
        raise SystemExit(f"--rows must be a multiple of {STEP_SIZE}, got {rows}")
    tokenizer = load_tokenizer(locate_base_model(EMBEDDED))
    encoded = encode_records(load_records(DATA), Prompter("alpaca"), tokenizer, max_length=MAX_LENGTH)
    kept = [
        {"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in encoded if isinstance(row, EncodedRow)
    ]
    if len(kept) < rows + HELDOUT:
        raise SystemExit(f"{DATA.name} has {len(kept)} rows of at most {MAX_LENGTH} tokens, fewer than asked for")
    return {
        "base": EMBEDDED,
        "data": {"file": DATA.name, "sha256": hashlib.sha256(DATA.read_bytes()).hexdigest()},
        "max_length": MAX_LENGTH,
        "recipe": RECIPE,
        "probes": PROBES,
        "start": {"seed": SEED, "b_std": START},
        "steps": [kept[first : first + STEP_SIZE] for first in range(0, rows, STEP_SIZE)],
        "heldout": kept[-HELDOUT:],
    }


def write_start(directory: Path) -> None:
    """Write the adapter that everybody starts from: A as PEFT draws it, B from a narrow normal distribution."""
    base_dir = locate_base_model(EMBEDDED)
    torch.manual_seed(SEED)
    settings = LoraSettings(rank=RECIPE["rank"], alpha=RECIPE["alpha"])
    model = attach_adapter(load_base_model(base_dir, precision="bf16"), settings, base_dir=str(base_dir))
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=START)
    model.save_pretrained(str(directory))


def main() -> None:
    """Write `workload.json` and `init/`, and print the hash of the workload and where the base model is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=256)
    given = parser.parse_args()
    content = json.dumps(make_workload(given.rows)).encode()
    given.directory.mkdir(parents=True, exist_ok=True)
    (given.directory / "workload.json").write_bytes(content)
    write_start(given.directory / "init")
    print(json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "base": str(locate_base_model(EMBEDDED))}))


if __name__ == "__main__":
    main()
