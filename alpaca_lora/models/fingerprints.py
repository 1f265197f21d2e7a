"""Tell one base model from another of the same shape, without reading all of its weights."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from alpaca_lora.errors import ModelError

SECOND_COPY = "consolidated*"
"""Weights in the format of their makers, beside the same ones in that of transformers; a download leaves them out."""

_VALUES = 16


def fingerprint(directory: Path) -> str:
    """Return a digest of a base model's weights.

    From every tensor of every safetensors file it takes the name, the shape and sixteen values spread evenly over it,
    so that a 7B model costs a few hundred page reads. Values are rounded to bfloat16, so the same weights stored as
    float32 or as bfloat16 are the same model.

    Args:
        directory: a local base model with *.safetensors.

    Returns:
        64 hex digits.

    Raises:
        ModelError: a file is damaged.
    """
    lines: list[tuple[str, bytes]] = []
    for path in sorted(directory.glob("*.safetensors")):
        if path.match(SECOND_COPY):
            continue
        try:
            with safe_open(path, framework="pt") as file:
                lines += [(name, _sample(file.get_tensor(name))) for name in file.keys()]  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{str(path)!r} is damaged or incomplete ({error}): download it again") from error
    digest = hashlib.sha256()
    for name, sample in sorted(lines):
        digest.update(name.encode() + b"\0" + sample)
    return digest.hexdigest()


def _sample(tensor: torch.Tensor) -> bytes:
    flat = tensor.reshape(-1)
    picks = torch.linspace(0, max(flat.numel() - 1, 0), min(_VALUES, flat.numel()), dtype=torch.float64).long()
    values = flat[picks].to(torch.bfloat16).view(torch.int16)
    return repr(tuple(tensor.shape)).encode() + values.numpy().tobytes()
