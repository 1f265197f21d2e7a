"""Compare an artefact's weights with what they should be, and name the fault by its shape in the numbers.

Logits tell that something is wrong, and after a short training not even that: one skipped layer can be smaller than the
rounding of all others. Weights tell which one and how.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

__all__ = ["Fault", "compare_tensors", "rounding"]

_HALF_STEP = {"f32": 2.0**-23, "bf16": 2.0**-8, "f16": 2.0**-11}
_SMALLEST = {"f32": 1e-7, "bf16": 1e-30, "f16": 2.0**-25}
_OFF_SCALE = 0.02
_BLOCK = 32
_SHARES = {"q8_0": 0.6 / 127, "q6": 0.04, "q5": 0.08, "q4": 0.16}
"""How far off a quantised value may be, as a share of the largest in its block."""


@dataclass(frozen=True)
class Fault:
    """A tensor of an artefact that is not what it should be."""

    tensor: str
    """Its name, as transformers names it."""

    code: str
    """`missing`, `wrong-shape`, `wrong-base`, `not-merged`, `permuted`, `wrong-scale` or `different`."""

    sentence: str
    """What was found."""


def rounding(expected: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return how far each value may be off after one rounding to a number format.

    Args:
        expected: float32 values.
        dtype: a key of `parity.LIMITS`; from q8_0 on, blocks of 32 values have a common scale.
    """
    if dtype not in _SHARES:
        return expected.abs() * (_HALF_STEP[dtype] * 1.01) + _SMALLEST[dtype]
    if expected.ndim < 2 or expected.shape[-1] % _BLOCK:
        return rounding(expected, "f16")
    blocks = expected.reshape(*expected.shape[:-1], -1, _BLOCK).abs()
    step = blocks.amax(dim=-1, keepdim=True) * _SHARES[dtype] + _SMALLEST["f16"]
    return step.expand_as(blocks).reshape(expected.shape)


def compare_tensors(
    names: Iterable[str],
    found: Callable[[str], torch.Tensor | None],
    base: Callable[[str], torch.Tensor],
    merged: Callable[[str], torch.Tensor],
    dtype: str,
) -> list[Fault]:
    """Return a fault for each tensor that differs by more than one rounding.

    Args:
        names: what to compare, in the order of the model.
        found: returns a tensor of the artefact, None where it has none.
        base: returns it without the adapter.
        merged: returns it as it should be.
        dtype: number format of the artefact.
    """
    faults = []
    for name in names:
        tensor, expected = found(name), merged(name).float()
        if tensor is None:
            faults.append(Fault(name, "missing", "it is not there"))
        elif tensor.shape != expected.shape:
            faults.append(
                Fault(name, "wrong-shape", f"it has shape {tuple(tensor.shape)}, should be {tuple(expected.shape)}")
            )
        elif not _close(tensor.float(), expected, dtype):
            faults.append(Fault(name, *_describe(tensor.float(), base(name).float(), expected, dtype)))
    return faults


def _close(tensor: torch.Tensor, expected: torch.Tensor, dtype: str) -> bool:
    return bool(((tensor - expected).abs() <= rounding(expected, dtype)).all())


def _describe(tensor: torch.Tensor, base: torch.Tensor, expected: torch.Tensor, dtype: str) -> tuple[str, str]:
    """Return code and sentence of a difference."""
    update = expected - base
    if _close(tensor, base, dtype):
        return "not-merged", "it is the base's, without the adapter"
    factor = float(((tensor - base) * update).sum() / update.square().sum()) if update.any() else 1.0
    scaled = base + factor * update
    if abs(factor - 1) > _OFF_SCALE and (tensor - scaled).norm() <= rounding(scaled, dtype).norm():
        return "wrong-scale", f"the adapter is in it {factor:.3g} times"
    if _close(tensor.flatten().sort().values, expected.flatten().sort().values, dtype):
        return "permuted", "it holds the right values in another order"
    if not update.any():
        return "wrong-base", "the adapter does not touch it, and yet it is not the base's"
    return "different", f"it is off by up to {float((tensor - expected).abs().max()):.3g}"
