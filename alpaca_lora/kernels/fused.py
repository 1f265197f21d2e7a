r"""The elementwise parts of a layer, compiled: residual sum with RMSNorm, rotary positions, SwiGLU.

Written with torch's operations each of them is several passes over memory that the cache cannot hold. torch's Inductor
turns the same lines into one C++ or Triton loop with float32 inside and one rounding at the end. The formulas are those
of `rms_norm`, `rope` and `swiglu`; the gradient of the residual sum h + δ joins that of the norm in one loop.

Compiling takes some seconds at the first step of a machine's first run, and is kept on disk by Inductor from then on.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional


def add_rms_norm(
    hidden_ND: torch.Tensor, delta_ND: torch.Tensor, weight_D: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of both (N, D), and the sum after RMSNorm."""
    return _AddRMSNorm.apply(hidden_ND, delta_ND, weight_D, epsilon)  # type: ignore[no-any-return, no-untyped-call]


def rope(x_NHd: torch.Tensor, cos_Nd: torch.Tensor, sin_Nd: torch.Tensor) -> torch.Tensor:
    """Rotate every head of every token, as `alpaca_lora.kernels.rope.rope`."""
    return _Rope.apply(x_NHd, cos_Nd, sin_Nd)  # type: ignore[no-any-return, no-untyped-call]


def swiglu(gate_NI: torch.Tensor, up_NI: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) ∘ up, (N, I)."""
    return _SwiGLU.apply(gate_NI, up_NI)  # type: ignore[no-any-return, no-untyped-call]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, compiled for any number of rows at its first call: importing the compiler takes seconds.

    It sees tensors without their history, since gradients are made here and not by the compiler.
    """
    compiled = functools.cache(lambda: torch.compile(function, dynamic=True))

    def run(*arguments: Any) -> Any:
        return compiled()(*(part.detach() if isinstance(part, torch.Tensor) else part for part in arguments))

    return run


@_compiled
def _add_norm(h_ND: torch.Tensor, delta_ND: torch.Tensor, weight_D: torch.Tensor, epsilon: float) -> Any:
    sum_ND = h_ND + delta_ND
    wide_ND = sum_ND.float()
    scale_N1 = torch.rsqrt(wide_ND.square().mean(dim=-1, keepdim=True) + epsilon)
    return sum_ND, (wide_ND * scale_N1 * weight_D).to(sum_ND.dtype), scale_N1


@_compiled
def _add_norm_backward(
    dsum_ND: torch.Tensor, dy_ND: torch.Tensor, sum_ND: torch.Tensor, weight_D: torch.Tensor, scale_N1: torch.Tensor
) -> torch.Tensor:
    t_ND, unit_ND = dy_ND.float() * weight_D, sum_ND.float() * scale_N1
    dnorm_ND = scale_N1 * (t_ND - unit_ND * (t_ND * unit_ND).mean(dim=-1, keepdim=True))
    return (dsum_ND + dnorm_ND).to(dsum_ND.dtype)


@_compiled
def _rotated(x_NHd: torch.Tensor, cos_Nd: torch.Tensor, sin_Nd: torch.Tensor, direction: float) -> torch.Tensor:
    half = x_NHd.shape[-1] // 2
    cos, sin = cos_Nd[:, None, :half].float(), sin_Nd[:, None, :half].float() * direction
    a, b = x_NHd[..., :half].float(), x_NHd[..., half:].float()
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-2).flatten(-2).to(x_NHd.dtype)


@_compiled
def _gated(gate_NI: torch.Tensor, up_NI: torch.Tensor) -> torch.Tensor:
    return (functional.silu(gate_NI.float()) * up_NI).to(up_NI.dtype)


@_compiled
def _gated_backward(dh_NI: torch.Tensor, gate_NI: torch.Tensor, up_NI: torch.Tensor) -> Any:
    gate, dh = gate_NI.float(), dh_NI.float()
    sigmoid = torch.sigmoid(gate)
    activated = gate * sigmoid
    dgate = dh * up_NI * (sigmoid + activated * (1 - sigmoid))
    return dgate.to(gate_NI.dtype), (dh * activated).to(up_NI.dtype)


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: torch.Tensor, delta_ND: torch.Tensor, weight_D: torch.Tensor, epsilon: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sum_ND, y_ND, scale_N1 = _add_norm(hidden_ND, delta_ND, weight_D, epsilon)
        ctx.save_for_backward(sum_ND, weight_D, scale_N1)
        return sum_ND, y_ND

    @staticmethod
    def backward(ctx: Any, dsum_ND: torch.Tensor, dy_ND: torch.Tensor) -> tuple[Any, ...]:
        dhidden_ND = _add_norm_backward(dsum_ND, dy_ND, *ctx.saved_tensors)
        return dhidden_ND, dhidden_ND, None, None


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NHd: torch.Tensor, cos_Nd: torch.Tensor, sin_Nd: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos_Nd, sin_Nd)
        return _rotated(x_NHd, cos_Nd, sin_Nd, 1.0)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy_NHd: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _rotated(dy_NHd, *ctx.saved_tensors, -1.0), None, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_NI: torch.Tensor, up_NI: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate_NI, up_NI)
        return _gated(gate_NI, up_NI)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dh_NI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _gated_backward(dh_NI, *ctx.saved_tensors)  # type: ignore[no-any-return]
