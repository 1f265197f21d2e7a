"""Meta's own layout of Llama: `consolidated.00.pth` and `params.json`.

Names differ, and so do the rows of the query and key projections: transformers rotates the two halves of a head, Meta
neighbouring pairs. Keys of grouped-query attention have fewer heads than queries, and are reordered with their own
number.

Source: https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py, and transformers'
`convert_llama_weights_to_hf.py` for the order of the rows.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from alpaca_lora import _files
from alpaca_lora.errors import ExportError
from alpaca_lora.exports.gguf import hf_order, llama_order
from alpaca_lora.exports.surfaces import Surface
from alpaca_lora.exports.weights import DTYPES, WeightFiles
from alpaca_lora.models.loading import quiet

__all__ = ["PARAMS", "WEIGHTS", "load_meta", "meta_surfaces", "read_meta", "write_meta"]

WEIGHTS = "consolidated.00.pth"
PARAMS = "params.json"

_OUTER = {
    "model.embed_tokens.weight": "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "output.weight",
}
_INNER = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_MULTIPLES = (256, 1024, 4096, 128, 64, 32, 16, 8, 4, 2, 1)


def write_meta(merged: Path, directory: Path, dtype: str) -> None:
    """Write a merged Llama as Meta keeps one.

    Args:
        merged: a merged model directory.
        directory: an empty directory.
        dtype: f32, f16 or bf16, in which it was merged.

    Raises:
        ExportError: the model has something that Meta's Llama does not: another architecture, biases, heads of another
            size, other RoPE scaling.
    """
    config = AutoConfig.from_pretrained(merged, local_files_only=True)
    params = _params(config)
    files = WeightFiles(merged)
    state: dict[str, torch.Tensor] = {}
    for name in files.shapes:
        tensor = files.read(name).to(DTYPES[dtype])
        state[_meta_name(name)] = _reorder(name, tensor, params, to_meta=True)
    state.setdefault("output.weight", state["tok_embeddings.weight"])
    torch.save(state, directory / WEIGHTS)
    _files.write_json(directory / PARAMS, params)
    if (merged / "tokenizer.model").is_file():
        shutil.copyfile(merged / "tokenizer.model", directory / "tokenizer.model")


def read_meta(directory: Path) -> tuple[LlamaConfig, dict[str, torch.Tensor]]:
    """Return configuration and weights of a directory in Meta's layout, in transformers' terms.

    Raises:
        ExportError: the files are missing or hold something else than tensors.
    """
    try:
        params = json.loads((directory / PARAMS).read_text(encoding="utf-8"))
        stored = torch.load(directory / WEIGHTS, map_location="cpu", weights_only=True, mmap=True)
        names = {_meta_name(name): name for name in _hf_names(params["n_layers"])}
        state = {names[name]: _reorder(names[name], tensor, params, to_meta=False) for name, tensor in stored.items()}
        tied = stored["output.weight"].data_ptr() == stored["tok_embeddings.weight"].data_ptr()
        return _config(params, stored, tied=tied), state
    except Exception as error:  # torch names no class for a file that is no archive of tensors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExportError(f"{str(directory)!r} holds no Llama in Meta's layout ({reason})") from error


def load_meta(directory: Path, dtype: torch.dtype, base_dir: Path) -> Any:
    """Open a directory in Meta's layout as a causal language model, from its two files alone."""
    config, state = read_meta(directory)
    with quiet():
        return LlamaForCausalLM.from_pretrained(None, config=config, state_dict=state, dtype=dtype)


def meta_surfaces(directory: Path) -> list[Surface]:
    """Return nothing: Meta's layout has no place for a prompt."""
    return []


def _params(config: Any) -> dict[str, Any]:
    """Return `params.json` of a configuration, or say what it has that Meta's Llama has not."""
    dim, heads = config.hidden_size, config.num_attention_heads
    rope = dict(config.rope_parameters)
    theta = rope.pop("rope_theta")
    faults = [
        text
        for wrong, text in (
            (config.model_type != "llama", f"its architecture is {config.model_type!r}"),
            (getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False), "it has biases"),
            (
                (getattr(config, "head_dim", None) or dim // heads) * heads != dim,
                "its heads do not add up to its hidden size",
            ),
            (rope not in ({"rope_type": "default"}, _LLAMA3_ROPE), f"its RoPE is scaled as {rope}"),
        )
        if wrong
    ]
    if faults:
        raise ExportError(f"Meta's layout holds plain Llama models only, and {'; '.join(faults)}: export hf or gguf")
    multiple, multiplier = _feed_forward(dim, config.intermediate_size)
    params = {
        "dim": dim,
        "n_layers": config.num_hidden_layers,
        "n_heads": heads,
        "n_kv_heads": config.num_key_value_heads,
        "vocab_size": config.vocab_size,
        "multiple_of": multiple,
        "ffn_dim_multiplier": multiplier,
        "norm_eps": config.rms_norm_eps,
        "rope_theta": theta,
        "use_scaled_rope": rope == _LLAMA3_ROPE,
    }
    return {key: value for key, value in params.items() if value is not None}


def _feed_forward(dim: int, intermediate: int) -> tuple[int, float | None]:
    """Return the two numbers from which Meta's code computes the size of the feed-forward layer."""
    for multiple in _MULTIPLES:
        if _intermediate(dim, multiple, None) == intermediate:
            return multiple, None
    return 1, (intermediate + 0.5) / int(8 * dim / 3)


def _intermediate(dim: int, multiple: int, multiplier: float | None) -> int:
    """Compute the size of the feed-forward layer as Meta's code does."""
    hidden = int(8 * dim / 3)
    if multiplier is not None:
        hidden = int(multiplier * hidden)
    return multiple * ((hidden + multiple - 1) // multiple)


def _config(params: dict[str, Any], stored: dict[str, torch.Tensor], *, tied: bool) -> LlamaConfig:
    rope = dict(_LLAMA3_ROPE) if params.get("use_scaled_rope") else {"rope_type": "default"}
    return LlamaConfig(
        hidden_size=params["dim"],
        num_hidden_layers=params["n_layers"],
        num_attention_heads=params["n_heads"],
        num_key_value_heads=params.get("n_kv_heads", params["n_heads"]),
        vocab_size=stored["tok_embeddings.weight"].shape[0],
        intermediate_size=_intermediate(params["dim"], params["multiple_of"], params.get("ffn_dim_multiplier")),
        rms_norm_eps=params["norm_eps"],
        rope_parameters=rope | {"rope_theta": params.get("rope_theta", 10_000.0)},
        tie_word_embeddings=tied,
    )


def _reorder(name: str, tensor: torch.Tensor, params: dict[str, Any], *, to_meta: bool) -> torch.Tensor:
    """Return a projection with its rows in the other order; every other tensor as it is."""
    heads = {"q_proj": params["n_heads"], "k_proj": params.get("n_kv_heads", params["n_heads"])}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return tensor
    return (llama_order if to_meta else hf_order)(tensor, count)


def _meta_name(name: str) -> str:
    """Return Meta's name of a weight that transformers calls `name`."""
    if name in _OUTER:
        return _OUTER[name]
    _, _, layer, *middle, last = name.split(".")
    return f"layers.{layer}.{_INNER['.'.join(middle)]}.{last}"


def _hf_names(layers: int) -> list[str]:
    return [*_OUTER, *(f"model.layers.{layer}.{name}.weight" for layer in range(layers) for name in _INNER)]
