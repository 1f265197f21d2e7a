"""Models of a published shape with random weights, written to disk as any other model: speed asks for no more."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from alpaca_lora.models import EMBEDDED, locate_base_model
from alpaca_lora.planning.shapes import config_of

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
QWEN = LLAMA | {"architectures": ["Qwen2ForCausalLM"]}
SHAPES = {"1.1B": "tinyllama-1.1b", "7B": "llama-2-7b"}
"""Short names of what `alpaca_lora.planning` knows by name."""

TINY = config_of("smollm2-135m") | {"num_hidden_layers": 2, "vocab_size": 32000, "max_position_embeddings": 32768}
TINY |= {"hidden_size": 288, "intermediate_size": 768}


def directory_of(shape: str, workshop: Path) -> Path:
    """Return the directory of a model of this shape, written at the first call.

    `135M` is the embedded model, `tiny` one of two narrow layers. All have its tokenizer.
    """
    if shape == "135M":
        return locate_base_model(EMBEDDED)
    directory = workshop / "shapes" / shape
    if not (directory / "model.safetensors.index.json").is_file():
        config = TINY if shape == "tiny" else config_of(SHAPES.get(shape, shape))
        _write((QWEN if config["model_type"] == "qwen2" else LLAMA) | config, directory)
    for file in locate_base_model(EMBEDDED).glob("tokenizer*.json"):
        shutil.copy(file, directory)
    return directory


def _write(config: dict[str, Any], directory: Path) -> None:
    """Write config, weights in a file per layer, and last the index that makes the model complete."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    torch.manual_seed(0)
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    ends = {
        "model.embed_tokens.weight": _random(vocabulary, width),
        "model.norm.weight": torch.ones(width, dtype=torch.bfloat16),
    }
    if not config["tie_word_embeddings"]:
        ends["lm_head.weight"] = _random(vocabulary, width)
    layer = _layer(config)
    files = {"ends.safetensors": ends} | {
        f"layer-{index}.safetensors": {f"model.layers.{index}.{name}": tensor for name, tensor in layer.items()}
        for index in range(config["num_hidden_layers"])
    }
    for name, tensors in files.items():
        save_file(tensors, directory / name, metadata={"format": "pt"})
    weight_map = {tensor: name for name, tensors in files.items() for tensor in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _layer(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of one layer; all layers get the same, which costs no less to compute with."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    narrow = width // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (narrow, width),
        "self_attn.v_proj": (narrow, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    tensors = {f"{name}.weight": _random(*shape) for name, shape in shapes.items()}
    for name in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"{name}.weight"] = torch.ones(width, dtype=torch.bfloat16)
    if config["model_type"] == "qwen2":
        biased = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        tensors |= {f"{name}.bias": _random(shapes[name][0]) for name in biased}
    return tensors


def _random(*shape: int) -> torch.Tensor:
    return (torch.randn(*shape) * 0.02).bfloat16()
