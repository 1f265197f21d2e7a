"""What records cost to train, and how fast a machine multiplies: the share of that rate that a tool reaches."""

import time
from collections.abc import Sequence
from typing import Any

import torch


def flops(config: Any, lengths: Sequence[int], learned: float) -> float:
    """Return the work of records: forward and gradient of the input, 2 each per weight; the head on learned tokens.

    Attention within a record has six products, two forward and four backward, of half of the keys.

    Args:
        config: of the model, as transformers has it.
        lengths: tokens of each record.
        learned: tokens that have a label.
    """
    width, heads, layers = config.hidden_size, config.num_attention_heads, config.num_hidden_layers
    projections = width * (width // heads) * (2 * heads + 2 * config.num_key_value_heads)
    linear = layers * (projections + 3 * width * config.intermediate_size)
    attention = layers * 6 * width * sum(length * (length + 1) for length in lengths)
    return 4 * (linear * sum(lengths) + config.vocab_size * width * learned) + attention


def matrix_rate(config: Any, rows: int, dtype: torch.dtype, device: str) -> float:
    """Return the FLOP/s of the model's largest product in the precision of training, the best of six."""
    width, inner = config.hidden_size, config.intermediate_size
    x, weight = torch.randn(rows, width, dtype=dtype), torch.randn(inner, width, dtype=dtype)
    x, weight = x.to(device), weight.to(device)
    best = float("inf")
    for _ in range(6):
        began = clock(device)
        for _ in range(4):
            torch.nn.functional.linear(x, weight)
        best = min(best, (clock(device) - began) / 4)
    return 2 * rows * width * inner / best


def clock(device: str) -> float:
    """Return the time in seconds, once the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()
