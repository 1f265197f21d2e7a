"""The same as 02_finetune_lora.py with the base model held in 4 bits (QLoRA). It needs the extra `quant`.

Run:  python examples/03_finetune_qlora.py --output-dir runs/example-qlora
"""

import argparse
from pathlib import Path

from alpaca_lora import FinetuneConfig, LoraSettings, QuantizationSettings, finetune


def main() -> None:
    """Train on a 4-bit base and print what changed."""
    parser = argparse.ArgumentParser(description="Train a QLoRA adapter for a few steps.")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/example-qlora"))
    parser.add_argument("--max-steps", type=int, default=20, help="optimizer steps (default: 20)")
    arguments = parser.parse_args()

    config = FinetuneConfig(
        lora=LoraSettings(rank=8, alpha=16),
        quantization=QuantizationSettings(method="nf4"),
        max_length=256,  # tokens
        packing=False,
        batch_size=2,  # records per optimizer step
        max_steps=arguments.max_steps,
        validation_size=4,  # records held out
        probe_size=2,  # of them answered before and after training
        probe_max_new_tokens=16,
    )
    result = finetune("smollm2-135m", "alpaca-mini", arguments.output_dir, config=config)
    for name, value in result.metrics.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
