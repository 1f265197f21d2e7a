"""A directory for Ollama."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from alpaca_lora.exports.gguf_reading import gguf_surfaces
from alpaca_lora.exports.hf import write_merged
from alpaca_lora.exports.ollama import create_command, ollama_surfaces, write_ollama
from alpaca_lora.exports.origin import resolve
from alpaca_lora.exports.surfaces import compare_surface


@pytest.fixture(scope="module")
def exported(train, base, tmp_path_factory):
    """An export with the Alpaca template, and what it was made from."""
    origin, directory = resolve(train(base)), tmp_path_factory.mktemp("ollama")
    for name in ("merged", "out"):
        (directory / name).mkdir()
    write_merged(origin, directory / "merged", "f32")
    write_ollama(directory / "merged", directory / "out", "q8_0")
    return origin, directory / "out"


def test_it_holds_the_model_and_the_modelfile(exported):
    _, directory = exported
    assert sorted(path.name for path in directory.iterdir()) == ["Modelfile", "model-q8_0.gguf"]
    text = (directory / "Modelfile").read_text()
    assert "FROM ./model-q8_0.gguf\n" in text
    assert 'PARAMETER stop "<|endoftext|>"\n' in text


def test_every_place_gives_the_ids_of_training(exported):
    origin, directory = exported
    surfaces = ollama_surfaces(directory)
    assert [surface.name for surface in surfaces] == ["Modelfile TEMPLATE", "GGUF metadata", "GGUF chat template"]
    assert [surface.stated_sha256 for surface in surfaces] == [origin.prompter.sha256] * 2 + [None]
    for surface in surfaces:
        assert compare_surface(surface, origin.prompter, origin.tokenizer()) is None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("### Response:\n{{", "### Response:{{", "gives token"),
        ("sha256 2", "sha256 3", "states template 344eb3b04f67, trained was 244eb3b04f67"),
    ],
)
def test_a_changed_byte_of_the_modelfile_is_found(exported, old, new, fault):
    origin, directory = exported
    path = directory / "Modelfile"
    text = path.read_text()
    assert old in text
    try:
        path.write_text(text.replace(old, new))
        assert fault in compare_surface(ollama_surfaces(directory)[0], origin.prompter, origin.tokenizer())
    finally:
        path.write_text(text)
    assert len(gguf_surfaces(directory)) == 2


@pytest.mark.parametrize(
    ("directory", "command"),
    [
        ("/x/My Alpaca!", "ollama create my-alpaca -f '/x/My Alpaca!/Modelfile'"),
        ("out/alpaca-7b.q8", "ollama create alpaca-7b.q8 -f out/alpaca-7b.q8/Modelfile"),
        ("/日本", "ollama create alpaca -f /日本/Modelfile"),
    ],
)
def test_the_command_has_a_name_that_ollama_allows(directory, command):
    assert create_command(Path(directory)).replace("'/日本/Modelfile'", "/日本/Modelfile") == command


@pytest.mark.parametrize(("flag", "fault"), [(True, None), (False, "puts no beginning-of-text token")])
def test_a_beginning_of_text_that_the_file_forgets_is_found(make_base, train, tmp_path, monkeypatch, flag, fault):
    base_dir = make_base()
    fast = Tokenizer.from_file(str(base_dir / "tokenizer.json"))
    fast.post_processor = processors.TemplateProcessing(single="<|pad|> $A", special_tokens=[("<|pad|>", 1)])
    special = {"bos_token": "<|pad|>", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
    PreTrainedTokenizerFast(tokenizer_object=fast, **special).save_pretrained(base_dir)
    origin = resolve(train(base_dir))
    for name in ("merged", "out"):
        (tmp_path / name).mkdir()
    write_merged(origin, tmp_path / "merged", "f32")
    if not flag:
        monkeypatch.setattr("alpaca_lora.exports.gguf_vocabulary.prefix_ids", lambda _: [])
    write_ollama(tmp_path / "merged", tmp_path / "out", "f16")
    surfaces = {surface.name: surface for surface in ollama_surfaces(tmp_path / "out")}
    for name in ("Modelfile TEMPLATE", "GGUF metadata"):
        found = compare_surface(surfaces[name], origin.prompter, origin.tokenizer())
        assert found is None if fault is None else fault in str(found)
    assert compare_surface(surfaces["GGUF chat template"], origin.prompter, origin.tokenizer()) is None
