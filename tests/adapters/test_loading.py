import json

import pytest

from alpaca_lora.adapters import find_trained, load_adapter
from alpaca_lora.adapters.loading import prompter_of
from alpaca_lora.errors import AdapterError, ConfigError, MissingKeysError, ModelError
from alpaca_lora.models import load_base_model


def test_the_base_is_found_through_the_sidecar(healthy, tiny_base):
    assert find_trained(healthy).base_dir == tiny_base.resolve()


def test_a_base_that_the_user_names_comes_first(healthy, tiny_base):
    assert find_trained(healthy, base_model=tiny_base).base_dir == tiny_base.resolve()


def test_without_a_sidecar_the_base_must_be_named(adapter):
    (adapter / "alpaca_lora.json").unlink()
    with pytest.raises(AdapterError, match="name the base model yourself"):
        find_trained(adapter, template="alpaca")


def test_a_missing_directory_is_said(tmp_path):
    with pytest.raises(AdapterError, match="no adapter at"):
        find_trained(tmp_path / "nowhere")


def test_a_loaded_adapter_is_for_answering(healthy, tiny_base):
    model = load_adapter(load_base_model(tiny_base, precision="fp32", device="cpu"), healthy, tiny_base)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_broken_adapter_touches_no_model(adapter, tiny_base):
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: tensors[name] for name in sorted(tensors)[:4]}, path)
    base = load_base_model(tiny_base, precision="fp32", device="cpu")
    modules = [type(module) for module in base.modules()]
    with pytest.raises(MissingKeysError):
        load_adapter(base, adapter, tiny_base)
    assert [type(module) for module in base.modules()] == modules


@pytest.mark.catalogue(87)
def test_a_tokenizer_of_another_model_is_refused(adapter, tiny_base):
    path = adapter / "tokenizer.json"
    document = json.loads(path.read_text())
    document["model"]["merges"] = document["model"]["merges"][:5]
    path.write_text(json.dumps(document))
    with pytest.raises(ModelError, match="makes other token ids of ordinary text .* it belongs to another model: copy"):
        find_trained(adapter).tokenizer()


def test_its_own_tokenizer_and_that_of_the_base_are_fine(adapter, tiny_base):
    own = find_trained(adapter).tokenizer()
    (adapter / "tokenizer_config.json").unlink()
    assert find_trained(adapter).tokenizer()("text") == own("text")


def test_a_checkpoint_of_a_run_is_told_from_an_adapter_of_another_tool(adapter):
    with pytest.raises(ConfigError, match="was not made by alpaca-lora"):
        prompter_of(adapter, None, None)
    (adapter / "MANIFEST.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="is a checkpoint, from which its run goes on: give the run directory"):
        prompter_of(adapter, None, None)
