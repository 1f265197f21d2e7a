"""Train a LoRA adapter for a few steps on the packaged records, then ask it something. No GPU is needed.

Run:  python examples/02_finetune_lora.py --output-dir runs/example-lora
"""

import argparse
from pathlib import Path

from alpaca_lora import FinetuneConfig, LoraSettings, finetune, load


def main() -> None:
    """Train, print what changed, and answer one instruction."""
    parser = argparse.ArgumentParser(description="Train a LoRA adapter for a few steps.")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/example-lora"))
    parser.add_argument("--max-steps", type=int, default=20, help="optimizer steps (default: 20)")
    arguments = parser.parse_args()

    config = FinetuneConfig(
        lora=LoraSettings(rank=8, alpha=16),
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

    assistant = load(result.adapter_dir)
    print(assistant.respond("Name three primary colours.", max_new_tokens=32))


if __name__ == "__main__":
    main()
