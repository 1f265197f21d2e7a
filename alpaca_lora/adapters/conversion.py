"""Adapters of 2023 in today's layout.

The original alpaca-lora saved `adapter_model.bin`, a pickle. It is read with PyTorch's restricted reader, which makes
tensors and nothing else. Many of these files are empty: a patch of `state_dict` in the training script met a newer
PEFT, and 443 bytes without a tensor were saved after days of training. That is said, instead of loaded.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from alpaca_lora import _files
from alpaca_lora.adapters.inspection import LEGACY_WEIGHTS
from alpaca_lora.adapters.loading import load_adapter
from alpaca_lora.adapters.probes import probe_losses
from alpaca_lora.adapters.saving import CONFIG, trained_chat_template
from alpaca_lora.adapters.sidecar import WEIGHTS, Sidecar
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import AdapterError, EmptyAdapterError
from alpaca_lora.models import fingerprint, load_base_model, load_tokenizer, stop_ids
from alpaca_lora.prompts import Prompter

__all__ = ["LEGACY_WEIGHTS", "convert_legacy_adapter", "read_legacy_tensors"]

_LONGEST = 256  # tokens, the `cutoff_len` of alpaca-lora


def convert_legacy_adapter(directory: Path, target: Path, base_dir: Path, base_model: str, prompter: Prompter) -> None:
    """Write an adapter that was saved as `adapter_model.bin` as an adapter of today, with a sidecar.

    Args:
        directory: holds `adapter_model.bin` and `adapter_config.json`.
        target: where the new adapter goes.
        base_dir: directory of the base model that it was trained on.
        base_model: name of that base model.
        prompter: renders the prompt that it was trained on; nothing in the old files tells which.

    Raises:
        EmptyAdapterError: the file holds no tensor.
        AdapterError: the file is damaged, holds something else than tensors, or fits another base; see
            `inspect_adapter`.
    """
    tensors = read_legacy_tensors(directory / LEGACY_WEIGHTS)
    if not (directory / CONFIG).is_file():
        raise AdapterError(
            f"{str(directory)!r} has no {CONFIG}, without which rank and alpha are not known: copy it too"
        )
    tokenizer = load_tokenizer(base_dir)
    tokenizer.chat_template = trained_chat_template(tokenizer, prompter)
    with _files.new_directory(target) as staged:
        save_file(tensors, staged / WEIGHTS, metadata={"format": "pt"})
        shutil.copyfile(directory / CONFIG, staged / CONFIG)
        base: Any = load_base_model(base_dir, precision="fp32", device="cpu")
        before = probe_losses(base, tokenizer, prompter)
        after = probe_losses(load_adapter(base, staged, base_dir), tokenizer, prompter)
        config = json.loads((staged / CONFIG).read_text(encoding="utf-8"))
        _files.write_json(staged / CONFIG, config | {"base_model_name_or_path": base_model})
        tokenizer.save_pretrained(staged)
        Sidecar(
            base_model=base_model,
            base_fingerprint=fingerprint(base_dir),
            template=prompter.template.to_dict(),
            template_sha256=prompter.sha256,
            data_sha256="",
            precision="fp32",
            quantization=QuantizationSettings().model_dump(),
            max_length=_LONGEST,
            stop_ids=stop_ids(tokenizer, base),
            base_losses=before,
            losses=after,
            trained={"converted_from": LEGACY_WEIGHTS, "sha256": _files.sha256_of(directory / LEGACY_WEIGHTS)},
        ).write(staged)


def read_legacy_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of an `adapter_model.bin`, whatever it would like to run.

    Raises:
        EmptyAdapterError: it holds no tensor.
        AdapterError: it is damaged, or holds something else than tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive, a hostile pickle and a lost file raise half a dozen kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AdapterError(
            f"{str(path)!r} cannot be read as tensors alone, and nothing else is read from a pickle: {reason}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise AdapterError(f"{str(path)!r} holds something else than named tensors")
    if not state:
        raise EmptyAdapterError(
            f"{str(path)!r} has {path.stat().st_size} bytes and holds no tensor. The training script of alpaca-lora "
            "saves this with newer versions of PEFT: what was trained is not in this file. Look for a checkpoint of "
            "the run with a larger adapter_model.bin or a pytorch_model.bin, or train again"
        )
    return {str(name): tensor.contiguous().clone() for name, tensor in state.items()}
