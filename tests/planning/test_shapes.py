"""Shapes are what config.json says; the parameters that follow from them are the published ones."""

import json
import re

import pytest

from alpaca_lora.errors import ModelError, ModelNotFoundError
from alpaca_lora.planning import available_shapes, config_of, shape_of
from alpaca_lora.planning.shapes import shape_from

PARAMETERS = {
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "mistral-7b": 7_241_732_096,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "tinyllama-1.1b": 1_100_048_384,
}
"""As the safetensors on the Hub have them."""


@pytest.mark.parametrize("name", available_shapes())
def test_a_named_shape_has_as_many_parameters_as_the_model(name):
    shape = shape_of(name)
    assert shape.linear_parameters + shape.embedding_parameters + shape.small_parameters == PARAMETERS[name]


def test_a_shape_is_the_parameters_that_transformers_makes(tiny_base):
    from safetensors import safe_open

    shape = shape_of(tiny_base)
    with safe_open(tiny_base / "model.safetensors", "pt") as file:
        found = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    assert shape.linear_parameters + shape.embedding_parameters + shape.small_parameters == found
    assert shape.name == str(tiny_base)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": None}, "hidden_size None"),
        ({"num_hidden_layers": 0, "vocab_size": "many"}, "num_hidden_layers 0, vocab_size 'many'"),
        ({"num_experts": 8}, "a mixture of experts"),
        ({"head_dim": "128"}, "head_dim '128'. A plan needs whole numbers from 1 up in hidden_size"),
        ({"head_dim": -128}, "head_dim -128"),
        ({"num_key_value_heads": 0}, "num_key_value_heads 0"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "has quantization_config ('mxfp4')"),
        ({"quantization_config": {"load_in_4bit": True}}, "has quantization_config ('unknown')"),
        (
            {"quantization_config": "gptq"},
            "the config.json of 'mine' has quantization_config ('gptq'), so it is quantised already: give the 16-bit "
            "model that it was made from; config.quantization 'nf4' holds that in 4 bits",
        ),
    ],
)
def test_a_config_that_no_plan_can_be_made_of_is_refused_with_what_is_wrong(change, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        shape_from(config_of("llama-2-7b") | change, "mine")


def test_what_is_null_is_as_good_as_left_out():
    config = config_of("llama-3-8b")
    shape = shape_from(config | {"num_key_value_heads": None, "head_dim": None}, "x")
    assert (shape.key_heads, shape.head_size) == (32, 128)
    assert shape_from(config | {"head_dim": 64}, "x").head_size == 64


def test_a_quantisation_that_is_null_is_none():
    config = config_of("llama-2-7b")
    assert shape_from(config | {"quantization_config": None}, "llama-2-7b") == shape_from(config, "llama-2-7b")


def test_a_file_that_is_no_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        shape_of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(ModelError, match="must hold an object, found list"):
        shape_of(tmp_path)


@pytest.mark.parametrize("name", ["llama-2-70b", "./nowhere", "a/b/c"])
def test_a_model_that_is_not_there_is_refused_with_the_names_that_are(name):
    with pytest.raises(ModelNotFoundError, match="llama-2-7b, llama-3-8b"):
        shape_of(name)


def test_a_hub_id_that_is_not_cached_is_refused_without_network():
    with pytest.raises(ModelNotFoundError, match=r"config.json of 'org/never' .*LocalEntryNotFoundError"):
        shape_of("org/never")
