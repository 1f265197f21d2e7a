"""A GGUF file opened again by transformers, and the places in it from which servers take the prompt."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaConfig

from alpaca_lora._optional import require
from alpaca_lora.errors import ExportError
from alpaca_lora.exports.gguf_header import check_gguf
from alpaca_lora.exports.surfaces import Surface, chat_surface
from alpaca_lora.models import encode_prompt
from alpaca_lora.models.loading import quiet
from alpaca_lora.prompts import Prompter, Template

__all__ = ["find_gguf", "gguf_surfaces", "load_gguf", "load_gguf_tokenizer", "read_metadata"]


def find_gguf(directory: Path) -> Path:
    """Return the one GGUF file of a directory.

    Raises:
        ExportError: there is none, more than one, or its header cannot be true.
    """
    found = sorted(directory.glob("*.gguf"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ExportError(f"{str(directory)!r} must hold one *.gguf, found {names}")
    check_gguf(found[0])
    return found[0]


def load_gguf(directory: Path, dtype: torch.dtype, base_dir: Path) -> Any:
    """Open the GGUF file of a directory as a causal language model on the CPU.

    The shape comes from the base's configuration, since transformers reads neither biases nor a scaled rotary embedding
    out of a file. A Mistral is opened as the Llama that it is but for its window.
    """
    config = AutoConfig.from_pretrained(base_dir, local_files_only=True)
    if config.model_type == "mistral":
        shared = LlamaConfig().to_dict().keys() - {"architectures", "model_type", "transformers_version"}
        config = LlamaConfig(**{key: value for key, value in config.to_dict().items() if key in shared})
    with quiet():
        return AutoModelForCausalLM.from_pretrained(
            directory,
            gguf_file=find_gguf(directory).name,
            config=config,
            quantization_config=GgufConfig(dequantize=True),
            dtype=dtype,
        )


def load_gguf_tokenizer(directory: Path) -> Any:
    """Return the tokenizer that the GGUF file of a directory describes."""
    with quiet():
        return AutoTokenizer.from_pretrained(directory, gguf_file=find_gguf(directory).name)


def read_metadata(path: Path, *keys: str) -> dict[str, Any]:
    """Return these keys of a GGUF file's metadata, as far as they are there."""
    fields = require("gguf", extra="gguf").GGUFReader(path).fields
    return {key: fields[key].contents() for key in keys if key in fields}


def gguf_surfaces(directory: Path) -> list[Surface]:
    """Return what a GGUF file offers: the template in its metadata, and the chat template for servers."""
    stated = read_metadata(find_gguf(directory), "alpaca_lora.template", "alpaca_lora.template_sha256")
    tokenizer = load_gguf_tokenizer(directory)
    surfaces = chat_surface("GGUF chat template", tokenizer)
    if "alpaca_lora.template" in stated:
        document = json.loads(stated["alpaca_lora.template"])
        prompter = Prompter(Template.from_dict(document, document["name"]))
        surfaces.insert(
            0,
            Surface(
                "GGUF metadata",
                stated.get("alpaca_lora.template_sha256"),
                lambda record: encode_prompt(tokenizer, prompter.prompt(record)),
            ),
        )
    return surfaces
