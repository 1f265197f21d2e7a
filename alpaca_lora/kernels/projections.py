"""What a fused kernel has to know of a linear layer: its dense weight, and its adapter if there is one.

PEFT's modules stay where they are and own every parameter. A `Projection` only reads them, anew at every call, so
saving, merging and resuming go through PEFT as before.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from alpaca_lora._optional import require

_SLAB = 2**19
"""Numbers unpacked at a time on a CPU, where bitsandbytes cannot be told where to put them; too few to be mapped."""


@dataclass(slots=True)
class DenseWeights:
    """Weights of frozen linear layers as matrices; 4-bit ones are unpacked, and kept while a memory budget lasts.

    Unpacking costs a tenth of a matrix product over 2,048 tokens and more than one over 128, in the forward and in the
    backward pass; a kept copy costs two bytes per parameter. Those that are not kept share one place: freed and taken
    anew, matrices of this size would leave a hole in the heap for every small tensor that stays between them.
    """

    budget_bytes: int = 0
    """Memory that unpacked copies may take."""

    kept: dict[nn.Module, torch.Tensor] = field(default_factory=dict)
    scratch: torch.Tensor | None = None

    def of(self, linear: Any) -> torch.Tensor:
        """Return the weight (out, in) of a linear layer; one in 4 bits is valid until the next is asked for."""
        state = getattr(linear.weight, "quant_state", None)
        if state is None:
            return linear.weight  # type: ignore[no-any-return]
        if linear in self.kept:
            return self.kept[linear]
        size = state.shape.numel() * state.dtype.itemsize
        if size > self.budget_bytes:
            return self._unpack_over(linear.weight.data, state)
        self.budget_bytes -= size
        bitsandbytes = require("bitsandbytes", extra="quant")
        self.kept[linear] = bitsandbytes.functional.dequantize_4bit(linear.weight.data, state)
        return self.kept[linear]

    def clear(self) -> None:
        """Free every unpacked weight."""
        self.kept.clear()
        self.scratch = None

    def _unpack_over(self, packed: torch.Tensor, state: Any) -> torch.Tensor:
        """Unpack a weight in the place of the one before."""
        functional = require("bitsandbytes", extra="quant").functional
        count = state.shape.numel()
        if self.scratch is None or len(self.scratch) < count:
            self.scratch = packed.new_empty(count, dtype=state.dtype)
        out = self.scratch[:count].view(state.shape)
        if packed.device.type == "cuda":
            functional.dequantize_4bit(packed, state, out=out)
            return out
        scales = state.absmax
        if state.nested:
            scales = functional.dequantize_blockwise(scales, state.state2) + state.offset
        flat, packed, slab = out.view(-1), packed.view(-1), _SLAB // state.blocksize * state.blocksize
        for first in range(0, count, slab):
            part = flat[first : first + slab]
            numbers, blocks = packed[first // 2 :], scales[first // state.blocksize :]
            unpacked = torch.ops.bitsandbytes.dequantize_4bit(
                numbers[: len(part) // 2],
                blocks[: -(-len(part) // state.blocksize)],
                state.blocksize,
                state.quant_type,
                part.shape,
                state.dtype,
            )
            part.copy_(unpacked.flatten())
        return out


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear layer, y = x W^T + b + s (dropout(x) A^T) B^T, as the kernels see it."""

    linear: Any
    """The frozen layer."""

    weights: DenseWeights

    down: torch.Tensor | None = None
    """A (rank, in) in float32, trained; None where there is no adapter."""

    up: torch.Tensor | None = None
    """B (out, rank) in float32, trained."""

    scale: float = 1.0
    dropout: float = 0.0

    @property
    def weight(self) -> torch.Tensor:
        """Return W (out, in)."""
        return self.weights.of(self.linear)


def projection_of(module: Any, weights: DenseWeights) -> Projection | str:
    """Return what the kernels need of a linear layer, or why they cannot take its place."""
    if not isinstance(module, LoraLayer):
        return Projection(module, weights) if isinstance(module, nn.Linear) else f"it is a {type(module).__name__}"
    base: Any = module.get_base_layer()
    if not isinstance(base, nn.Linear):
        return f"its base is a {type(base).__name__}"
    if len(module.active_adapters) != 1:
        return f"{len(module.active_adapters)} adapters are active"
    name = module.active_adapters[0]
    if module.lora_variant:
        return f"it uses {type(next(iter(module.lora_variant.values()))).__name__}"
    if any(module.lora_bias.values()):
        return "it trains a bias of the adapter"
    if getattr(module, "fan_in_fan_out", False):
        return "its weight is transposed"
    if module.merged or module.disable_adapters:
        return "its adapter is merged or switched off"
    if name not in module.lora_A:
        return Projection(base, weights)
    down: Any = module.lora_A[name]
    up: Any = module.lora_B[name]
    dropout = module.lora_dropout[name]
    return Projection(
        base,
        weights,
        down=down.weight,
        up=up.weight,
        scale=module.scaling[name],
        dropout=dropout.p if isinstance(dropout, nn.Dropout) else 0.0,
    )
