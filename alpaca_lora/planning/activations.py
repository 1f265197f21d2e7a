"""What a forward pass keeps for the backward pass, counted from the tensors that `kernels` save.

Numbers are bytes per token unless said otherwise, and a count names the kernel whose `save_for_backward` it follows;
`b` is the bytes of a number of the base's format. On the CPU the counts are compared with what tensors really take.
"""

import math
from dataclasses import dataclass

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.planning.kernel_facts import (
    ARCHITECTURES,
    KEPT_LENGTH,
    LEAN_LOGITS_BYTES,
    LOGITS_BYTES,
    QUERY_BLOCK,
    RECORD_MULTIPLE,
    ROW_MULTIPLE,
    takes_flash,
)
from alpaca_lora.planning.shapes import ModelShape

__all__ = ["LEARNED_SHARE", "Activations", "activations_of", "is_adapted", "runs_on_kernels", "uses"]

LEARNED_SHARE = 0.73
"""Share of the tokens that are answers, in 999 records of Alpaca."""

_SHARING = ("k_proj", "v_proj", "up_proj")
"""Layers whose input is that of another one, q_proj or gate_proj."""


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes per token of what is kept, and bytes of what is only there for a moment."""

    layer: float
    """Kept of a layer that is not checkpointed."""

    checkpoint: float
    """Kept of a layer that is: the residual stream, and what is still to be added to it."""

    working: float
    """Made and freed again in the backward pass of one layer, beside what it kept."""

    head: float
    """Hidden states and their gradient on the way through the output head."""

    logits_bytes: int
    """Blocks of logits that are there at once."""


def activations_of(
    shape: ModelShape, config: FinetuneConfig, *, width_bytes: int, cuda: bool, tokens: int, record_tokens: int
) -> Activations:
    """Count what a forward and a backward pass hold.

    Args:
        shape: the model.
        config: settings without gaps.
        width_bytes: bytes of a number of the base's format.
        cuda: whether torch's attention for CUDA runs where it takes the numbers.
        tokens: of a forward pass.
        record_tokens: of each record in it.
    """
    fast = runs_on_kernels(shape, config)
    wide = shape.width * width_bytes
    return Activations(
        layer=_kept(shape, config, width_bytes, cuda, tokens, record_tokens),
        checkpoint=2 * wide if fast else wide,
        working=shape.inner * width_bytes + 3 * wide,
        head=5 * wide,
        logits_bytes=_logits(shape, config, width_bytes, tokens),
    )


def runs_on_kernels(shape: ModelShape, config: FinetuneConfig) -> bool:
    """Tell whether the fast path runs the model: it is left out in fp16, whose gradients have to be scaled."""
    plain = config.precision != "fp16" and not config.lora.dora
    return config.kernels.enabled and plain and shape.model_type in ARCHITECTURES


def uses(kernel: str, shape: ModelShape, config: FinetuneConfig) -> bool:
    """Tell whether one of the kernels, named as its setting, runs its part of the model."""
    return runs_on_kernels(shape, config) and bool(getattr(config.kernels, kernel))


def _kept(shape: ModelShape, config: FinetuneConfig, b: int, cuda: bool, tokens: int, record_tokens: int) -> float:
    """Count what a layer keeps: each part as its kernel does, or as transformers and PEFT do where that is off.

    Those keep what is normalised in float32, SiLU's output and, without any kernel, a key and value for each query.
    """
    d, i = shape.width, shape.inner
    norms = 2 * ((d * b + 8 if uses("norm", shape, config) else 4 * d) + d * b)  # input, two numbers a row; output
    gated = (3 if uses("swiglu", shape, config) else 4) * i * b  # gate, up and their product
    attention = _kept_by_attention(shape, config, b, cuda, tokens, record_tokens)
    return norms + attention + gated + _kept_by_adapters(shape, config, b)


def _kept_by_attention(
    shape: ModelShape, config: FinetuneConfig, b: int, cuda: bool, tokens: int, record_tokens: int
) -> float:
    queries, keys = shape.heads * shape.head_size, shape.key_heads * shape.head_size
    if not runs_on_kernels(shape, config):
        return 4 * queries * b + shape.heads * 4
    if not config.kernels.attention:
        return (2 * queries + 2 * keys + tokens) * b + shape.heads * 4  # with a mask of all pairs (masked_attention)
    padding = _padded(record_tokens) / record_tokens
    attention = (
        padding * (queries + 2 * keys) * b + queries * b
    )  # q, k, v by head, and the attended values (o_proj's x)
    if cuda and takes_flash(shape.head_size, b):
        attention += shape.heads * 4  # the logarithm of each row's sum instead of probabilities
    elif _padded(record_tokens) <= KEPT_LENGTH:
        attention += _probabilities(record_tokens) * shape.heads * b / record_tokens
    return attention


def _kept_by_adapters(shape: ModelShape, config: FinetuneConfig, b: int) -> float:
    """Count the low-rank products of a token, and the dropout masks of the inputs (lora_linear).

    PEFT casts the input of each layer to float32 and back, so layers that share it keep a copy each.
    """
    adapted = [size for name, size in shape.linears.items() if is_adapted(name, config)]
    masks = sum(size for _, size in adapted) * b if config.lora.dropout else 0
    copies = 0 if b == 4 or uses("lora", shape, config) else sum(is_adapted(name, config) for name in _SHARING)
    return len(adapted) * config.lora.rank * b + masks + copies * shape.width * b


def is_adapted(name: str, config: FinetuneConfig) -> bool:
    """Tell whether a linear layer gets an adapter."""
    targets = config.lora.target_modules
    return targets == "all-linear" or any(target.rpartition(".")[2] == name for target in targets)


def _padded(tokens: int) -> int:
    return -(-tokens // RECORD_MULTIPLE) * RECORD_MULTIPLE


def _probabilities(record_tokens: int) -> float:
    """Return the probabilities of a record and a head: blocks of queries see only the keys up to their end."""
    length = _padded(record_tokens)
    parts = -(-length // QUERY_BLOCK)
    return length * length * (parts + 1) / (2 * parts)


def _logits(shape: ModelShape, config: FinetuneConfig, b: int, tokens: int) -> int:
    if not runs_on_kernels(shape, config):  # logits, their float32 copy, softmax and gradient of all supervised tokens
        return tokens * shape.vocabulary * (2 * b + 8)
    learned = tokens if config.train_on_prompt else tokens * LEARNED_SHARE
    if not config.kernels.loss:
        return int(learned * shape.vocabulary * 3 * 4)  # in float32: softmax, its gradient and that of the logits
    block_bytes = LEAN_LOGITS_BYTES if config.gradient_checkpointing else LOGITS_BYTES
    rows = max(block_bytes // (shape.vocabulary * b * ROW_MULTIPLE), 1) * ROW_MULTIPLE
    padded = math.ceil(learned / ROW_MULTIPLE) * ROW_MULTIPLE
    return min(2 * rows, padded) * shape.vocabulary * b  # the next block is made before the last is let go
