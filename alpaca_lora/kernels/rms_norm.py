r"""RMSNorm in two passes over the data instead of eight.

    y = w ∘ x r,   r = (mean(x²) + ε)^(-1/2)          dx = r (t − x̂ mean(t ∘ x̂)),   t = dy ∘ w,  x̂ = x r

transformers does this in float32 with a copy of x at each step, and torch's `rms_norm` on a CPU is no faster. torch has
no kernel for it there, but two that contain it, both with float32 inside and one rounding at the end:

- batch normalisation with given statistics is x ↦ (x − μ_c) / sqrt(v_c + ε): with the rows as channels, μ = 0 and
  v = mean(x²) it is x̂; its own statistics, in one pass, give mean(x²) = variance + mean²;
- the backward of layer normalisation with μ = 0 and this r is dx − r mean(t), and mean(t) is one product with w.

On CUDA torch's own fused `rms_norm` is used.

Source: Zhang and Sennrich, arXiv 1910.07467.
"""

from typing import Any

import torch
from torch.nn import functional


def rms_norm(x_ND: torch.Tensor, weight_D: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Divide each row by its root mean square and multiply each column by its weight.

    Args:
        x_ND: rows to normalise, (N, D).
        weight_D: frozen weights, (D).
        epsilon: added to the mean square.

    Returns:
        The normalised rows (N, D), in the format of the input.
    """
    if x_ND.device.type != "cpu":
        return functional.rms_norm(x_ND, weight_D.shape, weight_D, epsilon)
    return _RMSNorm.apply(x_ND, weight_D, epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: torch.Tensor, weight_D: torch.Tensor, epsilon: float) -> torch.Tensor:
        mean_N, variance_N = torch.batch_norm_update_stats(x_ND[None], None, None, 0.0)
        square_N = variance_N.addcmul_(mean_N, mean_N)
        zero_N = torch.zeros_like(square_N)
        y_ND = functional.batch_norm(x_ND[None], zero_N, square_N, training=False, eps=epsilon)[0]
        ctx.save_for_backward(x_ND, weight_D, zero_N, square_N.add_(epsilon).rsqrt_())
        return y_ND.mul_(weight_D)

    @staticmethod
    def backward(ctx: Any, dy_ND: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x_ND, weight_D, zero_N, scale_N = ctx.saved_tensors
        dx_ND, _, _ = torch.ops.aten.native_layer_norm_backward(
            dy_ND, x_ND, weight_D.shape, zero_N[:, None], scale_N[:, None], weight_D.to(scale_N.dtype), None,
            [True, False, False],
        )  # fmt: skip
        mean_N = torch.mv(dy_ND, weight_D).to(scale_N.dtype).div_(len(weight_D))
        return dx_ND.add_((scale_N * mean_N).to(dx_ND.dtype)[:, None]), None, None
