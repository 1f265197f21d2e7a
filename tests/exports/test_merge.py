import pytest
import torch
from safetensors.torch import load_file

from alpaca_lora.adapters import load_adapter
from alpaca_lora.exports.hf import load_hf, write_merged
from alpaca_lora.exports.origin import resolve
from alpaca_lora.models import load_base_model

IDS = torch.tensor([[5, 17, 200, 33, 81, 9, 140, 3, 77, 250, 61, 12]])
BASES = {
    "untied": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"kind": "Qwen2Config"},
    "mistral": {"kind": "MistralConfig", "sliding_window": None},
    "wide heads": {"head_dim": 32},
}
SETTINGS = {"lora": {}, "rslora": {"rslora": True}, "dora": {"dora": True}, "pissa": {"init": "pissa"}}


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def adapted(base_dir, adapter_dir):
    base = load_base_model(base_dir, precision="fp32", device="cpu")
    return load_adapter(base, adapter_dir, base_dir)


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("method", SETTINGS)
def test_merged_weights_compute_what_the_adapter_on_its_base_does(make_base, train, tmp_path, kind, method):
    base_dir = make_base(**BASES[kind])
    adapter_dir = train(base_dir, **SETTINGS[method])
    write_merged(resolve(adapter_dir), tmp_path, "f32")
    expected = logits(adapted(base_dir, adapter_dir))
    assert (logits(load_hf(tmp_path, torch.float32, base_dir)) - expected).abs().max() < 1e-5
    assert (logits(load_base_model(base_dir, precision="fp32", device="cpu")) - expected).abs().max() > 1e-2


def test_the_update_is_the_one_that_peft_computes(base, adapter, tmp_path):
    write_merged(resolve(adapter), tmp_path, None)
    stored, merged = load_file(base / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    layers = {name: module for name, module in adapted(base, adapter).named_modules() if hasattr(module, "lora_A")}
    assert len(layers) == 14
    for name, layer in layers.items():
        weight = f"{name.removeprefix('base_model.model.')}.weight"
        assert torch.equal(merged[weight], stored[weight] + layer.get_delta_weight("default"))
    untouched = stored.keys() - {f"{name.removeprefix('base_model.model.')}.weight" for name in layers}
    assert all(torch.equal(merged[name], stored[name]) for name in untouched)
