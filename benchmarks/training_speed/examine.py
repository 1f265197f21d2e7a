"""Look at what trainings left behind, with the same code for every tool: held-out loss and first gradients.

Run:  python benchmarks/training_speed/examine.py WORKLOAD REFERENCE DIRECTORY … --base DIR

Prints one JSON object per directory. This library's own scoring is used, on the base in one precision.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file

from alpaca_lora.config import QuantizationSettings
from alpaca_lora.models import load_base_model, mean_loss, row_losses

Tensors = dict[str, torch.Tensor]


def heldout_loss(
    base_dir: Path, precision: str, quantization: str, adapter: Path, heldout: list[dict[str, list[int]]]
) -> float:
    """Return the loss per supervised token of the held-out rows under an adapter."""
    base: Any = load_base_model(base_dir, precision=precision, quantization=QuantizationSettings(method=quantization))
    model = PeftModel.from_pretrained(base, str(adapter))
    return mean_loss(row_losses(model, [(row["input_ids"], row["labels"]) for row in heldout]))


def cosines(found: Tensors, expected: Tensors) -> dict[str, float]:
    """Return the cosine between the gradients of each probed layer's adapter, all its matrices as one vector."""
    layers = sorted({name.partition(".self_attn.")[0].partition(".mlp.")[0] for name in expected})
    similarity = torch.nn.functional.cosine_similarity
    return {layer: float(similarity(_joined(found, layer), _joined(expected, layer), dim=0)) for layer in layers}


def _joined(tensors: Tensors, layer: str) -> torch.Tensor:
    return torch.cat([tensors[name].flatten() for name in sorted(tensors) if name.startswith(f"{layer}.")])


def main() -> None:
    """Print what each directory shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--quantization", choices=["none", "nf4"], default="none")
    given = parser.parse_args()
    heldout = json.loads(given.workload.read_text(encoding="utf-8"))["heldout"]
    expected = load_file(given.reference / "gradients.safetensors")
    for directory in given.directories:
        seen = {
            "heldout_loss": heldout_loss(
                given.base, given.precision, given.quantization, directory / "adapter", heldout
            ),
            "cosines": cosines(load_file(directory / "gradients.safetensors"), expected),
        }
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
