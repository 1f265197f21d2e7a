"""Where the memory of a training run goes, item by item, from shape and settings alone.

What tensors hold is counted from the code that makes them. What lies beside them, the libraries' own memory and what
an allocator cannot use, was measured on a CPU (`benchmarks/memory_grid`). On CUDA it was not: there it is assumed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.planning.activations import Activations, activations_of, is_adapted, runs_on_kernels, uses
from alpaca_lora.planning.kernel_facts import CACHE_SHARE, ROW_MULTIPLE, WIDE
from alpaca_lora.planning.shapes import ModelShape

__all__ = ["Item", "adapter_parameters", "checkpoint_bytes", "checkpointed_layers", "items_of", "process_bytes"]

_FORMAT_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
_NF4_BLOCK, _NESTED_BLOCK = 64, 256  # bitsandbytes: weights to a scale, scales to a scale of scales
_OPTIMIZER_BYTES = {"adamw": 8.0, "adamw_8bit": 2 + 8 / 256, "paged_adamw_8bit": 2 + 8 / 256}
"""Two moments of a parameter; in 8 bits with a float32 scale for each block of 256."""

_CUDA_CONTEXT = 0.8 * 2**30
_CUDA_SLACK = 0.08
_CPU_PROCESS = 0.6 * 2**30
_CPU_SLACK = 0.05
_HOLES_RECOMPUTED, _HOLES_UNPACKED = 4.4, 2.5
"""Of a CPU's allocator, in sizes of a layer at work: holes that are left where layers are computed again, or weights
unpacked, between tensors that stay, unless those are mapped. All three were fitted to the grid."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the table."""

    name: str
    bytes: int
    basis: Literal["counted", "measured", "assumed"]
    """Where the number comes from: tensors of our code, the CPU grid, or nothing better than what others report."""

    note: str


def adapter_parameters(shape: ModelShape, config: FinetuneConfig) -> int:
    """Return how many numbers are trained."""
    sides = sum(out + size for name, (out, size) in shape.linears.items() if is_adapted(name, config))
    return shape.layers * sides * config.lora.rank


def checkpoint_bytes(parameters: int, config: FinetuneConfig) -> int:
    """Return what a checkpoint takes on disk, the tokenizer's few megabytes left out."""
    return int(parameters * (4 + _OPTIMIZER_BYTES[config.optimizer]))


def items_of(
    shape: ModelShape,
    config: FinetuneConfig,
    *,
    device: Literal["cpu", "cuda", "mps"],
    memory_bytes: int,
    record_tokens: int | None = None,
) -> tuple[Item, ...]:
    """Return what a training run holds at its peak.

    Args:
        shape: the model.
        config: settings without gaps, as `decide` returns them.
        device: where it trains.
        memory_bytes: of the machine, which decides whether a CPU keeps unpacked 4-bit weights.
        record_tokens: length of the records; None takes max_length, the worst.

    Returns:
        Items whose sum is the peak, the empty ones left out.
    """
    length = int(config.packed_length or config.max_length)
    tokens = -(-(config.micro_batch_size or 1) * length // ROW_MULTIPLE) * ROW_MULTIPLE
    width_bytes = _FORMAT_BYTES[config.precision or "fp32"]
    parts = activations_of(
        shape,
        config,
        width_bytes=width_bytes,
        cuda=device == "cuda",
        tokens=tokens,
        record_tokens=min(record_tokens or config.max_length, length),
    )
    moving = _activations(shape, config, parts, tokens)
    freed = sum(item.bytes for item in moving) + _rounded(shape, config, width_bytes)
    still = [
        *_base(shape, config, width_bytes, device, memory_bytes),
        *_trained(shape, config, width_bytes),
        _gradients(shape, config, parts, tokens, freed),
    ]
    counted = [item for item in (*still, *moving) if item.bytes]
    total, moved = sum(item.bytes for item in counted), sum(item.bytes for item in moving)
    holes = _holes(shape, config) * tokens * (parts.layer + parts.working)
    return (*counted, *(_beside_cuda(moved) if device == "cuda" else _beside_cpu(total, holes)))


def _base(
    shape: ModelShape, config: FinetuneConfig, width_bytes: int, device: str, memory_bytes: int
) -> Sequence[Item]:
    linear, rest = shape.linear_parameters, shape.embedding_parameters + shape.small_parameters
    kept = Item("embeddings and norms", rest * width_bytes, "counted", "with the output head" + ", tied" * shape.tied)
    if config.quantization.method == "none":
        return [Item("linear layers", linear * width_bytes, "counted", f"in {config.precision}"), kept]
    scales = linear / _NF4_BLOCK
    constants = scales + 4 * scales / _NESTED_BLOCK if config.quantization.double_quantization else 4 * scales
    unpacked = linear * width_bytes
    given = config.kernels.nf4_cache_gib if uses("lora", shape, config) else 0.0
    room = memory_bytes * CACHE_SHARE if device == "cpu" else 0
    cache = min(int(given * 2**30), unpacked) if given is not None else unpacked if unpacked <= room else 0
    workspace = 0 if cache >= unpacked else shape.inner * shape.width * width_bytes
    return [
        Item("linear layers", linear // 2, "counted", "in 4 bits (NF4)"),
        Item("quantisation constants", int(constants), "counted", "a scale for 64 weights"),
        kept,
        Item("unpacked weights, kept", cache, "counted", "of 4-bit layers (kernels.nf4_cache_gib)"),
        Item("dequantisation workspace", workspace, "counted", "the largest weight, once"),
    ]


def _trained(shape: ModelShape, config: FinetuneConfig, width_bytes: int) -> Sequence[Item]:
    parameters, rounded = adapter_parameters(shape, config), _rounded(shape, config, width_bytes)
    return [
        Item("adapters", parameters * 4, "counted", f"rank {config.lora.rank}, float32"),
        Item("optimizer", int(parameters * _OPTIMIZER_BYTES[config.optimizer]), "counted", config.optimizer),
        Item("adapters, rounded", rounded, "counted", f"copies in {config.precision} for the products"),
    ]


def _rounded(shape: ModelShape, config: FinetuneConfig, width_bytes: int) -> int:
    adapted = [sizes for name, sizes in shape.linears.items() if is_adapted(name, config)]
    copied = sum(out + size * (width_bytes < 4) for out, size in adapted)  # in float32 A needs no copy
    return (shape.layers - checkpointed_layers(shape, config)) * copied * config.lora.rank * width_bytes


def _gradients(shape: ModelShape, config: FinetuneConfig, parts: Activations, tokens: int, freed: int) -> Item:
    """Return what the adapters' gradients add to the peak.

    Between micro-batches all of them stay. Else they come as `freed`, what the forward pass kept, goes, layer by
    layer from the last: what counts is the end of the backward pass, with all gradients and the first layer at work.
    """
    gradients = adapter_parameters(shape, config) * 4
    if (config.batch_size or 1) > (config.micro_batch_size or 1):
        return Item("adapters' gradients", gradients, "counted", "kept between micro-batches")
    end = gradients + int(tokens * (parts.working + parts.layer))
    return Item("adapters' gradients", max(0, end - freed), "counted", "beyond what a backward pass frees")


def _activations(shape: ModelShape, config: FinetuneConfig, parts: Activations, tokens: int) -> Sequence[Item]:
    recomputed = checkpointed_layers(shape, config)
    kept = tokens * (shape.layers - recomputed) * parts.layer
    inputs = tokens * recomputed * parts.checkpoint
    head = tokens * parts.head + parts.logits_bytes
    last = tokens * (parts.working + (parts.layer if recomputed == shape.layers else 0))
    first = tokens * (parts.working + parts.layer) - kept if 0 < recomputed < shape.layers else 0
    return [
        Item("activations", int(kept), "counted", f"of {shape.layers - recomputed} of {shape.layers} layers"),
        Item("checkpoints", int(inputs), "counted", f"inputs of {recomputed} of {shape.layers} layers"),
        Item("loss chunk", int(head), "counted", f"logits of {shape.vocabulary:,} words, a block at a time"),
        Item("layer at work", max(0, int(max(last, first) - head)), "counted", "its backward pass, beyond the loss"),
    ]


def checkpointed_layers(shape: ModelShape, config: FinetuneConfig) -> int:
    """Return how many layers are computed again in the backward pass."""
    if not config.gradient_checkpointing:
        return 0
    wanted = config.kernels.checkpointed_layers if runs_on_kernels(shape, config) else None
    return shape.layers if wanted is None else min(wanted, shape.layers)


def _holes(shape: ModelShape, config: FinetuneConfig) -> float:
    recomputed = checkpointed_layers(shape, config)
    if recomputed and shape.width >= WIDE and runs_on_kernels(shape, config):
        return 0.0
    return max(_HOLES_RECOMPUTED * bool(recomputed), _HOLES_UNPACKED * (config.quantization.method == "nf4"))


def process_bytes(device: str) -> int:
    """Return what a plan counts for a process without a model: its libraries, or on CUDA its context."""
    return int(_CUDA_CONTEXT if device == "cuda" else _CPU_PROCESS)


def _beside_cuda(moving: int) -> Sequence[Item]:
    return [
        Item("context", process_bytes("cuda"), "assumed", "of CUDA and cuBLAS; not measured on a GPU"),
        Item("allocator slack", int(moving * _CUDA_SLACK), "assumed", "not measured on a GPU"),
    ]


def _beside_cpu(counted: int, holes: float) -> Sequence[Item]:
    return [
        Item("process", process_bytes("cpu"), "measured", "Python, torch and the other libraries"),
        Item("allocator slack", int(counted * _CPU_SLACK + holes), "measured", "freed memory that cannot be used"),
    ]
