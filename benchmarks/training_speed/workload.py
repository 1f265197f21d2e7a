"""Make what everybody trains on: token ids grouped into optimizer steps, a held-out set, and the adapter's start.

Run:  python benchmarks/training_speed/workload.py DIRECTORY --rows 256 [--shape 7B --device cuda]

Records come from the published Alpaca file next to the checkout, encoded by this library; those over the length are
left out. The first `rows` are trained on in that order, the last 100 are scored. The adapter starts a little off zero:
with PEFT's usual start (B = 0) the gradients of all A matrices vanish, and the gate could not compare them. A shape
with random weights and fewer words than the tokenizer gets the ids modulo its vocabulary.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import environments
import shapes
import torch
import work
from transformers import AutoConfig

from alpaca_lora.adapters import attach_adapter
from alpaca_lora.config import LoraSettings
from alpaca_lora.models import EMBEDDED, load_base_model, load_tokenizer, locate_base_model
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import load_records
from alpaca_lora.training.encoding import EncodedRow, encode_records

DATA = Path(__file__).parents[3] / "shared" / "data" / "alpaca_en_999.json"
MAX_LENGTH, STEP_SIZE, HELDOUT, SEED, START = 512, 8, 100, 20261122, 0.01
MATRIX_ROWS = 2048
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
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


def make_workload(rows: int, shape: str, vocabulary: int) -> dict[str, Any]:
    """Return the workload as JSON values.

    Args:
        rows: records to train on, a multiple of the records of a step.
        shape: of the base model.
        vocabulary: ids that it has.
    """
    if rows % STEP_SIZE:
        raise SystemExit(f"--rows must be a multiple of {STEP_SIZE}, got {rows}")
    tokenizer = load_tokenizer(locate_base_model(EMBEDDED))
    encoded = encode_records(load_records(DATA), Prompter("alpaca"), tokenizer, max_length=MAX_LENGTH)
    kept = [
        {
            "input_ids": [token % vocabulary for token in row.input_ids],
            "labels": [label % vocabulary if label >= 0 else label for label in row.labels],
        }
        for row in encoded
        if isinstance(row, EncodedRow)
    ]
    if len(kept) < rows + HELDOUT:
        raise SystemExit(f"{DATA.name} has {len(kept)} rows of at most {MAX_LENGTH} tokens, fewer than asked for")
    return {
        "base": EMBEDDED if shape == "135M" else f"{shape}, random weights",
        "data": {"file": DATA.name, "sha256": hashlib.sha256(DATA.read_bytes()).hexdigest()},
        "max_length": MAX_LENGTH,
        "recipe": RECIPE,
        "probes": PROBES,
        "start": {"seed": SEED, "b_std": START},
        "steps": [kept[first : first + STEP_SIZE] for first in range(0, rows, STEP_SIZE)],
        "heldout": kept[-HELDOUT:],
    }


def write_start(directory: Path, base_dir: Path) -> None:
    """Write the adapter that everybody starts from: A as PEFT draws it, B from a narrow normal distribution."""
    torch.manual_seed(SEED)
    settings = LoraSettings(rank=RECIPE["rank"], alpha=RECIPE["alpha"])
    base = load_base_model(base_dir, precision="bf16", device="cpu")
    model = attach_adapter(base, settings, base_dir=str(base_dir))
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=START)
    model.save_pretrained(str(directory))


def main() -> None:
    """Write `workload.json` and `init/`, and print what `run.py` wants to know of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--shape", default="135M")
    parser.add_argument("--precision", choices=list(DTYPES), default="bf16")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    given = parser.parse_args()
    base_dir = shapes.directory_of(given.shape, environments.WORKSHOP)
    config = AutoConfig.from_pretrained(base_dir)
    workload = make_workload(given.rows, given.shape, config.vocab_size)
    content = json.dumps(workload).encode()
    given.directory.mkdir(parents=True, exist_ok=True)
    (given.directory / "workload.json").write_bytes(content)
    write_start(given.directory / "init", base_dir)
    made = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "base": str(base_dir),
        "step_flops": [flops(config, step) for step in workload["steps"]],
        "matrix_flops": work.matrix_rate(config, MATRIX_ROWS, DTYPES[given.precision], given.device),
    }
    print(json.dumps(made))


def flops(config: Any, step: list[dict[str, list[int]]]) -> float:
    """Return the work of a step."""
    learned = sum(label >= 0 for row in step for label in row["labels"])
    return work.flops(config, [len(row["input_ids"]) for row in step], learned)


if __name__ == "__main__":
    main()
