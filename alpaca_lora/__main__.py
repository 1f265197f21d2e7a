"""`python -m alpaca_lora` is the `alpaca-lora` command."""

import sys

from alpaca_lora.cli import main

if __name__ == "__main__":
    sys.exit(main())
