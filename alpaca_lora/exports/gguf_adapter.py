"""An adapter as a GGUF file of its own, for `llama-server --lora` beside a GGUF file of its base.

llama.cpp adds alpha / rank · B·A to a matrix, so what else an adapter can be (DoRA, a scale per module, whole modules,
embeddings) has no place in the file and is refused; rank-stabilised LoRA is a matter of alpha.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from alpaca_lora._optional import require
from alpaca_lora.adapters import inspect_adapter, read_sidecar
from alpaca_lora.adapters.inspection import read_tensors
from alpaca_lora.errors import ExportError
from alpaca_lora.exports.gguf import ARCHITECTURES, hf_order, llama_heads, llama_order, unsupported
from alpaca_lora.exports.gguf_reading import find_gguf
from alpaca_lora.exports.weights import load_on_cpu

__all__ = ["load_gguf_adapter", "write_gguf_adapter"]

_FILE = "adapter-f32.gguf"
_PREFIX = "base_model.model."


def write_gguf_adapter(source: Path, directory: Path, dtype: str, *, base_dir: Path) -> None:
    """Fill a directory with an adapter as one GGUF file, its matrices in float32.

    Args:
        source: an adapter directory.
        directory: an empty directory.
        dtype: `f32`.
        base_dir: directory of the base model.

    Raises:
        ExportError: the adapter or its base has something that such a file cannot say.
        AdapterError: the adapter cannot be used, see `inspect_adapter`.
        MissingDependencyError: the package `gguf` is not installed.
    """
    gguf: Any = require("gguf", extra="gguf")
    lora = inspect_adapter(source, base_dir)
    config = AutoConfig.from_pretrained(base_dir, local_files_only=True)
    tensors = read_tensors(source)
    if faults := [*unsupported(config), *_faults(lora, tensors)]:
        raise ExportError(
            f"the adapter in {str(source)!r} cannot be a GGUF file of its own: {'; '.join(faults)}. Export the merged "
            "model instead: alpaca-lora export gguf"
        )
    architecture = gguf.MODEL_ARCH[ARCHITECTURES[config.model_type]]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    writer = gguf.GGUFWriter(directory / _FILE, gguf.MODEL_ARCH_NAMES[architecture])
    try:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", lora.lora_alpha * (math.sqrt(lora.r) if lora.use_rslora else 1.0))
        if sidecar := read_sidecar(source):
            writer.add_string("alpaca_lora.template", json.dumps(sidecar.template, ensure_ascii=False))
            writer.add_string("alpaca_lora.template_sha256", sidecar.template_sha256)
        for name in sorted(tensors):
            module, _, part = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
            target = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
            values = tensors[name].float()
            heads = llama_heads(config, f"{module}.weight") if part == "lora_B" else 0
            values = llama_order(values, heads) if heads else values
            writer.add_tensor(f"{target}.{part.lower()}", values.contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def load_gguf_adapter(directory: Path, dtype: torch.dtype, base_dir: Path) -> Any:
    """Open a base with the adapter of a GGUF file added to its weights, as llama.cpp adds it."""
    gguf: Any = require("gguf", extra="gguf")
    model = load_on_cpu(base_dir, dtype)
    reader = gguf.GGUFReader(find_gguf(directory))
    alpha = float(reader.fields["adapter.lora.alpha"].contents())
    matrices = {tensor.name: torch.from_numpy(np.array(tensor.data)) for tensor in reader.tensors}
    architecture = gguf.MODEL_ARCH[ARCHITECTURES[model.config.model_type]]
    names = gguf.get_tensor_name_map(architecture, model.config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        target = names.get_name(name, try_suffixes=(".weight",))
        if f"{target}.lora_a" in matrices:
            down, up = matrices[f"{target}.lora_a"], matrices[f"{target}.lora_b"]
            if heads := llama_heads(model.config, name):
                up = hf_order(up, heads)
            parameter.data = (parameter.data.float() + alpha / down.shape[0] * (up @ down)).to(dtype)
    return model


def _faults(lora: Any, tensors: dict[str, torch.Tensor]) -> list[str]:
    """Say what in an adapter llama.cpp's kind of file has no place for."""
    faults = [
        f"{name} is {getattr(lora, name)!r}"
        for name in ("use_dora", "lora_bias", "rank_pattern", "alpha_pattern", "modules_to_save")
        if getattr(lora, name)
    ]
    odd = sorted(name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight")))
    return [*faults, *([f"{odd[0]!r} is no pair of matrices"] if odd and not faults else [])]
