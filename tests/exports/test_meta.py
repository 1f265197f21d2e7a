"""Meta's layout is read here by a second implementation, written after Meta's own and not after the exporter."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from alpaca_lora.errors import ExportError
from alpaca_lora.exports.hf import load_hf, write_merged
from alpaca_lora.exports.meta import read_meta, write_meta
from alpaca_lora.exports.origin import resolve

IDS = [5, 17, 200, 33, 81, 9, 140, 3, 77, 250, 61, 12]
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_theta": 5e5,
}


def meta_logits(params, weights):
    """Meta's forward pass: rotary embedding of neighbouring pairs as complex numbers."""
    dim, heads, kv_heads = params["dim"], params["n_heads"], params["n_kv_heads"]
    size, length = dim // heads, len(IDS)
    frequencies = 1.0 / params["rope_theta"] ** (torch.arange(0, size, 2).float() / size)
    turns = torch.polar(torch.ones(length, size // 2), torch.outer(torch.arange(length).float(), frequencies))

    def norm(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + params["norm_eps"]) * weights[name]

    def rotate(x):
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns[:, None]).flatten(2)

    x = weights["tok_embeddings.weight"][IDS]
    for layer in range(params["n_layers"]):
        w = {name.removeprefix(f"layers.{layer}."): value for name, value in weights.items()}
        y = norm(x, f"layers.{layer}.attention_norm.weight")
        q = rotate((y @ w["attention.wq.weight"].T).view(length, heads, size))
        k = rotate((y @ w["attention.wk.weight"].T).view(length, kv_heads, size))
        v = (y @ w["attention.wv.weight"].T).view(length, kv_heads, size)
        k, v = (part.repeat_interleave(heads // kv_heads, dim=1) for part in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / size**0.5
        scores += torch.full((length, length), -torch.inf).triu(1)
        x = x + torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(length, dim) @ w["attention.wo.weight"].T
        y = norm(x, f"layers.{layer}.ffn_norm.weight")
        gate = functional.silu(y @ w["feed_forward.w1.weight"].T) * (y @ w["feed_forward.w3.weight"].T)
        x = x + gate @ w["feed_forward.w2.weight"].T
    return norm(x, "norm.weight") @ weights["output.weight"].T


@pytest.fixture
def merged(make_base, train, tmp_path):
    """Merge an adapter of a Llama with these options."""

    def make(**options):
        directory = tmp_path / "merged"
        directory.mkdir()
        write_merged(resolve(train(make_base(**options))), directory, options.get("as", "f32"))
        return directory

    return make


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 4},
        {"tie_word_embeddings": True},
        {"intermediate_size": 170},
        {"intermediate_size": 171},
        {"intermediate_size": 256},
    ],
    ids=str,
)
def test_metas_forward_pass_computes_what_transformers_does(merged, tmp_path, options):
    source, target = merged(**options), tmp_path / "meta"
    target.mkdir()
    write_meta(source, target, "f32")
    params = json.loads((target / "params.json").read_text())
    found = meta_logits(params, torch.load(target / "consolidated.00.pth", weights_only=True))
    with torch.no_grad():
        expected = load_hf(source, torch.float32, source)(torch.tensor([IDS])).logits[0]
    assert (found - expected).abs().max() < 1e-5

    hidden = int(2 * 4 * params["dim"] / 3)  # as FeedForward of Meta's Llama sizes itself
    hidden = int(params.get("ffn_dim_multiplier", 1) * hidden)
    hidden = params["multiple_of"] * ((hidden + params["multiple_of"] - 1) // params["multiple_of"])
    assert hidden == options.get("intermediate_size", 96)


@pytest.mark.parametrize("tied", [True, False])
def test_it_goes_back_bit_for_bit(merged, tmp_path, tied):
    source, target = merged(tie_word_embeddings=tied, rope_parameters=LLAMA3_ROPE), tmp_path / "meta"
    target.mkdir()
    write_meta(source, target, "f32")
    config, state = read_meta(target)
    stored = load_file(source / "model.safetensors")
    assert state.keys() - stored.keys() == ({"lm_head.weight"} if tied else set())
    assert all(torch.equal(state[name], tensor) for name, tensor in stored.items())
    assert (config.tie_word_embeddings, config.num_key_value_heads) == (tied, 2)
    assert config.rope_parameters == LLAMA3_ROPE


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "Qwen2Config"}, "its architecture is 'qwen2'"),
        ({"attention_bias": True}, "it has biases"),
        ({"head_dim": 32}, "its heads do not add up"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "its RoPE is scaled as"),
    ],
)
def test_what_metas_llama_does_not_know_is_refused(make_base, tmp_path, options, reason):
    with pytest.raises(ExportError, match=f"plain Llama models only.*{reason}"):
        write_meta(make_base(**options), tmp_path, "f32")


@pytest.mark.parametrize("content", [{"output.weight": print}, {"x": torch.ones(1)}, {}, torch.ones(1)])
def test_a_file_that_holds_no_llama_is_refused(tmp_path, content):
    (tmp_path / "params.json").write_text('{"n_layers": 1}')
    torch.save(content, tmp_path / "consolidated.00.pth")
    with pytest.raises(ExportError, match="no Llama in Meta's layout"):
        read_meta(tmp_path)
