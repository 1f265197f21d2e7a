r"""Output head and cross-entropy over supervised tokens, a block of rows at a time, with the gradient made on the way.

For logits z = h W^T and loss L = Σ_n −log softmax(z_n)[t_n] / M:

    dL/dz = (softmax(z) − onehot(t)) / M          dL/dh = dL/dz W

Everything that the backward pass needs of a block is there in the forward pass, so the logits (49,152 numbers per token
for a small model, more than everything else in it together) live for one block only, and are computed once. TRL's head
on a CPU scores prompts and padding too, twice, in float32. What 16 bits cannot hold is softmax(z)[t] − 1 near 0, for a
token that the model is sure of; it is the negative sum of the others, which they can.

Source: Liger Kernel, arXiv 2410.10989, for the gradient in the forward pass.
"""

from typing import Any

import torch
from torch.nn import functional

from alpaca_lora.planning.kernel_facts import ROW_MULTIPLE


def linear_cross_entropy(
    hidden_SD: torch.Tensor,
    weight_VD: torch.Tensor,
    targets_S: torch.Tensor,
    total: torch.Tensor | float,
    block_bytes: int,
) -> torch.Tensor:
    """Return the negative log-likelihood of the targets, summed and divided by `total`.

    Args:
        hidden_SD: last hidden states of the S supervised tokens.
        weight_VD: frozen output head.
        targets_S: ids to predict.
        total: what the sum is divided by, as the supervised tokens of a whole optimizer step.
        block_bytes: most memory that a block of logits takes.

    Returns:
        A float32 scalar (float64 for float64 inputs).
    """
    return _LinearCrossEntropy.apply(hidden_SD, weight_VD, targets_S, total, block_bytes)  # type: ignore[no-any-return, no-untyped-call]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_SD: torch.Tensor,
        weight_VD: torch.Tensor,
        targets_S: torch.Tensor,
        total: torch.Tensor | float,
        block_bytes: int,
    ) -> torch.Tensor:
        wide, rows = torch.promote_types(hidden_SD.dtype, torch.float32), len(hidden_SD)
        padding = -rows % ROW_MULTIPLE
        hidden_SD, targets_S = functional.pad(hidden_SD, (0, 0, 0, padding)), functional.pad(targets_S, (0, padding))
        grad_SD = torch.empty_like(hidden_SD)
        losses = []
        block = max(block_bytes // (len(weight_VD) * hidden_SD.element_size() * ROW_MULTIPLE), 1) * ROW_MULTIPLE
        for hidden_BD, targets_B, grad_BD in zip(
            hidden_SD.split(block), targets_S.split(block), grad_SD.split(block), strict=True
        ):
            logits_BV = functional.linear(hidden_BD, weight_VD)
            probabilities_BV = torch.softmax(logits_BV, dim=-1, out=logits_BV)
            target_B = torch.arange(len(targets_B), device=targets_B.device) * len(weight_VD) + targets_B
            chosen_B = probabilities_BV.view(-1)[target_B].to(wide)
            probabilities_BV.view(-1)[target_B] = 0
            others_B = probabilities_BV.sum(dim=-1).to(wide)
            unlikely_B = chosen_B.clamp(min=torch.finfo(wide).tiny).log()
            losses.append(torch.where(others_B < 0.5, torch.log1p(-others_B), unlikely_B))
            probabilities_BV.view(-1)[target_B] = -others_B.to(hidden_SD.dtype)
            torch.mm(probabilities_BV, weight_VD, out=grad_BD)
        ctx.total = total
        ctx.save_for_backward(grad_SD[:rows])
        return -torch.cat(losses)[:rows].sum() / total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad_SD,) = ctx.saved_tensors
        return grad_SD * (grad / ctx.total), None, None, None, None
