"""An adapter for other programs: a PEFT directory that older versions of PEFT read too.

PEFT writes every field that its own version knows, and an older one refuses a field that it does not know. So only
those are kept that were there from the start, and of the later ones those that say something.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from alpaca_lora import _files
from alpaca_lora.adapters import inspect_adapter, load_adapter
from alpaca_lora.adapters.inspection import read_tensors
from alpaca_lora.adapters.saving import CONFIG
from alpaca_lora.adapters.sidecar import FILE_NAME, WEIGHTS, read_sidecar
from alpaca_lora.exports.surfaces import Surface, chat_surface
from alpaca_lora.exports.weights import DTYPES, cast, load_on_cpu
from alpaca_lora.models import encode_prompt, load_tokenizer
from alpaca_lora.prompts import Prompter

__all__ = ["adapter_surfaces", "load_exported_adapter", "write_adapter"]

_FIRST = (
    "base_model_name_or_path",
    "bias",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "r",
    "revision",
    "target_modules",
    "task_type",
)
"""The fields of a LoRA configuration in PEFT 0.4, the first that reads safetensors."""

_LATER = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "ensure_weight_tying",
    "exclude_modules",
    "kasa_config",
    "lora_bias",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_rslora",
)
"""Later fields that decide which weights an adapter has or what it computes with them."""

_KEPT = ("", ".jinja", ".json", ".md", ".model", ".txt")
"""Endings of files that are copied: tokenizer, templates, sidecar, card, licence."""


def write_adapter(source: Path, directory: Path, dtype: str, *, base_dir: Path) -> None:
    """Write an adapter directory with a configuration that says no more than it must.

    Args:
        source: an adapter directory.
        directory: an empty directory.
        dtype: number format of the matrices.
        base_dir: directory of the base model.

    Raises:
        AdapterError: the adapter cannot be used, see `inspect_adapter`.
    """
    inspect_adapter(source, base_dir)
    document = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    kept = {key: document[key] for key in _FIRST if key in document} | {
        key: document[key] for key in _LATER if document.get(key)
    }
    if isinstance(alpha := kept.get("lora_alpha"), float) and alpha.is_integer():
        kept["lora_alpha"] = int(alpha)
    for item in source.iterdir():  # what else lies there may be a pickle, or a link to anything
        if item.is_file() and item.suffix in _KEPT and item.name != CONFIG:
            shutil.copyfile(item, directory / item.name)
    _files.write_json(directory / CONFIG, kept | {"inference_mode": True})
    tensors = {name: cast(name, tensor, DTYPES[dtype]) for name, tensor in read_tensors(source).items()}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    if sidecar := read_sidecar(directory):
        sidecar.write(directory)  # with the digest of what was written


def load_exported_adapter(directory: Path, dtype: torch.dtype, base_dir: Path) -> Any:
    """Open an adapter on its base, merged by PEFT."""
    model: Any = load_adapter(load_on_cpu(base_dir, dtype), directory, base_dir)
    return model.merge_and_unload()


def adapter_surfaces(directory: Path) -> list[Surface]:
    """Return what an adapter directory offers: the template of its sidecar, its tokenizer's chat template, if any."""
    if not (directory / "tokenizer_config.json").is_file():  # as PEFT alone saves one
        return []
    tokenizer, sidecar = load_tokenizer(directory), read_sidecar(directory)
    chat = chat_surface("tokenizer's chat template", tokenizer)
    if sidecar is None:
        return chat
    prompter = Prompter(sidecar.prompt_template())

    def ids(record: Any) -> list[int]:
        return encode_prompt(tokenizer, prompter.prompt(record))

    return [Surface(FILE_NAME, sidecar.template_sha256, ids), *chat]
