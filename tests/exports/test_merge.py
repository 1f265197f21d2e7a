import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpaca_lora.adapters import load_adapter
from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import ModelError
from alpaca_lora.exports.hf import load_hf, write_merged
from alpaca_lora.exports.merge import MergedWeights
from alpaca_lora.exports.origin import resolve
from alpaca_lora.models import load_base_model

IDS = torch.tensor([[5, 17, 200, 33, 81, 9, 140, 3, 77, 250, 61, 12]])
BASES = {
    "untied": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"kind": "Qwen2Config"},
    "mistral": {"kind": "MistralConfig", "sliding_window": None},
    "wide heads": {"head_dim": 32},
    "mixture": {"kind": "MixtralConfig", "num_local_experts": 3},
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


@pytest.mark.parametrize("kind", ["MixtralConfig", "OlmoeConfig"])
def test_experts_keep_the_names_that_they_have_in_the_files(make_base, train, tmp_path, kind):
    base_dir = make_base(kind=kind, num_local_experts=3, num_experts=3, num_experts_per_tok=2)
    stored = load_file(base_dir / "model.safetensors")
    assert sum(".experts." in name for name in stored) == 2 * 3 * 3
    save_file(stored | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}, base_dir / "model.safetensors")
    write_merged(resolve(train(base_dir)), tmp_path, None)
    merged = load_file(tmp_path / "model.safetensors")
    assert merged.keys() == stored.keys()
    changed = {name for name in stored if not torch.equal(merged[name], stored[name])}
    assert changed == {name for name in stored if "_proj.weight" in name and ".self_attn." in name}


def test_the_dequantized_base_is_the_one_that_bitsandbytes_computes_with(make_base, train):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    base_dir = make_base(kind="Qwen2Config")
    adapter_dir = train(base_dir, quantization="nf4")
    weights = MergedWeights(resolve(adapter_dir).held("dequantized"))
    held = load_base_model(base_dir, precision="fp32", quantization=QuantizationSettings(method="nf4"), device="cpu")
    four_bits = [name for name, module in held.named_modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(four_bits) == 14
    for name in four_bits:
        weight = held.get_submodule(name).weight
        expected = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
        assert torch.equal(weights.base(f"{name}.weight"), expected)
    stored = load_file(base_dir / "model.safetensors")
    others = stored.keys() - {f"{name}.weight" for name in four_bits}
    assert all(torch.equal(weights.base(name), stored[name]) for name in others)


def test_a_large_model_is_written_in_shards(adapter, tmp_path):
    write_merged(resolve(adapter), tmp_path, None, shard_bytes=60_000)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    sharded = load_hf(tmp_path, torch.float32, tmp_path)
    assert (logits(sharded) - logits(adapted(resolve(adapter).base_dir, adapter))).abs().max() < 1e-5


def test_a_base_with_old_names_is_refused(adapter, base, tmp_path):
    old = shutil.copytree(base, tmp_path / "old")
    weights = load_file(old / "model.safetensors")
    save_file({name.removeprefix("model."): tensor for name, tensor in weights.items()}, old / "model.safetensors")
    foreign = shutil.copytree(adapter, tmp_path / "adapter")
    (foreign / "alpaca_lora.json").unlink()
    with pytest.raises(ModelError, match="has no tensor 'model.layers.0.*save it again"):
        MergedWeights(resolve(foreign, base_model=old, template="alpaca"))


def test_a_full_disk_is_noticed_before_anything_is_written(adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(OSError, match="No space left"):
        write_merged(resolve(adapter), tmp_path, None)
    assert list(tmp_path.iterdir()) == []


PEAK = """
import re, sys
from pathlib import Path
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.origin import resolve

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

origin = resolve(sys.argv[1])
origin.updates
before = peak()
write_merged(origin, Path(sys.argv[2]), None, shard_bytes=int(sys.argv[3]))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak of memory there")
def test_no_more_than_two_shards_are_ever_held(make_base, train, run_python, tmp_path):
    shape = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 12}
    adapter_dir = train(make_base(dtype="bfloat16", **shape))
    shard = 100_000_000
    done = run_python("-c", PEAK, adapter_dir, tmp_path, shard)
    assert done.returncode == 0, done.stderr
    whole = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert int(done.stdout) < 2 * shard + 4 * 1024 * 4096 * 4 < whole
