"""Merge an adapter into the weights of its base, tensor by tensor.

Each weight is computed in float32 and cast once; nothing is held but one shard of the result. The base's weights count
either as they are, or as they look after a round trip through NF4, which is what a QLoRA adapter was trained on.
"""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from alpaca_lora._optional import require
from alpaca_lora.errors import ModelError
from alpaca_lora.exports.origin import Origin
from alpaca_lora.exports.weights import DTYPES, SHARD_BYTES, WeightFiles, cast, in_order, write_shards
from alpaca_lora.models.loading import DTYPES as TORCH_DTYPES

__all__ = ["MergedWeights", "write_merged_weights"]

_BLOCK = 64
"""Values that share a scale in NF4, as transformers asks of bitsandbytes."""


class MergedWeights:
    """The weights of base and adapter together, computed when they are asked for.

    Raises:
        ModelError: the base keeps its weights under other names than the model that they are loaded into.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._updates = origin.updates
        self._changed = frozenset(self._updates.modules)
        self._files = WeightFiles(origin.base_dir)
        loaded = set(self._updates.base_names)
        self.shapes = {name: shape for name, shape in self._files.shapes.items() if name in loaded}
        """A tensor without memory for each name of the base's files that the model loads; old files hold others too."""
        lacking = [name for name in self._updates.modules if f"{name}.weight" not in self.shapes]
        if lacking:
            raise ModelError(
                f"{str(origin.base_dir)!r} has no tensor {lacking[0] + '.weight'!r}, which the adapter changes: load "
                "the base with transformers and save it again, so that its names are today's"
            )
        self.names = tuple(in_order(self.shapes, self._updates.base_names))
        """Names of all weights, in the order of the model."""

    def changed(self, name: str) -> bool:
        """Tell whether the adapter changes the module that a weight belongs to."""
        return name.rpartition(".")[0] in self._changed

    def base(self, name: str) -> torch.Tensor:
        """Return a weight without the adapter."""
        tensor = self._files.read(name)
        module, _, last = name.rpartition(".")
        if self._origin.into == "dequantized" and last == "weight" and module in self._updates.linear_modules:
            held = tensor.to(TORCH_DTYPES[self._origin.precision])
            return _through_nf4(held, double=self._origin.quantization.double_quantization)
        return tensor

    def merged(self, name: str) -> torch.Tensor:
        """Return a weight with the adapter: float32 where that changes it, else as it is stored."""
        if not self.changed(name):
            return self.base(name)
        module, _, last = name.rpartition(".")
        own = {kind: f"{module}.{kind}" for kind in ("weight", "bias") if f"{module}.{kind}" in self.shapes}
        return self._updates.merge(module, {kind: self.base(full) for kind, full in own.items()})[last]


def _through_nf4(weight: torch.Tensor, *, double: bool) -> torch.Tensor:
    """Return a weight as bitsandbytes computes with it once it is held in NF4."""
    functional = require("bitsandbytes.functional", extra="quant")
    packed, state = functional.quantize_4bit(
        weight, blocksize=_BLOCK, compress_statistics=double, quant_type="nf4", quant_storage=torch.uint8
    )
    result: torch.Tensor = functional.dequantize_4bit(packed, state)
    return result


def write_merged_weights(
    weights: MergedWeights,
    directory: Path,
    dtype: str | None,
    *,
    shard_bytes: int = SHARD_BYTES,
    written: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write all weights to a directory as safetensors.

    Args:
        weights: base and adapter together.
        directory: where they go.
        dtype: f32, f16 or bf16; None keeps each weight in the base's own format.
        shard_bytes: where a new file begins.
        written: see `write_shards`.

    Raises:
        ModelError: a value is too large for `dtype`.
        OSError: the disk has not enough room.
    """
    kinds = {
        name: DTYPES[dtype] if dtype and shape.is_floating_point() else shape.dtype
        for name, shape in weights.shapes.items()
    }
    shapes = {name: torch.empty_like(weights.shapes[name], dtype=kinds[name]) for name in weights.names}
    needed = sum(shape.nbytes for shape in shapes.values())
    if shutil.disk_usage(directory).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))

    def make(name: str) -> torch.Tensor:
        return cast(name, weights.merged(name), kinds[name])

    write_shards(directory, shapes, make, shard_bytes=shard_bytes, written=written)
