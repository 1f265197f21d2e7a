import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from alpaca_lora.adapters import inspect_adapter
from alpaca_lora.errors import NonFiniteAdapterError
from alpaca_lora.exports.adapter import adapter_surfaces, load_exported_adapter, write_adapter
from alpaca_lora.exports.surfaces import compare_surface
from alpaca_lora.models import load_tokenizer
from alpaca_lora.prompts import Prompter

PEFT_0_4 = {  # the fields of LoraConfig and its parents in PEFT 0.4.0, which refuses any other
    *("peft_type", "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "r"),
    *("target_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "modules_to_save"),
    *("init_lora_weights", "layers_to_transform", "layers_pattern"),
}


@pytest.fixture
def exported(adapter, base, tmp_path):
    """The adapter as `export adapter` writes it."""
    target = tmp_path / "exported"
    target.mkdir()
    write_adapter(adapter, target, "f32", base_dir=base)
    return target


def test_an_old_version_of_peft_knows_every_field(adapter, exported):
    before = json.loads((adapter / "adapter_config.json").read_text())
    after = json.loads((exported / "adapter_config.json").read_text())
    assert before.keys() - PEFT_0_4
    assert after.keys() <= PEFT_0_4
    assert {key: after[key] for key in ("r", "lora_alpha", "peft_type")} == {
        "r": 4,
        "lora_alpha": 8,
        "peft_type": "LORA",
    }
    assert isinstance(after["lora_alpha"], int)


def test_a_later_field_stays_where_it_says_something(base, train, tmp_path):
    write_adapter(train(base, dora=True, rslora=True), tmp_path, "f32", base_dir=base)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config.keys() - PEFT_0_4 == {"use_dora", "use_rslora"}


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # of PEFT itself
@pytest.mark.parametrize(
    "settings",
    [
        {"exclude_modules": ["model.layers.0.self_attn.q_proj"]},
        {"trainable_token_indices": [3, 5]},
        {"target_parameters": ["mlp.up_proj.weight"]},
    ],
)
def test_fields_that_decide_which_weights_there_are_stay(settings, base, tmp_path):
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM", **settings)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(tmp_path / "given")
    target = tmp_path / "target"
    target.mkdir()
    write_adapter(tmp_path / "given", target, "f32", base_dir=base)
    inspect_adapter(target, base)
    given, written = (json.loads((path / "adapter_config.json").read_text()) for path in (tmp_path / "given", target))
    (name,) = settings
    assert written[name] == given[name]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # of PEFT itself
def test_peft_alone_answers_as_before(adapter, exported, base):
    ids = torch.tensor([[5, 17, 200, 33, 81]])
    with torch.no_grad():
        first, second = (
            PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), directory)(ids).logits
            for directory in (adapter, exported)
        )
        merged = load_exported_adapter(exported, torch.float32, base)(ids).logits
    assert torch.equal(first, second)
    assert (merged - first).abs().max() < 1e-5


def test_what_cannot_be_used_is_not_written(adapter, base, tmp_path):
    from safetensors.torch import save_file

    broken = shutil.copytree(adapter, tmp_path / "broken")
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors[min(tensors)][0, 0] = torch.nan
    save_file(tensors, broken / "adapter_model.safetensors")
    (tmp_path / "out").mkdir()
    with pytest.raises(NonFiniteAdapterError):
        write_adapter(broken, tmp_path / "out", "f32", base_dir=base)
    assert not list((tmp_path / "out").iterdir())


def test_of_other_files_tokenizer_templates_card_and_licence_come_along(adapter, base, tmp_path):
    given, target = shutil.copytree(adapter, tmp_path / "given"), tmp_path / "target"
    (tmp_path / "secret").write_text("of another directory")
    (given / "more.safetensors").symlink_to(tmp_path / "secret")  # weights may lie on another disk
    for name in ("optimizer.pt", "README.md", "LICENSE", "merges.txt"):
        (given / name).write_text("x")
    target.mkdir()
    write_adapter(given, target, "f32", base_dir=base)
    kept = {path.name for path in target.iterdir()}
    assert kept == {path.name for path in adapter.iterdir()} | {"README.md", "LICENSE", "merges.txt"}


def test_matrices_in_16_bits_are_widened_without_a_change(adapter, base, exported, tmp_path):
    from safetensors.torch import save_file

    half = shutil.copytree(adapter, tmp_path / "half")
    tensors = {name: tensor.half() for name, tensor in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(tensors, half / "adapter_model.safetensors")
    (half / "alpaca_lora.json").unlink()  # it knows the bytes
    target = tmp_path / "wide"
    target.mkdir()
    write_adapter(half, target, "f32", base_dir=base)
    wide = load_file(target / "adapter_model.safetensors")
    assert all(torch.equal(wide[name], tensor.float()) for name, tensor in tensors.items())


def test_both_places_of_the_prompt_give_the_ids_of_training(exported):
    found = adapter_surfaces(exported)
    assert [surface.name for surface in found] == ["alpaca_lora.json", "tokenizer's chat template"]
    assert [compare_surface(surface, Prompter(), load_tokenizer(exported)) for surface in found] == [None, None]
    (exported / "alpaca_lora.json").unlink()
    assert [surface.name for surface in adapter_surfaces(exported)] == ["tokenizer's chat template"]
    for path in exported.glob("*token*"):
        path.unlink()
    assert adapter_surfaces(exported) == []
