"""Publish a fine-tuned model without publishing its base: a difference that gives it back bit for bit.

Stanford's `weight_diff.py` subtracted floats, which rounds, held two models in memory and checked one sum. Here the
bits of a tensor are combined by exclusive or, which is exact in every number format; one tensor is held at a time; and
each has its SHA-256, so that a wrong base or a single flipped bit is found and named. A tensor that the base does not
have, or has in another shape (added tokens), is stored as it is.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from alpaca_lora import _files
from alpaca_lora._paths import expanded
from alpaca_lora._seals import seal
from alpaca_lora.errors import ExportError, ModelError
from alpaca_lora.exports.origin import check_output, new_output
from alpaca_lora.exports.parity import REPORT
from alpaca_lora.exports.weights import WeightFiles, write_shards
from alpaca_lora.models import check_documents

__all__ = ["MANIFEST", "make_weight_diff", "recover_weights"]

MANIFEST = "weight_diff.json"
_FORMAT = 1
_STEM = "weight_diff"  # not `model`, or transformers would load the difference as a model
_SHARD_BYTES = 4 * 10**8
_SMALL = (".jinja", ".json", ".model", ".txt")
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def make_weight_diff(
    tuned_dir: str | Path,
    raw_dir: str | Path,
    output_dir: str | Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the difference between a fine-tuned model and its base.

    Args:
        tuned_dir: the fine-tuned model, *.safetensors and the small files beside them.
        raw_dir: the base that a receiver has too.
        output_dir: a new or empty directory.
        progress: gets how many tensors are done and how many there are.

    Returns:
        The output directory.

    Raises:
        ModelError: a directory holds no readable weights, or a file that is a link to another place.
        ConfigError: the output directory is in use.
        ExportError: the models are equal, or have no tensor in common.
    """
    tuned_path, target = _checked(tuned_dir), check_output(output_dir)
    tuned, raw = WeightFiles(tuned_path), WeightFiles(expanded(raw_dir))
    shapes, entries = {}, {}
    for name, shape in tuned.shapes.items():
        combined = name in raw.shapes and raw.shapes[name].shape == shape.shape
        shapes[name] = torch.empty_like(shape, dtype=_BITS[shape.element_size()]) if combined else shape
    if all(shape is tuned.shapes[name] for name, shape in shapes.items()):
        said = "have no tensor in common: name the base it was made from"
        raise ExportError(f"{str(tuned_dir)!r} and {str(raw_dir)!r} {said}")

    def difference(name: str) -> torch.Tensor:
        tensor = tuned.read(name)
        entries[name] = entry = {"dtype": _dtype_name(tensor), "sha256": _sha256(tensor)}
        if shapes[name] is tuned.shapes[name]:
            return tensor
        base = raw.read(name)
        entry["raw_sha256"] = _sha256(base)
        return _xor(tensor, base, tensor.dtype)

    with new_output(target) as staged:
        write_shards(staged, shapes, difference, stem=_STEM, shard_bytes=_SHARD_BYTES, written=progress)
        if all(entry.get("raw_sha256") == entry["sha256"] for entry in entries.values()):
            raise ExportError(f"{str(tuned_dir)!r} and {str(raw_dir)!r} hold the same weights: there is no difference")
        files = _copy_small_files(tuned_path, staged)
        _files.write_json(staged / MANIFEST, {"format": _FORMAT, "tensors": entries, "files": files})
        seal(staged)
    return target


def recover_weights(
    diff_dir: str | Path,
    raw_dir: str | Path,
    output_dir: str | Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the fine-tuned model from its base and a difference, the very bits that it had.

    Args:
        diff_dir: what `make_weight_diff` wrote.
        raw_dir: the base that the difference was made with.
        output_dir: a new or empty directory.
        progress: gets how many tensors are done and how many there are.

    Returns:
        The output directory.

    Raises:
        ModelError: a directory holds no readable weights.
        ConfigError: the output directory is in use.
        ExportError: the base is another one, or the difference was damaged; the message names the first tensor.
    """
    diff_path, target = _checked(diff_dir), check_output(output_dir)
    diff, raw = WeightFiles(diff_path), WeightFiles(expanded(raw_dir))
    manifest = _read_manifest(diff_path, diff)
    entries: dict[str, dict[str, str]] = manifest["tensors"]
    shapes = {name: _said_shape(name, shape, entries[name]["dtype"]) for name, shape in diff.shapes.items()}

    def tensor_of(name: str) -> torch.Tensor:
        entry, tensor = entries[name], diff.read(name)
        if "raw_sha256" in entry:
            base = raw.read(name) if name in raw.shapes else torch.empty(0)
            if _sha256(base) != entry["raw_sha256"]:
                raise ExportError(
                    f"{name!r} of {str(raw_dir)!r} is not the one that the difference was made with: name that base"
                )
            tensor = _xor(tensor, base, shapes[name].dtype).view(shapes[name].dtype)
        if _sha256(tensor) != entry["sha256"]:
            raise ExportError(
                f"{name!r} in {str(diff_path)!r} was damaged (its sha256 differs): copy the difference again"
            )
        return tensor

    with new_output(target) as staged:
        write_shards(staged, shapes, tensor_of, written=progress, shard_bytes=_SHARD_BYTES)
        _copy_verified(manifest["files"], diff_path, staged)
        if (staged / REPORT).is_file():  # of an export, which is sealed
            seal(staged)
    return target


def _checked(name: str | Path) -> Path:
    """Return a directory whose small files may be copied."""
    directory = expanded(name)
    if not directory.is_dir():
        raise ModelError(f"{str(directory)!r} is no directory: give that of a model")
    check_documents(directory)
    return directory


def _read_manifest(directory: Path, diff: WeightFiles) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] == _FORMAT and isinstance(manifest["files"], dict)
        if not known or not all(
            isinstance(entry[key], str) for entry in manifest["tensors"].values() for key in ("dtype", "sha256")
        ):
            raise ValueError("it is not of the form that this version writes")
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise ExportError(
            f"{str(path)!r} cannot be read ({error}): give a directory made by export weight-diff"
        ) from error
    if manifest["tensors"].keys() != diff.shapes.keys():
        name = min(manifest["tensors"].keys() ^ diff.shapes.keys())
        raise ExportError(
            f"{str(directory)!r} is not complete, {name!r} is in its weights or its manifest only: copy it again"
        )
    return manifest


def _copy_small_files(source: Path, target: Path) -> dict[str, str]:
    """Copy configuration and tokenizer; return the SHA-256 of each."""
    digests = {}
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in _SMALL and not path.name.endswith(".index.json"):
            shutil.copyfile(path, target / path.name)
            digests[path.name] = _files.sha256_of(target / path.name)
    return digests


def _copy_verified(digests: Mapping[str, str], source: Path, target: Path) -> None:
    for name, digest in digests.items():
        path = source / Path(name).name
        if not path.is_file() or _files.sha256_of(path) != digest:
            raise ExportError(f"{str(path)!r} is missing or was damaged: copy the difference again")
        shutil.copyfile(path, target / path.name)


def _xor(tensor: torch.Tensor, base: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Combine the bits of a tensor with those of its base in the number format `kind`."""
    bits = _BITS[kind.itemsize]
    return torch.bitwise_xor(tensor.view(bits), base.to(kind).view(bits))


def _sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().view(-1).view(torch.uint8).numpy().data).hexdigest()


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _said_shape(tensor: str, stored: torch.Tensor, name: str) -> torch.Tensor:
    """Return a stored tensor's shape in the number format that the manifest gives it."""
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or dtype.itemsize != stored.element_size():
        raise ExportError(
            f"{tensor!r} is said to be of the number format {name!r}, which is unknown or of another size than the "
            f"stored {_dtype_name(stored)}: copy it again"
        )
    return torch.empty_like(stored, dtype=dtype)
