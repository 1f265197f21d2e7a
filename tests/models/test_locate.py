import json
import shutil
import socket
from pathlib import Path

import pytest
from huggingface_hub import _snapshot_download, file_download

from alpaca_lora.errors import ModelError, ModelNotFoundError
from alpaca_lora.models import load_base_model, load_tokenizer, locate_base_model

CODE_KEYS = ["auto_map", "custom_pipelines", "_attn_implementation_internal", "_attn_implementation", "kernel_config"]
CONFIGS = ["config.json", "tokenizer_config.json", "generation_config.json"]


def set_key(path: Path, key: str, value: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every address that a test connects to or looks up."""
    seen: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: seen.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: seen.append(address) or [])
    return seen


def test_a_local_directory_is_its_own_location(tiny_base):
    assert locate_base_model(str(tiny_base)) == locate_base_model(tiny_base) == tiny_base.resolve()


def test_a_relative_directory_becomes_absolute(base, monkeypatch):
    monkeypatch.chdir(base.parent)
    assert locate_base_model("base") == locate_base_model("./base") == base.resolve()


def test_a_tilde_is_the_home_directory(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base.parent))
    assert locate_base_model("~/base") == base.resolve()


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "./nothing",
        "../nothing",
        "/no/such/model",
        "~/nothing",
        "~nobody-here/model",
        "a/b/c",
        "a\\b",
        "x" * 300,
    ],
)
def test_what_looks_like_a_path_never_goes_to_the_hub(name, tmp_path, monkeypatch, connections):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError) as caught:
        locate_base_model(name)
    assert str(caught.value).startswith(f"no base model at {name!r}: give a directory with config.json")
    assert "a Hub id like 'org/name', or 'smollm2-135m'" in str(caught.value)
    assert connections == []


def test_a_file_is_no_base_model(tiny_base):
    with pytest.raises(ModelNotFoundError, match=r"^no base model at "):
        locate_base_model(tiny_base / "model.safetensors")


@pytest.mark.parametrize("name", ["some-org/no-such-model", "some-org/no-such-model@main", "some org/model"])
@pytest.mark.catalogue(107)
def test_a_hub_id_that_cannot_be_had_gives_one_error_with_the_usual_fixes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError) as caught:
        locate_base_model(name)
    message = str(caught.value)
    assert message.startswith(f"cannot get base model {name!r} from the Hub (")
    for fix in ("Check the spelling", "accept its terms and set HF_TOKEN", "give the path of a local directory"):
        assert fix in message
    assert "\n" not in message


def test_a_directory_wins_over_a_hub_id_of_the_same_name(base, tmp_path, monkeypatch, connections):
    (tmp_path / "some-org").mkdir()
    base.rename(tmp_path / "some-org" / "model")
    monkeypatch.chdir(tmp_path)
    assert locate_base_model("some-org/model") == (tmp_path / "some-org" / "model").resolve()
    assert connections == []


def test_a_directory_without_a_config_is_no_base_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"is no base model: config\.json is missing$"):
        locate_base_model(tmp_path)


def test_an_adapter_is_no_base_model(base):
    (base / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an adapter, not a base model: give the model that it was trained on"):
        locate_base_model(base)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt", "model.pkl"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(name, base):
    (base / "model.safetensors").rename(base / name)
    with pytest.raises(ModelError) as caught:
        locate_base_model(base)
    assert f"holds only {name}, which can run code when opened: weights must be *.safetensors" in str(caught.value)
    assert "call save_pretrained(directory)" in str(caught.value)


def test_pickles_beside_safetensors_are_not_opened(base):
    (base / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert load_base_model(locate_base_model(base), precision="fp32", device="cpu").config.model_type == "llama"


def test_a_directory_without_weights_says_so(base):
    (base / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights: weights must be"):
        locate_base_model(base)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("key", CODE_KEYS)
def test_a_configuration_that_names_code_is_refused_with_file_and_key(name, key, base):
    set_key(base / name, key, "evil-org/evil--module.Model")
    with pytest.raises(ModelError) as caught:
        locate_base_model(base)
    message = str(caught.value)
    assert message.startswith(f"{str(base / name)!r} names code to run ({key!r}: 'evil-org/evil--module.Model')")
    assert "which is never run here: use a model whose architecture is part of transformers" in message


@pytest.mark.parametrize("name", CONFIGS)
def test_without_such_a_key_the_same_file_is_fine(name, base):
    set_key(base / name, "auto_map", None)
    assert locate_base_model(base) == base.resolve()


def test_code_beside_the_weights_is_never_run(base, tmp_path):
    (base / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'x')")
    set_key(base / "config.json", "auto_map", {"AutoModelForCausalLM": "modeling_evil.Model"})
    set_key(base / "tokenizer_config.json", "auto_map", {"AutoTokenizer": ["modeling_evil.Tokenizer", None]})
    load_base_model(base, precision="fp32", device="cpu")
    with pytest.raises(ModelError, match="names code to run"):
        load_tokenizer(base)
    assert not (tmp_path / "ran").exists()


GEMMA3 = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": {"model_type": "gemma3_text", "hidden_size": 32, "vocab_size": 384},
    "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 32},
}


def test_a_model_that_also_sees_is_refused_with_what_is_supported(base):
    (base / "config.json").write_text(json.dumps(GEMMA3))
    with pytest.raises(ModelError) as caught:
        locate_base_model(base)
    assert str(caught.value) == (
        f"{str(base.resolve())!r} is a multimodal model ('gemma3': its config.json has a text_config); only text "
        "decoders are supported: give a text-only model of the family"
    )
    (base / "config.json").write_text(json.dumps(GEMMA3["text_config"]))
    assert locate_base_model(base) == base.resolve()


FOUR_BITS = {"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (GEMMA3, "'some-org/model' is a multimodal model"),
        (FOUR_BITS, r"the config.json of 'some-org/model' has quantization_config \('bitsandbytes'\)"),
    ],
)
def test_of_a_model_on_the_hub_that_is_refused_nothing_but_its_config_is_fetched(config, said, tmp_path, monkeypatch):
    commit, cache = "0" * 40, tmp_path / "models--some-org--model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "snapshots" / commit).mkdir(parents=True)
    (cache / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    for client in (file_download, _snapshot_download):
        monkeypatch.setattr(client.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=f"^{said}"):
        locate_base_model("some-org/model", unquantised=True)


def test_a_quantised_model_may_be_asked_and_is_refused_where_the_settings_say_how_a_base_is_held(base):
    set_key(base / "config.json", "quantization_config", FOUR_BITS["quantization_config"])
    assert locate_base_model(base) == base.resolve()
    with pytest.raises(ModelError, match="give the 16-bit model that it was made from; config.quantization 'nf4'"):
        locate_base_model(base, unquantised=True)
    set_key(base / "config.json", "quantization_config", None)
    assert locate_base_model(base, unquantised=True) == base.resolve()


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON: "), ("[]", "must hold an object, found list"), ("\xff", "is not JSON: ")],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_damaged_configuration_is_named(name, content, message, base):
    (base / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError) as caught:
        locate_base_model(base)
    assert str(base / name) in str(caught.value)
    assert message in str(caught.value)


def test_a_directory_without_optional_configurations_is_fine(tiny_base, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_base / name, tmp_path)
    assert locate_base_model(tmp_path) == tmp_path.resolve()
