import contextlib
import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers import logging as transformers_logging

from alpaca_lora.config import QuantizationSettings
from alpaca_lora.errors import MissingDependencyError, ModelError
from alpaca_lora.models import load_base_model
from alpaca_lora.models.loading import quiet

NF4 = QuantizationSettings(method="nf4")
IDS = torch.tensor([[65, 66, 67, 68, 69, 70, 71, 72]])
NO_GRADIENT = "an autograd kernel was not registered"


@pytest.fixture(scope="module")
def wide_base(tmp_path_factory):
    """A base whose layers fill whole blocks of 64 values, as the repacking of bitsandbytes needs."""
    config = LlamaConfig(
        vocab_size=384, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    directory = tmp_path_factory.mktemp("wide-base")
    model.save_pretrained(directory)
    return directory


@pytest.fixture
def quantised(wide_base):
    pytest.importorskip("bitsandbytes", reason="nf4 needs bitsandbytes")
    return load_base_model(wide_base, precision="bf16", quantization=NF4, device="cpu")


def evaluate(model):
    with torch.no_grad():
        model.eval()(input_ids=IDS)
    model.train()


def model_gradient(model):
    """The gradient of all logits with respect to the embedded tokens, where the residual stream carries a part."""
    embedded = model.get_input_embeddings()(IDS).detach().requires_grad_()
    model(inputs_embeds=embedded).logits.float().pow(2).sum().backward()
    return embedded.grad


def layer_gradient(model):
    """The gradient that one linear layer hands on; None if there is none."""
    hidden = torch.ones(1, 8, 64, dtype=torch.bfloat16, requires_grad=True)
    output = model.model.layers[0].mlp.up_proj(hidden)
    if output.requires_grad:
        output.float().sum().backward()
    return hidden.grad


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_every_tensor_has_the_precision_that_was_asked_for(precision, dtype, tiny_base):
    model = load_base_model(tiny_base, precision=precision, device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model.dtype == dtype


def test_a_base_model_is_frozen_and_ready_to_answer(model):
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training
    assert model.config.use_cache
    assert model.device == torch.device("cpu")


def test_the_weights_are_those_of_the_file(model, tiny_base):
    file = load_file(tiny_base / "model.safetensors")
    loaded = model.state_dict()
    assert file.keys() == loaded.keys()
    assert all(torch.equal(file[name], loaded[name]) for name in file)


def test_quantisation_none_is_no_quantisation(model, tiny_base):
    same = load_base_model(tiny_base, precision="fp32", quantization=QuantizationSettings(method="none"), device="cpu")
    assert torch.equal(same(IDS).logits, model(IDS).logits)


def test_nf4_holds_every_linear_layer_but_the_head_in_four_bits(quantised):
    import bitsandbytes

    kinds = {name: type(module) for name, module in quantised.named_modules() if isinstance(module, torch.nn.Linear)}
    assert kinds.pop("lm_head") is torch.nn.Linear
    assert len(kinds) == 2 * 7
    assert set(kinds.values()) == {bitsandbytes.nn.Linear4bit}
    layer = quantised.model.layers[0].mlp.up_proj
    assert (layer.weight.quant_type, layer.compute_dtype) == ("nf4", torch.bfloat16)
    assert layer.weight.quant_state.nested
    assert not any(parameter.requires_grad for parameter in quantised.parameters())
    assert quantised.get_input_embeddings().weight.dtype == torch.bfloat16


@pytest.mark.skipif(sys.platform != "linux", reason="the system's list of mapped files is Linux's")
def test_nf4_leaves_no_file_mapped(quantised, wide_base):
    import safetensors

    maps = Path("/proc/self/maps")
    assert str(wide_base) not in maps.read_text()
    with safetensors.safe_open(wide_base / "model.safetensors", framework="pt") as file:
        kept = file.get_tensor("model.norm.weight")
    assert str(wide_base) in maps.read_text(), "a tensor of a file keeps it mapped"
    del kept


def test_double_quantisation_can_be_left_out(wide_base):
    pytest.importorskip("bitsandbytes", reason="nf4 needs bitsandbytes")
    single = QuantizationSettings(method="nf4", double_quantization=False)
    model = load_base_model(wide_base, precision="bf16", quantization=single, device="cpu")
    assert not model.model.layers[0].mlp.up_proj.weight.quant_state.nested


def test_nf4_computes_nearly_what_bf16_does(quantised, wide_base):
    exact = load_base_model(wide_base, precision="bf16", device="cpu")(IDS).logits.float()
    logits = quantised(IDS).logits.float()
    assert not torch.equal(logits, exact)
    assert torch.nn.functional.cosine_similarity(logits, exact, dim=-1).min() > 0.9


def test_a_gradient_passes_nf4_layers_after_an_evaluation_as_before(quantised):
    before = model_gradient(quantised.train()), layer_gradient(quantised)
    evaluate(quantised)
    after = model_gradient(quantised), layer_gradient(quantised)
    assert (after[1] != 0).any()
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_bitsandbytes_as_it_comes_loses_that_gradient(quantised):
    from bitsandbytes.functional import has_avx512bf16

    if not has_avx512bf16():
        pytest.skip("this processor has no AVX512-BF16, for which bitsandbytes repacks weights")
    before = model_gradient(quantised.train())
    for module in quantised.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = True
    evaluate(quantised)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f".*{NO_GRADIENT}")
        assert layer_gradient(quantised) is None
        after = model_gradient(quantised)
    assert not torch.allclose(after, before, rtol=0.1)


def test_nf4_without_bitsandbytes_names_the_extra(tiny_base, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'alpaca-lora\[quant\]'"):
        load_base_model(tiny_base, precision="bf16", quantization=NF4, device="cpu")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 64, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"]
)
def test_a_file_that_holds_no_weights_is_an_error(content, base):
    (base / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_base_model(base, precision="fp32", device="cpu")
    assert str(caught.value).startswith(f"{str(base)!r} cannot be loaded as a causal language model: ")


@pytest.mark.parametrize("sixteenths", range(16))
def test_a_file_cut_anywhere_is_an_error(sixteenths, base):
    path = base / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * sixteenths // 16])
    with pytest.raises(ModelError):
        load_base_model(base, precision="fp32", device="cpu")


def test_a_weight_that_is_missing_is_never_made_up(base):
    tensors = load_file(base / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"], tensors["model.norm.weight"]
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load_base_model(base, precision="fp32", device="cpu")
    assert "lacks 2 of the model's weights, 'model.layers.1.mlp.up_proj.weight' first" in str(caught.value)


def test_a_head_tied_to_the_embeddings_is_not_missing(tmp_path):
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model = load_base_model(tmp_path, precision="fp32", device="cpu")
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_a_weight_of_another_shape_is_an_error(base):
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(3)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError):
        load_base_model(base, precision="fp32", device="cpu")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"model_type": "nope"},
        {"model_type": "bert"},
        {"model_type": "t5"},
        {"model_type": "llama", "num_attention_heads": 0},
        {"model_type": "llama", "hidden_size": "wide"},
        {"model_type": "llama", "hidden_size": -1},
    ],
)
def test_a_configuration_of_something_else_is_an_error(document, base):
    (base / "config.json").write_text(json.dumps(document))
    with pytest.raises(ModelError):
        load_base_model(base, precision="fp32", device="cpu")


def test_loading_says_nothing_and_puts_the_loudness_back(tiny_base, capfd):
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    load_base_model(tiny_base, precision="fp32", device="cpu")
    assert (*capfd.readouterr(),) == ("", "")
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == (level, bars)


def test_the_loudness_is_put_back_after_a_failure():
    level = transformers_logging.get_verbosity()
    with contextlib.suppress(ZeroDivisionError), quiet():
        assert transformers_logging.get_verbosity() == transformers_logging.ERROR
        assert not transformers_logging.is_progress_bar_enabled()
        raise ZeroDivisionError
    assert transformers_logging.get_verbosity() == level
    assert transformers_logging.is_progress_bar_enabled()
