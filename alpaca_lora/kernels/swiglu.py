r"""SwiGLU, h = silu(e) ∘ g, keeping only e and g.

    dg = dh ∘ silu(e)          de = (dh ∘ g) silu'(e)

Written as two modules, autograd keeps silu(e) too, and each product is a pass over memory that has left the cache. Here
a block of rows goes through all of them before the next, and the gradients take the place of e and g.

Source: Shazeer, arXiv 2002.05202.
"""

from typing import Any

import torch
from torch.nn import functional

_ROWS = 512
"""Rows of a block: few enough for the cache, enough for the threads."""


def swiglu(gate_NI: torch.Tensor, up_NI: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) ∘ up, (N, I); the backward pass overwrites both inputs."""
    return _SwiGLU.apply(gate_NI, up_NI)  # type: ignore[no-any-return, no-untyped-call]


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_NI: torch.Tensor, up_NI: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate_NI, up_NI)
        h_NI = torch.empty_like(gate_NI)
        for gate, up, h in zip(*(part.split(_ROWS) for part in (gate_NI, up_NI, h_NI)), strict=True):
            torch.ops.aten.silu.out(gate, out=h)
            h.mul_(up)
        return h_NI

    @staticmethod
    def backward(ctx: Any, dh_NI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate_NI, up_NI = ctx.saved_tensors
        for gate, up, dh in zip(*(part.split(_ROWS) for part in (gate_NI, up_NI, dh_NI)), strict=True):
            activated = functional.silu(gate)
            through_gate = dh * up
            torch.mul(dh, activated, out=up)
            torch.ops.aten.silu_backward.grad_input(through_gate, gate, grad_input=gate)
        return gate_NI, up_NI
