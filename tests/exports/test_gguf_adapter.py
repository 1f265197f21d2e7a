"""An adapter as a GGUF file of its own."""

import pytest
import torch

from alpaca_lora.adapters import load_adapter
from alpaca_lora.errors import ExportError
from alpaca_lora.exports.gguf_adapter import load_gguf_adapter, write_gguf_adapter
from alpaca_lora.exports.gguf_reading import find_gguf, read_metadata
from alpaca_lora.models import load_base_model


@pytest.mark.parametrize("options", [{}, {"kind": "Qwen2Config"}, {"kind": "MistralConfig"}], ids=str)
@pytest.mark.parametrize("settings", [{}, {"rslora": True}, {"init": "pissa"}], ids=str)
def test_added_to_the_base_it_is_what_peft_merges(make_base, train, tmp_path, options, settings):
    base_dir = make_base(**options)
    adapter_dir = train(base_dir, **settings)
    write_gguf_adapter(adapter_dir, tmp_path, "f32", base_dir=base_dir)
    base = load_base_model(base_dir, precision="fp32", device="cpu")
    wanted = load_adapter(base, adapter_dir, base_dir).merge_and_unload().state_dict()
    found = load_gguf_adapter(tmp_path, torch.float32, base_dir).state_dict()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)


def test_llama_cpp_is_told_what_it_is(adapter, base, tmp_path):
    import gguf

    write_gguf_adapter(adapter, tmp_path, "f32", base_dir=base)
    path = find_gguf(tmp_path)
    told = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    assert read_metadata(path, *told) == told
    tensors = {tensor.name: tensor.data.shape for tensor in gguf.GGUFReader(path).tensors}
    assert tensors["blk.1.attn_k.weight.lora_a"] == (4, 64)
    assert tensors["blk.1.attn_k.weight.lora_b"] == (32, 4)
    assert len(tensors) == 2 * 2 * 7


def test_dora_has_no_place_in_it(train, base, tmp_path):
    with pytest.raises(
        ExportError, match=r"use_dora is True\. Export the merged model instead: alpaca-lora export gguf"
    ):
        write_gguf_adapter(train(base, dora=True), tmp_path, "f32", base_dir=base)
