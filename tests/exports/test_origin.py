import json
import os
import shutil

import pytest

from alpaca_lora.errors import AdapterError, ConfigError, ModelError, TemplateError, WrongBaseError
from alpaca_lora.exports.contract import find_contract, read_contract
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.origin import Origin, check_output, new_output, resolve


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def copy(adapter, tmp_path):
    """A copy of the adapter, in a run directory."""
    return shutil.copytree(adapter, tmp_path / "run" / "adapter")


def test_a_sidecar_says_everything(adapter, base):
    origin = resolve(adapter)
    assert (origin.base_dir, origin.base_model) == (base, str(base))
    assert (origin.prompter.template.name, origin.into, origin.precision) == ("alpaca", "original", "fp32")
    assert Origin.from_json(json.loads(json.dumps(origin.to_json()))).contract() == origin.contract()


def test_an_unfinished_run_is_refused_unless_told(copy):
    (copy.parent / "run.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"not complete.*--allow-incomplete"):
        resolve(copy.parent)
    assert resolve(copy.parent, allow_incomplete=True).adapter_dir == copy
    (copy.parent / "COMPLETE").touch()
    assert resolve(copy.parent).adapter_dir == copy


@pytest.mark.catalogue(99)
def test_a_base_in_four_bits_is_refused(adapter, base, tmp_path):
    quantised = shutil.copytree(base, tmp_path / "quantised")
    edit(quantised / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ModelError, match=r"is quantised itself \(bitsandbytes\).*name the 16-bit model"):
        resolve(adapter, base_model=quantised)


def test_another_base_is_refused(adapter, make_base):
    with pytest.raises(WrongBaseError, match="holds other weights"):
        resolve(adapter, base_model=make_base(seed=9)).updates  # noqa: B018 - reading it looks at the files


@pytest.mark.catalogue(100)
def test_a_second_merge_is_refused_and_another_adapter_is_not(adapter, train, tmp_path):
    merged = tmp_path / "merged"
    merged.mkdir()
    write_merged(resolve(adapter), merged, None)
    with pytest.raises(AdapterError, match="has this adapter in it already: a second merge would add it twice"):
        resolve(adapter, base_model=merged)
    second = train(merged, rank=2)
    assert resolve(second).updates.modules


def test_an_adapter_of_another_tool_needs_names(copy, base):
    (copy / "alpaca_lora.json").unlink()
    with pytest.raises(ConfigError, match="name the template"):
        resolve(copy, base_model=base)
    with pytest.raises(AdapterError, match="name the base model yourself"):
        resolve(copy, template="alpaca")
    origin = resolve(copy, base_model=base, template="alpaca_short")
    assert (origin.sidecar, origin.precision, origin.contract().stop_ids) == (None, "bf16", (0,))


def test_the_contract_travels_in_the_configuration(adapter, tmp_path):
    write_merged(resolve(adapter), tmp_path, None)
    contract = read_contract(tmp_path)
    assert contract == resolve(adapter).contract()
    assert contract.prompter.sha256 == contract.template_sha256
    edit(
        tmp_path / "config.json",
        alpaca_lora=contract.to_dict()
        | {"template": contract.template | {"prompt_no_input": "{instruction} ### Response:"}},
    )
    with pytest.raises(TemplateError, match="it was edited"):
        read_contract(tmp_path)
    edit(tmp_path / "config.json", alpaca_lora={"template": 3})
    with pytest.raises(ModelError, match="is damaged"):
        read_contract(tmp_path)


def test_a_model_of_another_maker_has_no_contract(base):
    assert find_contract(base) is None
    with pytest.raises(ModelError, match="is no merged model of alpaca-lora"):
        read_contract(base)


def test_every_place_names_the_ids_that_end_an_answer(copy, tmp_path):
    edit(copy / "alpaca_lora.json", stop_ids=[0, 7])
    merged = tmp_path / "merged"
    merged.mkdir()
    write_merged(resolve(copy), merged, None)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((merged / name).read_text())["eos_token_id"] == [0, 7]


def test_without_a_sidecar_the_base_names_the_ids_that_end_an_answer(copy, base, tmp_path):
    (copy / "alpaca_lora.json").unlink()
    several, merged = shutil.copytree(base, tmp_path / "base"), tmp_path / "merged"
    edit(several / "generation_config.json", eos_token_id=[7, 0, 9])
    merged.mkdir()
    write_merged(resolve(copy, base_model=several, template="alpaca"), merged, None)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((merged / name).read_text())["eos_token_id"] == [0, 7, 9]
    (several / "generation_config.json").unlink()
    assert resolve(copy, base_model=several, template="alpaca").contract().stop_ids == (0,)


def test_an_output_directory_must_be_new_or_empty(tmp_path):
    assert check_output(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")  # as /dev/null, which a rename would have taken from everybody
    for path, said in {
        tmp_path: "is not empty",
        tmp_path / "run": "is not empty: give a new directory",
        tmp_path / "file": "it is a file",
        tmp_path / "pipe": "it is a file",
        tmp_path / "a\0b": "embedded null byte",
    }.items():
        with pytest.raises(ConfigError, match=said):
            check_output(path)


def test_what_another_process_wrote_meanwhile_stays(tmp_path):
    path = tmp_path / "output"
    with pytest.raises(ConfigError, match="is not empty"), new_output(path) as staged:  # noqa: PT012
        (staged / "mine").touch()
        path.mkdir()
        (path / "theirs").touch()
    assert [item.name for item in tmp_path.iterdir()] == ["output"]
    assert [item.name for item in path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("value", ["none", ["gptq"], 4])
def test_a_quantisation_that_is_no_object_is_refused_too(adapter, base, tmp_path, value):
    quantised = shutil.copytree(base, tmp_path / "quantised")
    edit(quantised / "config.json", quantization_config=value)
    with pytest.raises(ModelError, match="is quantised itself"):
        resolve(adapter, base_model=quantised)
