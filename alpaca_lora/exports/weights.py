"""Weights on disk: read one tensor at a time, write in shards.

A file is opened anew for each tensor, so that the pages of one that was read do not count against this process while
the next is worked on.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from alpaca_lora import _files
from alpaca_lora.errors import ModelError
from alpaca_lora.kernels.allocator import keep_freed_memory
from alpaca_lora.models import check_header, load_base_model
from alpaca_lora.models.loading import DTYPES as PRECISIONS

__all__ = ["DTYPES", "SHARD_BYTES", "WeightFiles", "cast", "load_on_cpu", "write_shards"]

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
"""Number formats that a weight can be stored in."""

SHARD_BYTES = 10**9
"""Largest safetensors file, as far as single tensors allow."""

_STORED = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "U16": torch.uint16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


class WeightFiles:
    """The safetensors files of a model directory.

    Raises:
        ModelError: there is none, or one is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._paths: dict[str, Path] = {}
        self.shapes: dict[str, torch.Tensor] = {}
        """A tensor without memory for each name: its shape and number format."""
        for path in sorted(directory.glob("*.safetensors")):
            try:
                check_header(path)
                with safe_open(path, framework="pt") as file:
                    for name in file.keys():  # noqa: SIM118
                        part = file.get_slice(name)
                        self.shapes[name] = torch.empty(
                            part.get_shape(), dtype=_STORED[part.get_dtype()], device="meta"
                        )
                        self._paths[name] = path
            except (SafetensorError, OSError, KeyError, ValueError) as error:
                raise ModelError(f"{str(path)!r} is damaged or incomplete ({error}): copy it again") from error
        if not self._paths:
            raise ModelError(f"{str(directory)!r} holds no *.safetensors: give a model directory")

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor as it is stored."""
        with safe_open(self._paths[name], framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
            return tensor


def cast(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a weight in another number format.

    Raises:
        ModelError: a value is too large for it.
    """
    if not tensor.is_floating_point() or tensor.dtype == dtype:
        return tensor
    result = tensor.to(dtype)
    if not torch.isfinite(result).all():
        raise ModelError(
            f"{name!r} holds values that {str(dtype).removeprefix('torch.')} cannot hold: choose bf16 or f32"
        )
    return result


def load_on_cpu(directory: Path, dtype: torch.dtype) -> Any:
    """Open a model directory for computing on the CPU, whatever else there is."""
    precision: Any = next(name for name, value in PRECISIONS.items() if value == dtype)
    return load_base_model(directory, precision=precision, device="cpu")


def write_shards(
    directory: Path,
    shapes: Mapping[str, torch.Tensor],
    make: Callable[[str], torch.Tensor],
    *,
    stem: str = "model",
    shard_bytes: int = SHARD_BYTES,
    written: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write tensors as one safetensors file, or as numbered shards with an index, holding one shard at a time.

    Args:
        directory: where they go.
        shapes: a tensor of the right shape and format for each name, on torch's meta device.
        make: computes the tensor of a name.
        stem: what the name of each file begins with.
        shard_bytes: where a new file begins.
        written: called after each file with how many tensors are written and how many there are.
    """
    keep_freed_memory(False)  # or glibc holds on to a second shard
    pattern = f"{stem}{{suffix}}.safetensors"
    split = split_torch_state_dict_into_shards(dict(shapes), filename_pattern=pattern, max_shard_size=shard_bytes)
    done = 0
    for file_name, names in split.filename_to_tensors.items():
        save_file({name: make(name).contiguous() for name in names}, directory / file_name, metadata={"format": "pt"})
        done += len(names)
        written(done, len(shapes))
    if split.is_sharded:
        index: dict[str, Any] = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        _files.write_json(directory / f"{stem}.safetensors.index.json", index)


def in_order(names: Iterable[str], order: Iterable[str]) -> list[str]:
    """Return the names in the order of another list, those that it lacks at the end, sorted."""
    place = {name: index for index, name in enumerate(order)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))
