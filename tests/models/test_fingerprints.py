import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from alpaca_lora.errors import ModelError
from alpaca_lora.models import fingerprint


@pytest.fixture(scope="module")
def expected(tiny_base):
    return fingerprint(tiny_base)


@pytest.fixture
def tensors(tiny_base):
    return load_file(tiny_base / "model.safetensors")


def digest(tensors, directory):
    save_file(tensors, directory / "model.safetensors")
    return fingerprint(directory)


def test_a_fingerprint_is_a_digest_that_repeats(tiny_base, base, expected):
    assert re.fullmatch(r"[0-9a-f]{64}", expected)
    assert fingerprint(tiny_base) == fingerprint(base) == expected


def test_a_second_copy_in_its_makers_format_does_not_count_since_a_download_leaves_it_out(base, tensors, expected):
    save_file({"layers.0.attention.wq.weight": tensors["model.norm.weight"]}, base / "consolidated.safetensors")
    assert fingerprint(base) == expected
    (base / "consolidated.safetensors").rename(base / "model-2.safetensors")
    assert fingerprint(base) != expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_same_weights_in_another_precision_are_the_same_model(dtype, tensors, tmp_path, expected):
    assert digest({name: tensor.to(dtype) for name, tensor in tensors.items()}, tmp_path) == expected


def test_fp16_weights_are_the_same_model_after_widening(tensors, tmp_path):
    published = {name: tensor.half() for name, tensor in tensors.items()}
    expected = digest(published, tmp_path)
    for dtype in (torch.bfloat16, torch.float32):
        assert digest({name: tensor.to(dtype) for name, tensor in published.items()}, tmp_path) == expected


def test_shards_are_the_same_model(tiny_base, tmp_path, expected):
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert fingerprint(tmp_path) == expected


def test_a_missing_shard_is_another_model(tiny_base, tmp_path, expected):
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    sorted(tmp_path.glob("*.safetensors"))[0].unlink()
    assert fingerprint(tmp_path) != expected


def test_a_change_of_any_one_tensor_is_another_model(tensors, tmp_path, expected):
    for name in tensors:
        assert digest({**tensors, name: tensors[name] * 1.01}, tmp_path) != expected
    assert digest(tensors, tmp_path) == expected


def test_other_random_weights_of_the_same_shapes_are_another_model(model, tmp_path, expected):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        LlamaForCausalLM(model.config).save_pretrained(tmp_path)
    assert fingerprint(tmp_path) != expected


def test_a_renamed_tensor_is_another_model(tensors, tmp_path, expected):
    tensors["model.final_norm.weight"] = tensors.pop("model.norm.weight")
    assert digest(tensors, tmp_path) != expected


def test_two_tensors_that_change_places_are_another_model(tensors, tmp_path, expected):
    first, second = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.o_proj.weight"
    tensors[first], tensors[second] = tensors[second], tensors[first]
    assert digest(tensors, tmp_path) != expected


def test_another_shape_of_the_same_values_is_another_model(tensors, tmp_path, expected):
    name = "model.layers.0.mlp.up_proj.weight"
    assert digest({**tensors, name: tensors[name].reshape(32, 64)}, tmp_path) != expected


def test_scalars_and_empty_tensors_have_one_too(tmp_path):
    scalar = digest({"scale": torch.tensor(1.0), "none": torch.empty(0, 4)}, tmp_path)
    assert scalar != digest({"scale": torch.tensor(2.0), "none": torch.empty(0, 4)}, tmp_path)


def test_files_that_hold_no_weights_do_not_count(base, expected):
    (base / "config.json").unlink()
    (base / "notes.txt").write_text("a note")
    assert fingerprint(base) == expected


@pytest.mark.parametrize("sixteenths", range(16))
def test_a_file_cut_anywhere_is_an_error_that_names_it(sixteenths, base):
    path = base / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * sixteenths // 16])
    with pytest.raises(ModelError) as caught:
        fingerprint(base)
    assert str(caught.value).startswith(f"{str(path)!r} is damaged or incomplete (")
    assert str(caught.value).endswith("): download it again")


def test_a_damaged_shard_among_whole_ones_is_an_error(base):
    shutil.copy(base / "model.safetensors", base / "other.safetensors")
    (base / "other.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match=r"other\.safetensors' is damaged"):
        fingerprint(base)
