import json

import pytest
import torch
from peft import PeftModel

from alpaca_lora.adapters import load_adapter, probe_losses, read_sidecar
from alpaca_lora.adapters.attach import quiet_peft
from alpaca_lora.models import encode_prompt, load_base_model, load_tokenizer
from alpaca_lora.prompts import Prompter


def test_the_directory_holds_exactly_what_its_readers_need(healthy):
    assert {path.name for path in healthy.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "alpaca_lora.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }


@pytest.mark.catalogue(98)
@pytest.mark.parametrize(
    "settings",
    [{}, {"rslora": True}, {"dora": True}, {"init": "pissa"}, {"init": "pissa", "rslora": True}],
    ids=["lora", "rslora", "dora", "pissa", "pissa-rslora"],
)
def test_every_kind_computes_the_same_on_a_fresh_base(trained, tiny_base, settings):
    directory = trained(**settings)
    model = load_adapter(load_base_model(tiny_base, precision="fp32", device="cpu"), directory, tiny_base)
    losses = probe_losses(model, load_tokenizer(directory), Prompter())
    assert losses == pytest.approx(read_sidecar(directory).losses, abs=1e-4)
    assert losses != pytest.approx(read_sidecar(directory).base_losses, abs=1e-3)


def test_stock_peft_reads_the_directory(healthy, tiny_base):
    base = load_base_model(tiny_base, precision="fp32", device="cpu")
    with quiet_peft():
        model = PeftModel.from_pretrained(base, str(healthy))
    losses = probe_losses(model, load_tokenizer(healthy), Prompter())
    assert losses == pytest.approx(read_sidecar(healthy).losses, abs=1e-5)


def test_the_bytes_depend_on_nothing_but_the_training(trained):
    first, second = trained(), trained()
    for name in ("adapter_model.safetensors", "adapter_config.json", "alpaca_lora.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_adapters_are_stored_in_float32(healthy):
    from safetensors.torch import load_file

    assert {tensor.dtype for tensor in load_file(healthy / "adapter_model.safetensors").values()} == {torch.float32}


def test_the_saved_chat_template_gives_the_ids_of_training(healthy):
    tokenizer = load_tokenizer(healthy)
    messages = [{"role": "user", "content": "Name a fruit.", "input": "Begin with P."}]
    chat = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, add_generation_prompt=True)
    assert chat == encode_prompt(tokenizer, Prompter().generate_prompt("Name a fruit.", "Begin with P."))


def test_the_base_is_named_as_the_user_named_it(healthy, tiny_base):
    assert json.loads((healthy / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_base)
