"""Load an adapter and print its answer while it is written.

Run:  python examples/04_chat.py runs/example-lora "Name three primary colours."
"""

import argparse
from pathlib import Path

from alpaca_lora import load


def main() -> None:
    """Answer one instruction, piece by piece."""
    parser = argparse.ArgumentParser(description="Answer one instruction with an adapter.")
    parser.add_argument("adapter", type=Path, help="adapter directory, or the run directory around it")
    parser.add_argument("instruction")
    parser.add_argument("input", nargs="?", default="", help="what the instruction is to be done with")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="longest answer (default: 64)")
    arguments = parser.parse_args()

    assistant = load(arguments.adapter)
    for piece in assistant.stream(arguments.instruction, arguments.input, max_new_tokens=arguments.max_new_tokens):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
