import json

import pytest

from alpaca_lora.adapters import read_sidecar
from alpaca_lora.errors import AdapterError
from alpaca_lora.prompts import Prompter


def test_it_carries_the_whole_template(healthy):
    assert read_sidecar(healthy).prompt_template() == Prompter("alpaca").template


def test_it_survives_the_disk(healthy, tmp_path):
    sidecar = read_sidecar(healthy)
    sidecar.write(tmp_path)
    assert read_sidecar(tmp_path) == sidecar


def test_another_tools_adapter_has_none(tmp_path):
    assert read_sidecar(tmp_path) is None


def test_a_newer_format_says_to_upgrade(adapter):
    path = adapter / "alpaca_lora.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(AdapterError, match="upgrade alpaca-lora"):
        read_sidecar(adapter)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "surprise": 2}'])
def test_a_damaged_one_is_refused(tmp_path, content):
    (tmp_path / "alpaca_lora.json").write_text(content)
    with pytest.raises(AdapterError, match=r"alpaca_lora\.json"):
        read_sidecar(tmp_path)
