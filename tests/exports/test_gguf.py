"""A merged model as GGUF, opened again by transformers' own reader."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from alpaca_lora.errors import ExportError, ModelError
from alpaca_lora.exports import check_templates
from alpaca_lora.exports.gguf import hf_order, llama_order, unsupported, write_gguf
from alpaca_lora.exports.gguf_reading import find_gguf, load_gguf, read_metadata
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.origin import resolve
from alpaca_lora.models import load_base_model

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SHAPES = {
    "llama": {},
    "llama, tied": {"tie_word_embeddings": True},
    "llama with biases and wide heads": {"attention_bias": True, "mlp_bias": True, "head_dim": 32},
    "llama with llama3 rope": {"rope_parameters": LLAMA3},
    "llama with linear rope": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
    "mistral": {"kind": "MistralConfig", "sliding_window": 512, "head_dim": 24},
    "qwen2": {"kind": "Qwen2Config", "vocab_size": 400},
}


@pytest.fixture(scope="session")
def merge(train, tmp_path_factory):
    """Merge a fresh adapter into a base: `merge(base_dir)` returns the merged directory, in float32."""

    def make(base_dir, **settings):
        directory = tmp_path_factory.mktemp("merged")
        write_merged(resolve(train(base_dir, **settings)), directory, "f32")
        return directory

    return make


@pytest.fixture(scope="session")
def merged(merge, base):
    """The untied Llama with its adapter in it."""
    return merge(base)


@pytest.fixture
def copy(merged, tmp_path):
    """A copy of its weights in memory, and a function that writes a directory with others."""
    tensors = load_file(merged / "model.safetensors")

    def write(changed):
        directory = shutil.copytree(merged, tmp_path / "changed")
        save_file(changed, directory / "model.safetensors")
        return directory

    return tensors, write


def stored(directory):
    """The tensors of a GGUF file by name, as kind and values."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(find_gguf(directory))
    return {
        tensor.name: (tensor.tensor_type.name, torch.tensor(dequantize(tensor.data, tensor.tensor_type)))
        for tensor in reader.tensors
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_reads_back_every_weight_bit_for_bit(shape, make_base, merge, tmp_path):
    base_dir = make_base(**SHAPES[shape])
    source = merge(base_dir)
    write_gguf(source, tmp_path, "f32")
    wanted = load_base_model(source, precision="fp32", device="cpu")
    found = load_gguf(tmp_path, torch.float32, base_dir)
    assert found.state_dict().keys() == wanted.state_dict().keys()
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    ids_BT = torch.arange(2, 98).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(found(ids_BT).logits, wanted(ids_BT).logits)


def test_rows_that_are_turned_together_become_neighbours():
    assert llama_order(torch.arange(8), 1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert llama_order(torch.arange(8).reshape(8, 1), 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("shape", [(24,), (24, 5)])
def test_rows_that_were_turned_can_be_turned_back(shape):
    rows = torch.arange(math.prod(shape)).reshape(shape)
    assert hf_order(llama_order(rows, 2), 2).equal(rows)
    assert not llama_order(llama_order(rows, 2), 2).equal(rows)


@pytest.mark.parametrize(("dtype", "kind"), [("f16", "F16"), ("bf16", "BF16"), ("q8_0", "Q8_0")])
def test_matrices_are_rounded_once_and_vectors_stay_as_they_are(merged, tmp_path, dtype, kind):
    write_gguf(merged, tmp_path, dtype)
    found, wanted = stored(tmp_path), load_file(merged / "model.safetensors")
    assert found["output_norm.weight"][0] == "F32"
    assert torch.equal(found["output_norm.weight"][1], wanted["model.norm.weight"])
    name, values = found["blk.1.ffn_up.weight"]
    expected = wanted["model.layers.1.mlp.up_proj.weight"]
    assert name == kind
    if dtype == "q8_0":
        steps = expected.reshape(-1, 32).abs().amax(-1, keepdim=True) / 127
        scale_in_float16 = 127 * 2**-11
        assert ((values - expected).reshape(-1, 32).abs() <= (0.5 + scale_in_float16) * steps).all()
    else:
        assert torch.equal(values, expected.to(getattr(torch, {"f16": "float16", "bf16": "bfloat16"}[dtype])).float())


def test_a_matrix_with_an_odd_row_stays_in_sixteen_bits(make_base, merge, tmp_path):
    write_gguf(merge(make_base(intermediate_size=72)), tmp_path, "q8_0")
    kinds = {name: kind for name, (kind, _) in stored(tmp_path).items()}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"


def test_the_template_travels_in_the_metadata(merged, tmp_path):
    write_gguf(merged, tmp_path, "f16")
    contract = json.loads((merged / "config.json").read_text())["alpaca_lora"]
    found = read_metadata(
        find_gguf(tmp_path),
        *(f"alpaca_lora.template{end}" for end in ("", "_name", "_sha256")),
        "tokenizer.chat_template",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.bos_token_id",
    )
    assert json.loads(found["alpaca_lora.template"]) == contract["template"]
    assert found["alpaca_lora.template_name"] == "alpaca"
    assert found["alpaca_lora.template_sha256"] == contract["template_sha256"]
    assert found["tokenizer.chat_template"] == (merged / "chat_template.jinja").read_text()
    assert found["tokenizer.ggml.eos_token_id"] == 0
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert "tokenizer.ggml.bos_token_id" not in found


@pytest.mark.parametrize(("options", "length"), [({}, 1024), ({"kind": "MistralConfig", "sliding_window": 512}, 512)])
def test_the_context_ends_where_a_sliding_window_would_begin(make_base, merge, tmp_path, options, length):
    source = merge(make_base(**options))
    write_gguf(source, tmp_path, "f32")
    assert read_metadata(find_gguf(tmp_path), "llama.context_length") == {"llama.context_length": length}


def test_values_beyond_float16_are_refused_by_name(copy, tmp_path):
    tensors, write = copy
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name][0, 0] = 70_000.0
    source = write(tensors)
    with pytest.raises(ModelError, match=rf"'{name}' holds 70000, which is beyond float16: choose bf16 or f32"):
        write_gguf(source, tmp_path, "f16")
    write_gguf(source, tmp_path, "bf16")


def test_a_weight_that_is_not_a_number_is_refused_by_name(copy, tmp_path):
    tensors, write = copy
    tensors["lm_head.weight"][3] = float("nan")
    with pytest.raises(ModelError, match=r"'lm_head\.weight' holds NaN or infinity"):
        write_gguf(write(tensors), tmp_path, "f32")


def test_a_missing_and_a_foreign_tensor_are_named(copy, tmp_path):
    tensors, write = copy
    tensors["model.layers.0.extra"] = tensors.pop("lm_head.weight")
    with pytest.raises(ModelError, match=r"2 tensors do not fit the model, first 'lm_head\.weight', missing"):
        write_gguf(write(tensors), tmp_path, "f32")


@pytest.mark.parametrize(
    ("kind", "options", "fault"),
    [
        ("GPT2Config", {}, r"of type 'gpt2', not of llama, mistral, qwen2"),
        ("LlamaConfig", {"hidden_act": "gelu"}, r"hidden_act is 'gelu', not 'silu'"),
        (
            "Qwen2Config",
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
            r"rope_type is 'linear', not one of default",
        ),
        ("LlamaConfig", {"quantization_config": {"quant_method": "bitsandbytes"}}, "the weights are quantised"),
    ],
)
def test_what_the_writer_cannot_say_is_found_in_the_configuration(kind, options, fault):
    import re

    import transformers

    assert re.search(fault, "; ".join(unsupported(getattr(transformers, kind)(**options))))


def test_the_writer_has_nothing_against_the_models_it_is_made_for(make_base):
    for options in SHAPES.values():
        assert unsupported(AutoConfig.from_pretrained(make_base(**options))) == []


def test_a_model_of_another_kind_needs_llama_cpp(make_base, merge, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    with pytest.raises(ExportError, match=r"convert_hf_to_gguf\.py of llama\.cpp is needed .*hidden_act is 'gelu'"):
        write_gguf(merge(make_base(hidden_act="gelu")), tmp_path, "f16")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:4],
        lambda content: content[:2000],
        lambda content: b"no gguf" * 100,
        lambda content: content[:16] + (2**60).to_bytes(8, "little") + content[24:],
        lambda content: content[: len(content) // 2],
    ],
)
@pytest.mark.catalogue(108)
def test_a_damaged_file_is_no_fault_of_the_check(adapter, merged, tmp_path, damage):
    write_gguf(merged, tmp_path, "f16")
    (tmp_path / "parity.json").write_text('{"format": "gguf"}')
    (file,) = tmp_path.glob("*.gguf")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ExportError, match="is no GGUF file that can be read"):
        list(check_templates(adapter, [tmp_path]))
