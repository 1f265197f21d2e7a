r"""Rotary positions: each head's vector is rotated by angles that grow with the token's position.

    (a, b) ↦ (a cos − b sin, b cos + a sin)          backward: the same with −sin

with a and b the two halves of the head. transformers builds the rotated halves with a concatenation and adds two
products; here the products are accumulated in place.

Source: RoFormer, arXiv 2104.09864, with the halves paired as in Llama.
"""

from typing import Any

import torch


def rope(x_NHd: torch.Tensor, cos_Nd: torch.Tensor, sin_Nd: torch.Tensor) -> torch.Tensor:
    """Rotate every head of every token.

    Args:
        x_NHd: queries or keys, N tokens of H heads of size d.
        cos_Nd: cosines of the angles, both halves alike.
        sin_Nd: sines.

    Returns:
        The rotated vectors (N, H, d).
    """
    return _Rope.apply(x_NHd, cos_Nd, sin_Nd)  # type: ignore[no-any-return, no-untyped-call]


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NHd: torch.Tensor, cos_Nd: torch.Tensor, sin_Nd: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos_Nd, sin_Nd)
        return _rotate(x_NHd, cos_Nd, sin_Nd)

    @staticmethod
    def backward(ctx: Any, dy_NHd: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos_Nd, sin_Nd = ctx.saved_tensors
        return _rotate(dy_NHd, cos_Nd, -sin_Nd), None, None


def _rotate(x_NHd: torch.Tensor, cos_Nd: torch.Tensor, sin_Nd: torch.Tensor) -> torch.Tensor:
    half = x_NHd.shape[-1] // 2
    cos, sin = cos_Nd[:, None, :half], sin_Nd[:, None, :half]
    a, b = x_NHd[..., :half], x_NHd[..., half:]
    out_NHd = torch.empty_like(x_NHd, memory_format=torch.contiguous_format)
    torch.mul(a, cos, out=out_NHd[..., :half]).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=out_NHd[..., half:]).addcmul_(a, sin)
    return out_NHd
