import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpaca_lora.adapters import inspect_adapter
from alpaca_lora.errors import (
    AdapterError,
    EmptyAdapterError,
    MissingKeysError,
    ModelError,
    NonFiniteAdapterError,
    UnknownKeysError,
    UntrainedAdapterError,
    WrongBaseError,
)

WEIGHTS = "adapter_model.safetensors"
Tensors = dict[str, torch.Tensor]


def rewrite(adapter: Path, change: Callable[[Tensors], Tensors]) -> None:
    save_file(change(load_file(adapter / WEIGHTS)), adapter / WEIGHTS)


def zeroed(tensors: Tensors) -> Tensors:
    return {name: tensor * (0 if ".lora_B." in name else 1) for name, tensor in tensors.items()}


def one_zeroed(tensors: Tensors) -> Tensors:
    name = next(name for name in tensors if ".lora_B." in name)
    return tensors | {name: tensors[name] * 0}


def with_nan(tensors: Tensors) -> Tensors:
    name = min(tensors)
    damaged = tensors[name].clone()
    damaged[0, 0] = float("nan")
    return tensors | {name: damaged}


def renamed(tensors: Tensors) -> Tensors:
    return {name.replace("layers.", "blocks."): tensor for name, tensor in tensors.items()}


def halved(tensors: Tensors) -> Tensors:
    return {name: tensors[name] for name in sorted(tensors)[::2]}


def wider(tensors: Tensors) -> Tensors:
    name = min(tensors)
    return tensors | {name: torch.cat([tensors[name], tensors[name]])}


def test_a_healthy_adapter_passes(healthy, tiny_base):
    config = inspect_adapter(healthy, tiny_base)
    assert config.r == 4
    assert config.lora_alpha == 8


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (lambda _: {}, EmptyAdapterError, "holds no tensor"),
        (zeroed, UntrainedAdapterError, "14 of 14 lora_B are all zero"),
        (one_zeroed, UntrainedAdapterError, "1 of 14 lora_B are all zero"),
        (with_nan, NonFiniteAdapterError, "1 tensors hold NaN or infinity, first 'base_model"),
        (renamed, UnknownKeysError, "28 of 28 tensors fit no module"),
        (halved, MissingKeysError, "14 of 28 tensors are missing"),
        (wider, UnknownKeysError, "another shape than the base needs"),
    ],
)
@pytest.mark.catalogue(90, 96)
def test_each_damage_has_its_own_error(adapter, tiny_base, damage, error, said):
    rewrite(adapter, damage)
    with pytest.raises(AdapterError, match=said) as caught:
        inspect_adapter(adapter, tiny_base)
    assert type(caught.value) is error


@pytest.fixture
def other_base(tiny_base, tmp_path) -> Path:
    """Other weights of the very same shape."""
    directory = Path(shutil.copytree(tiny_base, tmp_path / "other"))
    weights = load_file(directory / "model.safetensors")
    save_file({name: tensor + 0.01 for name, tensor in weights.items()}, directory / "model.safetensors")
    return directory


@pytest.mark.catalogue(88)
def test_another_base_of_the_same_shape_is_refused(adapter, other_base):
    with pytest.raises(WrongBaseError, match="holds other weights"):
        inspect_adapter(adapter, other_base)


def test_the_six_faults_are_six_classes():
    faults = {
        EmptyAdapterError,
        UntrainedAdapterError,
        NonFiniteAdapterError,
        UnknownKeysError,
        MissingKeysError,
        WrongBaseError,
    }
    assert len(faults) == 6
    assert all(issubclass(fault, AdapterError) for fault in faults)


@pytest.mark.catalogue(89)
def test_an_adapter_of_a_deeper_model_is_refused(adapter, tiny_base):
    rewrite(
        adapter, lambda tensors: tensors | {n.replace("layers.0", "layers.9"): t.clone() for n, t in tensors.items()}
    )
    with pytest.raises(UnknownKeysError, match=r"layers\.9"):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "NOPE"}, "peft_type must be 'LORA', found 'NOPE'"),
        ({"peft_type": None}, "peft_type must be 'LORA', found None"),
        ({"r": 10**6}, "r must be an integer from 1 to 2048, found 1000000"),
        ({"r": "8"}, "r must be an integer from 1 to 2048, found '8'"),
        ({"lora_alpha": 1e9}, "lora_alpha must be above 0"),
        ({"target_modules": "([a-z._0-9]+)+!"}, "target_modules must be a list of at most 2000 plain module names"),
        ({"auto_mapping": {"parent_library": "os"}}, "auto_mapping names code to run"),
        ({"exclude_modules": "(a+)+!"}, "exclude_modules must be a list of at most 2000 plain module names"),
        ({"target_modules": ["x"] * 2001}, "target_modules must be a list of at most 2000 plain module names"),
        ({"modules_to_save": ["(a+)+!"]}, "modules_to_save must be a list of at most 2000 plain module names"),
        ({"layers_pattern": "(a+)+!"}, "layers_pattern must be a list of at most 2000 plain module names"),
        ({"rank_pattern": {"(a+)+!": 4}}, "rank_pattern must be an object of numbers by plain module names"),
        ({"rank_pattern": {"q_proj": 10**6}}, "rank_pattern must be an object of numbers by plain module names"),
        ({"lora_dropout": 2}, "lora_dropout must be from 0 to 1, found 2"),
        ({"init_lora_weights": "pissa_niter_1000000"}, "init_lora_weights must be true, false or the name of a start"),
        (
            {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}},
            "init_lora_weights 'loftq' changed the weig",
        ),
        ({"init_lora_weights": "corda"}, "init_lora_weights 'corda' changed the weights of the base before"),
        ({"layer_replication": [[0, 2]]}, "layer_replication makes of it something else"),
        ({"base_model_name_or_path": "x" * 2**22}, "more than 4194304 bytes"),
    ],
)
@pytest.mark.catalogue(92)
def test_a_hostile_config_is_refused_by_field(adapter, tiny_base, change, said):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(adapter, tiny_base)
    assert said in str(caught.value)


def test_all_faults_of_a_config_come_at_once(adapter, tiny_base):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 0, "lora_alpha": -1}))
    with pytest.raises(AdapterError, match=r"r must be .*; lora_alpha must be"):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.parametrize("content", ["[]", '"text"', "not json", ""])
@pytest.mark.catalogue(92)
def test_a_config_that_is_no_object_is_refused(adapter, tiny_base, content):
    (adapter / "adapter_config.json").write_text(content)
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.catalogue(95)
def test_a_truncated_file_is_refused(adapter, tiny_base):
    content = (adapter / WEIGHTS).read_bytes()
    (adapter / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(AdapterError, match="damaged or incomplete"):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.catalogue(95)
def test_an_lfs_pointer_is_recognised(adapter, tiny_base):
    (adapter / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(AdapterError, match="git lfs pull"):
        inspect_adapter(adapter, tiny_base)


def test_the_pickled_adapter_of_2023_is_named(tmp_path, tiny_base):
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(AdapterError, match=r"adapter_model\.bin of 2023"):
        inspect_adapter(tmp_path, tiny_base)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"r": True}, "r must be an integer"),
        ({"rank_pattern": None}, "rank_pattern must be an object of numbers"),
        ({"alpha_pattern": {"q_proj": "x"}}, "alpha_pattern must be an object of numbers"),
        ({"bias": 5}, "PEFT cannot use this adapter_config.json"),
        ({"layers_to_transform": "x"}, "PEFT cannot use this adapter_config.json"),
    ],
)
def test_a_config_of_wrong_types_is_no_fault_of_ours(adapter, tiny_base, change, said):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AdapterError, match=said):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.parametrize("name", ["adapter_config.json", "alpaca_lora.json"])
def test_a_document_nested_without_end_is_refused(adapter, tiny_base, name):
    (adapter / name).write_text("[" * 200_000)
    with pytest.raises(AdapterError, match=name):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.parametrize("config", [{}, {"model_type": "nothing"}, {"model_type": ["llama"]}, {"vocab_size": -1}])
def test_a_base_that_describes_no_model_is_refused(adapter, tiny_base, tmp_path, config):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    whole = json.loads((base / "config.json").read_text()) if "vocab_size" in config else {}
    (base / "config.json").write_text(json.dumps(whole | config))
    with pytest.raises(ModelError, match="describes no model that transformers can build"):
        inspect_adapter(adapter, base)


@pytest.mark.catalogue(91)
def test_a_rank_that_the_tensors_do_not_have_is_refused(adapter, tiny_base):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 8}))
    with pytest.raises(UnknownKeysError, match=r"another shape than the base needs.*\(4, \d+\) instead of \(8, \d+\)"):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.catalogue(93)
def test_a_key_of_a_newer_peft_is_named(adapter, tiny_base, caplog):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of_tomorrow": "x", "empty_tomorrow": None}))
    inspect_adapter(adapter, tiny_base)
    assert "PEFT here does not know ['of_tomorrow']" in caplog.text


@pytest.mark.catalogue(94)
def test_a_pickled_adapter_is_refused_with_the_command_that_converts_it(adapter, tiny_base):
    (adapter / WEIGHTS).rename(adapter / "adapter_model.bin")
    with pytest.raises(
        AdapterError, match=r"is a pickle, which can run code .* run  alpaca-lora export adapter --adapter"
    ):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.catalogue(97)
def test_a_flipped_bit_is_found(adapter, tiny_base):
    content = bytearray((adapter / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (adapter / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(AdapterError, match=r"has changed since it was written .*: copy the adapter again"):
        inspect_adapter(adapter, tiny_base)


@pytest.mark.catalogue(97)
def test_without_a_digest_a_flipped_bit_cannot_be_found(adapter, tiny_base):
    (adapter / "alpaca_lora.json").unlink()
    content = bytearray((adapter / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (adapter / WEIGHTS).write_bytes(bytes(content))
    inspect_adapter(adapter, tiny_base)
