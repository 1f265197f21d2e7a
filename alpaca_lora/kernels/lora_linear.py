r"""Linear layers with LoRA that share an input, as one autograd function.

For y_i = x W_i^T + b_i + s_i h_i B_i^T with h_i = (x ∘ m_i) A_i^T, m_i the dropout of layer i and g_i = s_i dy_i B_i:

    dx = Σ_i dy_i W_i + (g_i A_i) ∘ m_i        dA_i = g_i^T (x ∘ m_i)        dB_i = s_i dy_i^T h_i

PEFT runs this as seven operations per layer, with casts of the whole input and output between number formats. Here the
low-rank products are accumulated into the result of the large one, the A_i of all layers are one matrix, x is kept
once, and W_i is not kept at all (it may be unpacked from 4 bits again). A and B stay float32; they are rounded to the
format of x for the products only.

Source: LoRA, arXiv 2106.09685; the regrouping is plain calculus.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from alpaca_lora.kernels.projections import Projection


def lora_linear(x_ND: torch.Tensor, projections: Sequence[Projection], training: bool) -> tuple[torch.Tensor, ...]:
    """Apply linear layers to one input.

    Args:
        x_ND: input (N, D) in the format of computation.
        projections: the layers, with or without adapters.
        training: whether dropout is active.

    Returns:
        The output (N, out_i) of each.
    """
    masks = [_dropout_mask(x_ND, projection.dropout) if training else None for projection in projections]
    adapters = [part for projection in projections for part in (projection.down, projection.up)]
    return _LoraLinear.apply(x_ND, projections, masks, *adapters)  # type: ignore[no-any-return, no-untyped-call]


def _dropout_mask(x_ND: torch.Tensor, probability: float) -> torch.Tensor | None:
    if not probability:
        return None
    return torch.empty_like(x_ND).bernoulli_(1 - probability).div_(1 - probability)


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_ND: torch.Tensor,
        projections: Sequence[Projection],
        masks: Sequence[torch.Tensor | None],
        *adapters: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        downs = [None if down is None else down.to(x_ND.dtype) for down in adapters[::2]]
        ups = [  # (rank, out): a CPU multiplies by few rows faster than by few columns
            None if up is None else (up * projection.scale).to(x_ND.dtype).t().contiguous()
            for up, projection in zip(adapters[1::2], projections, strict=True)
        ]
        hidden = _low_rank(x_ND, downs, masks)
        outputs = []
        for projection, up, h_NR in zip(projections, ups, hidden, strict=True):
            y_NO = functional.linear(x_ND, projection.weight, projection.linear.bias)
            if up is not None and h_NR is not None:
                y_NO.addmm_(h_NR, up)
            outputs.append(y_NO)
        ctx.projections = projections
        ctx.save_for_backward(x_ND, *downs, *ups, *masks, *hidden)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        count = len(ctx.projections)
        x_ND, *saved = ctx.saved_tensors
        downs, ups, masks, hidden = (saved[count * part : count * (part + 1)] for part in range(4))
        lows = [None if up is None else functional.linear(dy, up) for dy, up in zip(grads, ups, strict=True)]
        dx_ND: torch.Tensor | None = None
        if ctx.needs_input_grad[0]:
            for projection, dy_NO in zip(ctx.projections, grads, strict=True):
                weight = projection.weight
                dx_ND = torch.mm(dy_NO, weight) if dx_ND is None else dx_ND.addmm_(dy_NO, weight)
        ddowns = _through_downs(x_ND, dx_ND, downs, masks, lows)
        dups = [
            None if h_NR is None else torch.mm(h_NR.t(), dy_NO).mul_(projection.scale).t()
            for projection, dy_NO, h_NR in zip(ctx.projections, grads, hidden, strict=True)
        ]
        pairs = (grad for pair in zip(ddowns, dups, strict=True) for grad in pair)
        return dx_ND, None, None, *pairs


def _low_rank(
    x_ND: torch.Tensor, downs: Sequence[torch.Tensor | None], masks: Sequence[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    """Return each h_i (N, rank); without dropout they are parts of one product."""
    present = [down for down in downs if down is not None]
    if any(mask is not None for mask in masks) or not present:
        return [
            None if down is None else functional.linear(x_ND if mask is None else x_ND * mask, down)
            for down, mask in zip(downs, masks, strict=True)
        ]
    parts = iter(functional.linear(x_ND, torch.cat(present)).split([len(down) for down in present], dim=1))
    return [None if down is None else next(parts).contiguous() for down in downs]


def _through_downs(
    x_ND: torch.Tensor,
    dx_ND: torch.Tensor | None,
    downs: Sequence[torch.Tensor | None],
    masks: Sequence[torch.Tensor | None],
    lows: Sequence[torch.Tensor | None],
) -> list[torch.Tensor | None]:
    """Add what passes through the adapters to dx, in place, and return each dA_i."""
    if any(mask is not None for mask in masks):
        ddowns: list[torch.Tensor | None] = []
        for down, mask, low_NR in zip(downs, masks, lows, strict=True):
            if down is None or low_NR is None:
                ddowns.append(None)
                continue
            ddowns.append(torch.mm(low_NR.t(), x_ND if mask is None else x_ND * mask))
            if dx_ND is not None:
                through_ND = torch.mm(low_NR, down)
                dx_ND.add_(through_ND if mask is None else through_ND.mul_(mask))
        return ddowns
    present = [down for down in downs if down is not None]
    if not present:
        return [None] * len(downs)
    low_NR = torch.cat([low for low in lows if low is not None], dim=1)
    if dx_ND is not None:
        dx_ND.addmm_(low_NR, torch.cat(present))
    parts = iter(torch.mm(low_NR.t(), x_ND).split([len(down) for down in present]))
    return [None if down is None else next(parts) for down in downs]
