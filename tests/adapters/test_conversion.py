import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file

from alpaca_lora.adapters import inspect_adapter, read_sidecar
from alpaca_lora.adapters.conversion import convert_legacy_adapter, read_legacy_tensors
from alpaca_lora.errors import AdapterError, EmptyAdapterError, UnknownKeysError
from alpaca_lora.evaluation.contamination import find_training_data
from alpaca_lora.prompts import Prompter
from alpaca_lora.records import Record, save_records
from alpaca_lora.serving import load

CONFIG_OF_2023 = {  # as PEFT 0.3 wrote it for alpaca-lora
    "base_model_name_or_path": "decapoda-research/llama-7b-hf",
    "bias": "none",
    "enable_lora": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "lora_alpha": 8,
    "lora_dropout": 0.05,
    "merge_weights": False,
    "modules_to_save": None,
    "peft_type": "LORA",
    "r": 4,
    "task_type": "CAUSAL_LM",
}


@pytest.fixture
def legacy(healthy, tmp_path):
    """The healthy adapter as alpaca-lora of 2023 would have saved it."""
    directory = tmp_path / "old"
    directory.mkdir()
    torch.save(load_file(healthy / "adapter_model.safetensors"), directory / "adapter_model.bin")
    names = json.loads((healthy / "adapter_config.json").read_text())["target_modules"]
    (directory / "adapter_config.json").write_text(json.dumps(CONFIG_OF_2023 | {"target_modules": names}))
    return directory


def test_an_old_adapter_becomes_one_of_today_and_answers_alike(legacy, healthy, tiny_base, tmp_path):
    new = tmp_path / "new"
    convert_legacy_adapter(legacy, new, tiny_base, str(tiny_base), Prompter())
    inspect_adapter(new, tiny_base)
    assert read_sidecar(new).losses == pytest.approx(read_sidecar(healthy).losses, abs=1e-6)
    assert json.loads((new / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_base)
    answers = {load(path).respond("Say red.", max_new_tokens=8) for path in (new, healthy)}
    assert len(answers) == 1


def test_the_training_data_of_an_old_adapter_is_what_its_owner_names(legacy, tiny_base, tmp_path):
    convert_legacy_adapter(legacy, tmp_path / "new", tiny_base, str(tiny_base), Prompter())
    save_records([Record("Say red.", "", "Red.")], tmp_path / "data.jsonl")
    named = find_training_data(tmp_path / "new", tmp_path / "data.jsonl")
    assert [record.instruction for record in named.records] == ["Say red."]


def test_an_empty_one_is_refused_with_its_reason(legacy, tiny_base, tmp_path):
    torch.save({}, legacy / "adapter_model.bin")
    size = (legacy / "adapter_model.bin").stat().st_size
    with pytest.raises(EmptyAdapterError, match=rf"has {size} bytes and holds no tensor.*newer versions of PEFT"):
        convert_legacy_adapter(legacy, tmp_path / "new", tiny_base, str(tiny_base), Prompter())
    assert not (tmp_path / "new").exists()


class Touch:
    """Unpickling it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_hostile_pickle_runs_nothing(legacy, tmp_path, save):
    canary = tmp_path / "canary"
    save({"weight": Touch(canary)}, legacy / "adapter_model.bin")
    with pytest.raises(AdapterError, match="cannot be read as tensors alone"):
        read_legacy_tensors(legacy / "adapter_model.bin")
    assert not canary.exists()
    pickle.loads(pickle.dumps(Touch(canary)))  # the trap is a real one
    assert canary.is_dir()


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x80\x02N."])
def test_a_file_of_another_kind_is_refused(legacy, content):
    (legacy / "adapter_model.bin").write_bytes(content)
    with pytest.raises(AdapterError, match="adapter_model.bin"):
        read_legacy_tensors(legacy / "adapter_model.bin")


def test_something_else_than_named_tensors_is_refused(legacy):
    torch.save({"step": 3}, legacy / "adapter_model.bin")
    with pytest.raises(AdapterError, match="something else than named tensors"):
        read_legacy_tensors(legacy / "adapter_model.bin")


def test_a_lost_configuration_and_another_base_are_named(legacy, tiny_base, tmp_path):
    state = torch.load(legacy / "adapter_model.bin", weights_only=True)
    torch.save(
        {name.replace("layers.0", "layers.7"): value for name, value in state.items()}, legacy / "adapter_model.bin"
    )
    with pytest.raises(UnknownKeysError, match="fit no module"):
        convert_legacy_adapter(legacy, tmp_path / "new", tiny_base, str(tiny_base), Prompter())
    (legacy / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match="has no adapter_config.json"):
        convert_legacy_adapter(legacy, tmp_path / "new", tiny_base, str(tiny_base), Prompter())
    assert os.listdir(tmp_path) == ["old"]
