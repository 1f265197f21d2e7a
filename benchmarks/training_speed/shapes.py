"""Models of a published shape with random weights, written to disk as any other model: speed asks for no more."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from alpaca_lora.models import EMBEDDED, locate_base_model

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SHAPES: dict[str, dict[str, Any]] = {
    "1.1B": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
    },
    "7B": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
}
"""TinyLlama-1.1B and Llama-2-7B, as their config.json has them."""


def directory_of(shape: str, workshop: Path) -> Path:
    """Return the directory of a model of this shape, written at the first call; `135M` is the embedded model."""
    if shape == "135M":
        return locate_base_model(EMBEDDED)
    directory = workshop / "shapes" / shape
    if not (directory / "model.safetensors.index.json").is_file():
        _write(LLAMA | SHAPES[shape], directory)
    return directory


def _write(config: dict[str, Any], directory: Path) -> None:
    """Write config, weights in a file per layer, and last the index that makes the model complete."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    torch.manual_seed(0)
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    ends = {
        "model.embed_tokens.weight": _random(vocabulary, width),
        "lm_head.weight": _random(vocabulary, width),
        "model.norm.weight": torch.ones(width, dtype=torch.bfloat16),
    }
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
    norms = ("input_layernorm", "post_attention_layernorm")
    return {f"{name}.weight": _random(*shape) for name, shape in shapes.items()} | {
        f"{name}.weight": torch.ones(width, dtype=torch.bfloat16) for name in norms
    }


def _random(*shape: int) -> torch.Tensor:
    return (torch.randn(*shape) * 0.02).bfloat16()
