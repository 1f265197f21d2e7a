import json
import shutil
from pathlib import Path

import pytest

from alpaca_lora.errors import AdapterError, ConfigError, TemplateError, WrongBaseError
from alpaca_lora.serving import Assistant, load


def test_a_run_directory_serves_its_adapter(adapter: Path, assistant: Assistant):
    served = load(adapter.parent, device="cpu")

    assert served.respond("Say hello.", max_new_tokens=8) == assistant.respond("Say hello.", max_new_tokens=8)


def test_an_unfinished_run_says_how_to_finish_it(tmp_path: Path):
    (tmp_path / "run.json").write_text("{}")

    with pytest.raises(AdapterError, match="has no adapter yet: finish it with the command that started it"):
        load(tmp_path)


def test_a_directory_without_an_adapter_is_refused(tmp_path: Path):
    with pytest.raises(AdapterError, match="no adapter at .*missing.*: give a directory with adapter_config.json"):
        load(tmp_path / "missing")


def test_unknown_precision_and_quantization_are_named_together(adapter: Path):
    with pytest.raises(ConfigError) as caught:
        load(adapter, precision="bf32", quantization="int8")  # type: ignore[arg-type]

    assert str(caught.value).splitlines() == [
        "precision must be one of 'bf16', 'fp16', 'fp32', got 'bf32'",
        "quantization must be one of 'none', 'nf4', got 'int8'",
    ]


@pytest.mark.catalogue(59)
def test_another_template_is_refused_with_both_names(adapter: Path):
    with pytest.raises(TemplateError, match=r"was trained with template 'alpaca' .* not 'alpaca_legacy'"):
        load(adapter, template="alpaca_legacy")


def test_another_template_can_be_forced(adapter: Path):
    forced = load(adapter, template="alpaca_legacy", force_template=True, device="cpu")

    assert forced.prompter.template.name == "alpaca_legacy"


def test_the_same_template_under_another_name_is_no_other_template(adapter: Path, tmp_path: Path):
    document = json.loads((adapter / "alpaca_lora.json").read_text())["template"]
    del document["name"]
    copy = tmp_path / "ours.json"
    copy.write_text(json.dumps(document))

    assert load(adapter, template=copy, device="cpu").prompter.template.name == "ours"


def test_an_adapter_of_another_tool_needs_base_and_template(
    foreign_adapter: Path, tiny_base: Path, assistant: Assistant
):
    with pytest.raises(ConfigError, match="its prompt is not known: name the template"):
        load(foreign_adapter, base_model=tiny_base)
    with pytest.raises(AdapterError, match="its base is not known: name the base model"):
        load(foreign_adapter, template="alpaca")

    foreign = load(foreign_adapter, base_model=tiny_base, template="alpaca", precision="fp32", device="cpu")
    assert foreign.respond("Say hello.", max_new_tokens=8) == assistant.respond("Say hello.", max_new_tokens=8)


def test_another_base_of_the_same_shape_is_refused(adapter: Path, tiny_base: Path, tmp_path: Path):
    import torch
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(tiny_base, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, other / "model.safetensors")

    with pytest.raises(WrongBaseError, match="but .*other.* holds other weights"):
        load(adapter, base_model=other)
