"""A merged model as transformers keeps one: weights, configuration, tokenizer with chat template, generation config."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alpaca_lora import _files
from alpaca_lora.adapters import trained_chat_template
from alpaca_lora.exports.contract import CONTRACT_KEY, Contract
from alpaca_lora.exports.merge import MergedWeights, write_merged_weights
from alpaca_lora.exports.origin import Origin
from alpaca_lora.exports.weights import DTYPES, SHARD_BYTES, load_on_cpu

__all__ = ["load_hf", "write_merged"]

_DROPPED = ("_name_or_path", "_from_model_config", "torch_dtype")


def write_merged(
    origin: Origin,
    directory: Path,
    dtype: str | None,
    *,
    shard_bytes: int = SHARD_BYTES,
    written: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fill a directory with the merged model.

    Every place that can name the ids that end an answer names all of them, and the chat template renders the prompt of
    training, so that a server which looks in one place only answers and stops as here.

    Args:
        origin: adapter, base and prompt.
        directory: an empty directory.
        dtype: f32, f16 or bf16; None keeps each weight in the base's own format.
        shard_bytes: where a new file of weights begins.
        written: see `write_shards`.
    """
    write_merged_weights(MergedWeights(origin), directory, dtype, shard_bytes=shard_bytes, written=written)
    contract = origin.contract()
    _files.write_json(directory / "config.json", _config(origin.base_dir, contract, dtype))
    _files.write_json(directory / "generation_config.json", _generation_config(origin.base_dir, contract))
    tokenizer = origin.tokenizer()
    tokenizer.chat_template = trained_chat_template(tokenizer, origin.prompter)
    tokenizer.save_pretrained(directory)
    if (origin.base_dir / "tokenizer.model").is_file():
        shutil.copyfile(origin.base_dir / "tokenizer.model", directory / "tokenizer.model")


def load_hf(directory: Path, dtype: torch.dtype, base_dir: Path) -> Any:
    """Open a merged directory as a causal language model."""
    return load_on_cpu(directory, dtype)


def _config(base_dir: Path, contract: Contract, dtype: str | None) -> dict[str, Any]:
    document = _read(base_dir / "config.json")
    if dtype or "torch_dtype" in document:
        known = document.get("dtype") or document.get("torch_dtype")
        document["dtype"] = str(DTYPES[dtype]).removeprefix("torch.") if dtype else known
    return _kept(document) | {"eos_token_id": _ids(contract), CONTRACT_KEY: contract.to_dict()}


def _generation_config(base_dir: Path, contract: Contract) -> dict[str, Any]:
    path = base_dir / "generation_config.json"
    document = _read(path) if path.is_file() else {}
    return _kept(document) | {"eos_token_id": _ids(contract)}


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is private or names the base, and a null `quantization_config`, on which other tools stumble."""
    empty = {key for key in ("quantization_config",) if document.get(key) is None}
    return {key: value for key, value in document.items() if key not in (*_DROPPED, *empty)}


def _ids(contract: Contract) -> int | list[int]:
    return list(contract.stop_ids) if len(contract.stop_ids) > 1 else contract.stop_ids[0]


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
