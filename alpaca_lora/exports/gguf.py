"""A merged model as one GGUF file, for llama.cpp, Ollama and everything else built on it.

The file is written with the `gguf` package, tensor by tensor, for the three families that share a shape: Llama, Mistral
and Qwen2. Two things differ between the sides. llama.cpp turns pairs of neighbouring values of a query or key where
transformers turns the first half against the second, so that for Llama and Mistral the rows of these projections are
reordered. And it has tokenizers of its own, see `gguf_vocabulary`.

Everything that would make the file answer differently is checked before a byte is written. What this writer cannot say
exactly goes to llama.cpp's own converter, if there is one, see `llama_cpp`.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from alpaca_lora import _files
from alpaca_lora._optional import require
from alpaca_lora.errors import ModelError
from alpaca_lora.exports.contract import Contract, read_contract
from alpaca_lora.exports.gguf_vocabulary import read_vocabulary
from alpaca_lora.exports.llama_cpp import convert_model, find_quantiser, quantise_model
from alpaca_lora.exports.weights import WeightFiles
from alpaca_lora.models import load_tokenizer

__all__ = ["ARCHITECTURES", "FILE_TYPES", "hf_order", "llama_heads", "llama_order", "unsupported", "write_gguf"]

FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
"""The number formats written here, and what llama.cpp calls a file of each."""

ARCHITECTURES = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2"}
"""llama.cpp's architecture for each model type of transformers."""

_LARGEST = 65_504
"""Largest float16."""

_TELL_EVERY = 50
"""Weights between two reports of progress."""


@dataclass(frozen=True)
class _Tensor:
    """One tensor on its way into the file."""

    source: str
    files: WeightFiles
    target: str
    shape: tuple[int, ...]
    kind: Any
    heads: int

    def read(self) -> np.ndarray:
        """Return its values in llama.cpp's order and in float32."""
        values = self.files.read(self.source).float()
        if not torch.isfinite(values).all():
            raise ModelError(f"tensor {self.source!r} holds NaN or infinity; take weights from before that")
        if self.kind.name == "F16" and values.abs().max() > _LARGEST:
            raise ModelError(
                f"tensor {self.source!r} holds {float(values.abs().max()):g}, which is beyond float16: choose bf16 or "
                "f32"
            )
        return (llama_order(values, self.heads) if self.heads else values).numpy()


def write_gguf(
    source: Path,
    directory: Path,
    dtype: str,
    *,
    llama_cpp: Path | None = None,
    written: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fill a directory with a model as one GGUF file.

    Args:
        source: a merged model.
        directory: an empty directory.
        dtype: `f32`, `f16`, `bf16` or `q8_0`, or with an installed llama.cpp one of `llama_cpp.QUANTISED`. Vectors stay
            float32, and with `q8_0` matrices whose rows are no multiple of 32 stay float16.
        llama_cpp: where llama.cpp is, for what is not written here; None looks for it.
        written: called from time to time with how many weights are written and how many there are.

    Raises:
        ModelError: the weights or the tokenizer cannot be expressed.
        ExportError: llama.cpp is needed and not there, or failed.
        MissingDependencyError: the package `gguf` is not installed.
    """
    path = directory / f"model-{dtype}.gguf"
    if dtype in FILE_TYPES:
        _write_plain(source, path, dtype, llama_cpp, written)
        return
    find_quantiser(dtype, llama_cpp)
    with _files.scratch_directory(directory) as scratch:
        _write_plain(source, scratch / "model-f16.gguf", "f16", llama_cpp, written)
        quantise_model(scratch / "model-f16.gguf", path, dtype, root=llama_cpp)


def _write_plain(
    source: Path, path: Path, dtype: str, llama_cpp: Path | None, written: Callable[[int, int], None]
) -> None:
    """Write a file in a number format of this writer, by llama.cpp's converter where the model is of another kind."""
    gguf: Any = require("gguf", extra="gguf")
    config = AutoConfig.from_pretrained(source, local_files_only=True)
    if faults := unsupported(config):
        convert_model(source, path, dtype, reason="; ".join(faults), root=llama_cpp)
        return
    contract, tokenizer = read_contract(source), load_tokenizer(source)
    architecture = gguf.MODEL_ARCH[ARCHITECTURES[config.model_type]]
    tensors = list(_plan(source, config, architecture, gguf.GGMLQuantizationType[dtype.upper()]))
    rows = next(tensor.shape[0] for tensor in tensors if tensor.target == "token_embd.weight")
    vocabulary = read_vocabulary(tokenizer, rows, contract.stop_ids)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    try:
        _add_shape(writer, config, rows)
        writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[dtype]])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        vocabulary.add_to(writer)
        _add_template(writer, tokenizer, contract)
        _write_tensors(writer, tensors, _rope_factors(config), written)
    finally:
        writer.close()


def _write_tensors(
    writer: Any, tensors: list[_Tensor], factors: np.ndarray | None, written: Callable[[int, int], None]
) -> None:
    """Write names and shapes of all tensors, then their values one by one."""
    quants: Any = require("gguf.quants", extra="gguf")
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for tensor in tensors:
        stored = quants.quant_shape_to_byte_shape(tensor.shape, tensor.kind)
        writer.add_tensor_info(tensor.target, tensor.shape, np.float32, math.prod(stored), raw_dtype=tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for place, tensor in enumerate(tensors):
        if place and place % _TELL_EVERY == 0:
            written(place, len(tensors))
        writer.write_tensor_data(quants.quantize(tensor.read(), tensor.kind))


def unsupported(config: Any) -> list[str]:
    """Say what in a model's configuration this writer cannot express; nothing where it can write the model."""
    if config.model_type not in ARCHITECTURES:
        return [f"the model is of type {config.model_type!r}, not of {', '.join(ARCHITECTURES)}"]
    rope = config.rope_parameters
    faults = []
    if config.hidden_act != "silu":
        faults.append(f"hidden_act is {config.hidden_act!r}, not 'silu'")
    scaled = ("default", "linear", "llama3") if ARCHITECTURES[config.model_type] == "LLAMA" else ("default",)
    if rope["rope_type"] not in scaled:
        faults.append(f"rope_type is {rope['rope_type']!r}, not one of {', '.join(scaled)}")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        faults.append(f"partial_rotary_factor is {rope['partial_rotary_factor']!r}, not 1")
    if getattr(config, "quantization_config", None):
        faults.append("the weights are quantised; merge into 16 bits first")
    return faults


def llama_order(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Reorder the rows of a query or key projection (or its bias, or a `lora_B` of it) as llama.cpp turns them.

    Within a head, rows i and i + d/2 belong together in transformers; here they become rows 2i and 2i + 1.

    Args:
        rows: (heads · d, …).
        heads: heads of this projection.
    """
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def hf_order(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo `llama_order`."""
    pairs = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)


def _plan(source: Path, config: Any, architecture: Any, kind: Any) -> Iterator[_Tensor]:
    """Yield every tensor of the model in the order of the file.

    Raises:
        ModelError: tensors of the files and of the model are not the same.
    """
    gguf: Any = require("gguf", extra="gguf")
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    with torch.device("meta"):
        expected = AutoModelForCausalLM.from_config(config).state_dict()
    if config.tie_word_embeddings:
        del expected["lm_head.weight"]
    files = WeightFiles(source)
    found = {name for name in files.shapes if not name.endswith("rotary_emb.inv_freq")}
    if config.tie_word_embeddings:
        found.discard("lm_head.weight")
    odd = sorted(expected.keys() ^ found)
    if odd:
        where = "in the files but not in the model" if odd[0] in found else "missing in the files"
        raise ModelError(f"{str(source)!r}: {len(odd)} tensors do not fit the model, first {odd[0]!r}, {where}")
    q8_0, f16, f32 = (gguf.GGMLQuantizationType[name] for name in ("Q8_0", "F16", "F32"))
    for name, tensor in expected.items():
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ModelError(
                f"{str(source)!r}: llama.cpp has no name for tensor {name!r} of a {config.model_type} model"
            )
        chosen = f32 if tensor.ndim == 1 else f16 if kind == q8_0 and tensor.shape[-1] % 32 else kind
        yield _Tensor(name, files, target, tuple(tensor.shape), chosen, llama_heads(config, name))


def llama_heads(config: Any, name: str) -> int:
    """Return by how many heads a tensor is reordered; 0 for one that stays as it is."""
    module = name.split(".")[-2]
    if ARCHITECTURES[config.model_type] != "LLAMA" or module not in ("q_proj", "k_proj"):
        return 0
    return int(config.num_attention_heads if module == "q_proj" else config.num_key_value_heads)


def _rope_factors(config: Any) -> np.ndarray | None:
    """Return by how much each frequency of the rotary embedding is lowered (d/2), None where by nothing."""
    rope = config.rope_parameters
    if rope["rope_type"] == "default":
        return None
    scaled, _ = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, torch.device("cpu"))
    width = 2 * scaled.numel()
    plain = rope["rope_theta"] ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    factors: np.ndarray = (plain / scaled.double()).float().numpy()
    return factors


def _add_shape(writer: Any, config: Any, rows: int) -> None:
    """Add what llama.cpp has to know of the model's shape.

    It knows no sliding window for these models, so the context is no longer than the window, in which there is none.
    """
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    writer.add_type("model")
    writer.add_vocab_size(rows)
    writer.add_context_length(min(config.max_position_embeddings, window or config.max_position_embeddings))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_template(writer: Any, tokenizer: PreTrainedTokenizerBase, contract: Contract) -> None:
    """Add the prompt template: for servers in Jinja, for this library as it is."""
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)
    writer.add_string("alpaca_lora.template_name", contract.template["name"])
    writer.add_string("alpaca_lora.template", json.dumps(contract.template, ensure_ascii=False))
    writer.add_string("alpaca_lora.template_sha256", contract.template_sha256)
