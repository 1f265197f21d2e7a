import json

import pytest

from alpaca_lora.adapters import load_adapter, locate_base_of
from alpaca_lora.adapters.loading import tokenizer_of
from alpaca_lora.errors import AdapterError, MissingKeysError, ModelError
from alpaca_lora.models import load_base_model


def test_the_base_is_found_through_the_sidecar(healthy, tiny_base):
    assert locate_base_of(healthy, None) == tiny_base.resolve()


def test_a_base_that_the_user_names_comes_first(healthy, tiny_base):
    assert locate_base_of(healthy, str(tiny_base)) == tiny_base.resolve()


def test_without_a_sidecar_the_base_must_be_named(adapter):
    (adapter / "alpaca_lora.json").unlink()
    with pytest.raises(AdapterError, match="name the base model yourself"):
        locate_base_of(adapter, None)


def test_a_missing_directory_is_said(tmp_path):
    with pytest.raises(AdapterError, match="no adapter at"):
        locate_base_of(tmp_path / "nowhere", None)


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
        tokenizer_of(adapter, tiny_base)


def test_its_own_tokenizer_and_that_of_the_base_are_fine(adapter, tiny_base):
    own = tokenizer_of(adapter, tiny_base)
    (adapter / "tokenizer_config.json").unlink()
    assert tokenizer_of(adapter, tiny_base)("text") == own("text")
