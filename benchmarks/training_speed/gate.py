"""Whether a tool did the same work: only then its speed counts.

The reference is the same workload in float32 with plain PyTorch. The tolerances are those of bfloat16 arithmetic. The
gradients compared are those of three adapters in the last third of the layers, all matrices of a layer as one vector.
On its way to layer 0 a gradient is rounded in every layer, and TRL, Unsloth, LLaMA-Factory and this library all come to
0.998 there (2026-11-25); that cosine is written down and not judged.
"""

from collections.abc import Mapping
from typing import Any

LOSS_TOLERANCE = 1e-2
SMALLEST_COSINE = 0.999
GATED_LAYERS = ("layers.20", "layers.25", "layers.29")
HELDOUT_TOLERANCE = 0.01


def faults(cell: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """Return what a cell did otherwise than the reference, one phrase each; empty when it did the same.

    Args:
        cell: `losses`, `cosines` and `heldout_loss` of a tool.
        reference: `losses` and `heldout_loss` in float32.
    """
    found = []
    first, expected = cell["losses"][0], reference["losses"][0]
    if not abs(first - expected) <= LOSS_TOLERANCE:
        found.append(f"step-1 loss {first:.4f}, reference {expected:.4f}")
    if len(cell["losses"]) != len(reference["losses"]):
        found.append(f"{len(cell['losses'])} steps, reference {len(reference['losses'])}")
    worst = min(GATED_LAYERS, key=lambda name: cell["cosines"][name])
    if not cell["cosines"][worst] > SMALLEST_COSINE:
        found.append(f"gradient cosine {cell['cosines'][worst]:.5f} at {worst}")
    if not abs(cell["heldout_loss"] / reference["heldout_loss"] - 1) <= HELDOUT_TOLERANCE:
        found.append(f"held-out loss {cell['heldout_loss']:.4f}, reference {reference['heldout_loss']:.4f}")
    return found
