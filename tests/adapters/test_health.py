import json

import pytest
from safetensors.torch import load_file, save_file

from alpaca_lora.adapters import check_adapter, health, read_sidecar
from alpaca_lora.errors import AdapterDriftError, AdapterError, UntrainedAdapterError


def test_a_clean_process_repeats_the_losses_of_training(healthy, tiny_base):
    assert check_adapter(healthy, tiny_base) == pytest.approx(read_sidecar(healthy).losses, abs=1e-5)


@pytest.mark.usefixtures("warm_gates")
def test_an_adapter_that_changed_after_training_is_caught(adapter, tiny_base):
    path = adapter / "adapter_model.safetensors"
    save_file({name: tensor * 3 for name, tensor in load_file(path).items()}, path)
    read_sidecar(adapter).write(adapter)  # as if these had been saved
    with pytest.raises(AdapterDriftError, match="training recorded"):
        check_adapter(adapter, tiny_base)


def test_a_loss_that_is_no_number_is_caught_wherever_it_stands(adapter, tiny_base, monkeypatch):
    recorded = read_sidecar(adapter).losses
    monkeypatch.setattr(health, "_losses_in_clean_process", lambda *_: (*recorded[:-1], float("nan")))
    with pytest.raises(AdapterDriftError, match="nan"):
        check_adapter(adapter, tiny_base)


@pytest.mark.usefixtures("warm_gates")
def test_an_adapter_without_effect_is_caught(adapter, tiny_base):
    path = adapter / "adapter_model.safetensors"
    save_file({name: tensor * (0 if ".lora_A." in name else 1) for name, tensor in load_file(path).items()}, path)
    read_sidecar(adapter).write(adapter)
    sidecar = adapter / "alpaca_lora.json"
    document = json.loads(sidecar.read_text())
    document["losses"] = document["base_losses"]
    sidecar.write_text(json.dumps(document))
    with pytest.raises(UntrainedAdapterError, match="exactly like its base"):
        check_adapter(adapter, tiny_base)


def test_without_a_sidecar_there_is_nothing_to_compare_with(adapter, tiny_base):
    (adapter / "alpaca_lora.json").unlink()
    with pytest.raises(AdapterError, match="nothing to compare with"):
        check_adapter(adapter, tiny_base)


def test_what_the_clean_process_says_reaches_the_user(adapter, tiny_base):
    (adapter / "tokenizer.json").write_text("{}")
    with pytest.raises(AdapterError, match="does not open in a clean process: .*tokenizer"):
        check_adapter(adapter, tiny_base)
