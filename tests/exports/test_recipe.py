import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpaca_lora import export, merge_adapter, verify
from alpaca_lora._files import sha256_of
from alpaca_lora.errors import ConfigError, EmptyAdapterError, ExportError, MissingDependencyError, ParityError
from alpaca_lora.exports import FORMATS, check_templates, read_contract
from alpaca_lora.exports.origin import resolve
from alpaca_lora.exports.recipe import merged_directory, open_origin, stored_dtype


@pytest.mark.parametrize("format", FORMATS)
def test_a_number_format_that_is_unknown_is_refused(format, adapter, tmp_path):
    with pytest.raises(ConfigError, match=f"dtype must be one of .* for {format}, got 'int3'"):
        export(format, adapter, tmp_path / "out", dtype="int3")


def test_wrong_words_are_refused_before_anything_is_read(adapter, tmp_path):
    with pytest.raises(ConfigError, match="format must be one of 'hf', .* got 'onnx'"):
        export("onnx", tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(ConfigError, match="base must be one of 'original', 'dequantized', 'auto', got '4bit'"):
        merge_adapter(adapter, tmp_path / "out", base="4bit")
    with pytest.raises(ConfigError, match="'dequantized' is for adapters trained on four bits"):
        merge_adapter(adapter, tmp_path / "out", base="dequantized")
    with pytest.raises(ConfigError, match="is not empty"):
        merge_adapter(adapter, adapter)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("format", "setting"),
    [("adapter", {"base": "dequantized"}), ("gguf-adapter", {"llama_cpp": "/opt"}), ("hf", {"llama_cpp": "/opt"})],
)
def test_a_setting_that_a_format_has_no_use_for_is_refused(format, setting, adapter, tmp_path):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} .*is of no use to {format}, which .*: leave it out"):
        export(format, adapter, tmp_path / "out", **setting)


def test_what_writing_needs_is_looked_for_before_anything_is_merged(adapter, tmp_path, monkeypatch):
    monkeypatch.setattr("alpaca_lora.exports.recipe.write_merged", lambda *_, **__: pytest.fail("it was merged"))
    with pytest.raises(ExportError, match=r"llama-quantize of llama.cpp is needed \(only it writes q4_k_m\)"):
        export("gguf", adapter, tmp_path / "out", dtype="q4_k_m", llama_cpp=tmp_path)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingDependencyError, match="gguf is not installed"):
        export("ollama", adapter, tmp_path / "out")


def test_the_usual_number_format_is_that_of_most_weights(make_base):
    assert [stored_dtype(make_base(dtype=name)) for name in ("float32", "bfloat16", "float16")] == [
        "f32",
        "bf16",
        "f16",
    ]


def test_a_format_that_safetensors_lacks_is_merged_in_float32(adapter, tmp_path):
    for dtype, expected in [("q8_0", torch.float32), ("bf16", torch.bfloat16)]:
        with merged_directory(resolve(adapter), dtype, near=tmp_path / "out") as merged:
            kinds = {tensor.dtype for tensor in load_file(merged / "model.safetensors").values()}
        assert kinds == {expected}
        assert not list(tmp_path.iterdir())


def test_a_value_too_large_for_16_bits_is_named(make_base, train, tmp_path):
    base = make_base(seed=3)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = 1e5
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match="'model.norm.weight' holds values that float16 cannot hold: choose bf16 or f32"
    ):
        export("hf", train(base), tmp_path / "out", dtype="f16")
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_2023_is_converted_on_its_way(adapter, base, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    torch.save(load_file(adapter / "adapter_model.safetensors"), old / "adapter_model.bin")
    shutil.copy(adapter / "adapter_config.json", old)
    with open_origin(old, near=tmp_path / "out", base_model=str(base), template="alpaca") as origin:
        assert origin.sidecar.trained["converted_from"] == "adapter_model.bin"
        assert origin.updates.modules == resolve(adapter).updates.modules
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    torch.save({}, old / "adapter_model.bin")
    with pytest.raises(EmptyAdapterError, match="holds no tensor"):
        export("adapter", old, tmp_path / "out")


def test_templates_are_checked_in_artefacts_of_ours_only(adapter, base, tmp_path):
    assert [(finding.surface, finding.fault) for finding in check_templates(adapter)] == [
        ("alpaca_lora.json", None),
        ("tokenizer's chat template", None),
    ]
    with pytest.raises(ExportError, match="was not made by alpaca-lora export"):
        list(check_templates(adapter, [base]))
    (tmp_path / "parity.json").write_text('{"format": "onnx"}')
    with pytest.raises(ExportError, match="names the format 'onnx'"):
        list(check_templates(adapter, [tmp_path]))


@pytest.mark.slow
def test_an_export_is_proved_reported_and_complete(adapter, tmp_path):
    stages = []
    left = tmp_path / f".staging-{'a' * 16}"  # by one that was killed
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    result = export("hf", adapter, tmp_path / "out", progress=stages.append)
    assert result.parity.max_logit_delta < 1e-5
    assert (result.dtype, result.parity.agreement, result.base_kl) == ("f32", 1, {})
    report = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert report["max_logit_delta"] == result.parity.max_logit_delta
    assert report["limits"]["agreement"] == 0.99
    assert report["adapter_sha256"] == sha256_of(adapter / "adapter_model.safetensors")
    assert stages == ["merging", "merged 21 of 21 weights", "comparing with the adapter on its base"]
    assert read_contract(tmp_path / "out").merged_into == "original"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [finding.fault for finding in check_templates(adapter, [tmp_path / "out"])] == [None] * 4

    chat = tmp_path / "out" / "chat_template.jinja"
    chat.write_text(chat.read_text().replace("### Response:\\n", "### Response:"))
    faults = [finding for finding in check_templates(adapter, [tmp_path / "out"]) if finding.fault]
    assert [finding.surface for finding in faults] == ["tokenizer's chat template"]


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
def test_an_artefact_that_fails_the_gate_is_not_kept(adapter, tmp_path, monkeypatch):
    from alpaca_lora.exports.merge import MergedWeights

    true = MergedWeights.merged
    monkeypatch.setattr(
        MergedWeights,
        "merged",
        lambda self, name: (self.base if ".layers.1." in name else lambda n: true(self, n))(name),
    )
    with pytest.raises(ParityError, match="first 'model.layers.1.self_attn.q_proj.weight': it is the base's") as caught:
        export("hf", adapter, tmp_path / "out")
    assert caught.value.code == "not-merged"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
def test_a_mixture_of_experts_is_merged_and_every_expert_compared(make_base, train, tmp_path, monkeypatch):
    from alpaca_lora.exports.merge import MergedWeights

    adapter = train(make_base(kind="MixtralConfig", num_local_experts=3))
    result = export("hf", adapter, tmp_path / "out")
    assert result.parity.max_logit_delta < 1e-5
    assert result.parity.tensors == len(load_file(tmp_path / "out" / "model.safetensors"))

    true, expert = MergedWeights.merged, "model.layers.1.block_sparse_moe.experts.2.w3.weight"
    monkeypatch.setattr(MergedWeights, "merged", lambda self, name: true(self, name) * (1 + (name == expert)))
    with pytest.raises(ParityError, match=f"1 of {result.parity.tensors} weights differ, first '{expert}'"):
        export("hf", adapter, tmp_path / "other")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
def test_an_adapter_as_peft_alone_saves_one_is_exported(adapter, base, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, plain)
    result = export("adapter", plain, tmp_path / "out", base_model=base, template="alpaca")
    assert result.parity.max_logit_delta < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
def test_where_the_bases_own_format_rounds_the_adapter_away_a_finer_one_is_written(make_base, train, tmp_path):
    stages, base = [], make_base(seed=3, dtype="bfloat16", num_hidden_layers=6, initializer_range=0.35)
    adapter = train(base)
    with pytest.raises(ParityError, match="in bf16, .* of the greedy tokens agree and 95% are wanted"):
        merge_adapter(adapter, tmp_path / "named", dtype="bf16")
    result = merge_adapter(adapter, tmp_path / "out", progress=stages.append)
    assert (result.dtype, json.loads((tmp_path / "out" / "config.json").read_text())["dtype"]) == ("f16", "float16")
    assert result.note.startswith("bf16, the base's own format, rounds this adapter away: ")
    assert result.note.endswith("% of the greedy tokens agree and 95% are wanted; written in f16")
    report = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert (report["dtype"], report["note"]) == ("f16", result.note)
    assert "bf16 rounds this adapter away: once more in f16" in stages
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert verify(tmp_path / "out", progress=False).passed


@pytest.mark.slow
@pytest.mark.usefixtures("warm_gates")
def test_a_qlora_adapter_goes_into_the_base_that_is_nearer(make_base, train, tmp_path):
    pytest.importorskip("bitsandbytes")
    base = make_base(seed=4)
    result = merge_adapter(train(base, quantization="nf4"), tmp_path / "out")
    assert result.base_kl["dequantized"] < 1e-6 < result.base_kl["original"]
    assert result.parity.merged_into == read_contract(tmp_path / "out").merged_into == "dequantized"
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["base_kl"] == result.base_kl
