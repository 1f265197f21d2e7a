import json
import shutil

import pytest

from alpaca_lora.errors import ModelError
from alpaca_lora.models import check_documents, positions_of


@pytest.fixture
def base(tiny_base, tmp_path):
    return shutil.copytree(tiny_base, tmp_path / "base")


def put(path, **changes):
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | changes))


def test_a_sound_directory_passes(base):
    check_documents(base)


def test_code_in_a_nested_configuration_is_found(base):
    put(base / "config.json", vision=[{"text_config": {"auto_map": {"AutoModel": "evil.Model"}}}])
    with pytest.raises(ModelError, match=r"config\.json' names code to run \('auto_map'"):
        check_documents(base)


@pytest.mark.parametrize("name", ["eager", "sdpa", "flash_attention_2"])
def test_an_attention_of_transformers_may_be_named(base, name):
    put(base / "config.json", attn_implementation=name)
    check_documents(base)


def test_an_attention_of_the_hub_may_not(base):
    put(base / "config.json", attn_implementation="evil/kernel")
    with pytest.raises(ModelError, match="names code to run"):
        check_documents(base)


@pytest.mark.parametrize("name", ["config.json", "notes", "tokenizer.model", "chat_template.jinja"])
def test_a_link_out_of_the_directory_is_refused(base, tmp_path, name):
    (tmp_path / "secret").write_text("{}")
    (base / name).unlink(missing_ok=True)
    (base / name).symlink_to("../secret")
    with pytest.raises(ModelError, match=f"{name}' is a link that leads out of its directory: put a copy"):
        check_documents(base)


def test_links_within_the_directory_and_weights_elsewhere_are_fine(base, tmp_path):
    (base / "config.json").rename(base / "real.json")
    (base / "config.json").symlink_to("real.json")
    (base / "model.safetensors").rename(tmp_path / "weights")
    (base / "model.safetensors").symlink_to("../weights")
    check_documents(base)


def test_the_layout_of_the_hubs_cache_is_fine(base, tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    blobs = snapshot.parent.parent / "blobs"
    shutil.move(base, blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    check_documents(snapshot)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "a/b", "C:\\x", "..", "", "missing.safetensors", 5]
)
def test_an_index_names_files_beside_it_only(base, name):
    put(base / "model.safetensors.index.json", weight_map={"model.embed_tokens.weight": name})
    with pytest.raises(ModelError, match="weight_map gives 'model.embed_tokens.weight' the file"):
        check_documents(base)


def test_an_index_of_the_files_that_are_there_passes(base):
    put(base / "model.safetensors.index.json", weight_map={"model.embed_tokens.weight": "model.safetensors"})
    check_documents(base)


def test_an_index_of_pickles_that_were_not_fetched_is_nobodys_business(base):
    put(base / "pytorch_model.bin.index.json", weight_map={"a": "pytorch_model-00001-of-00002.bin"})
    check_documents(base)


@pytest.mark.parametrize("template", ["x" * 70_000, [{"name": "default", "template": "x" * 70_000}]])
def test_a_chat_template_beyond_all_measure_is_refused(base, template):
    put(base / "tokenizer_config.json", chat_template=template)
    with pytest.raises(ModelError, match=r"chat_template is longer than 65536 bytes"):
        check_documents(base)
    put(base / "tokenizer_config.json", chat_template=None)
    (base / "chat_template.jinja").write_text("x" * 70_000)
    with pytest.raises(ModelError, match=r"chat_template\.jinja' has more than 65536 bytes"):
        check_documents(base)


@pytest.mark.parametrize("changes", [{"model_type": "\x1b[2J"}, {"x": {"\x07": 1}}, {"tokenizer_class": "\u202e"}])
def test_a_name_that_would_reach_the_terminal_through_a_warning_is_refused(base, changes):
    put(base / "config.json", **changes)
    with pytest.raises(ModelError, match="holds characters that a terminal would obey"):
        check_documents(base)


@pytest.mark.parametrize(
    ("kind", "options", "positions"),
    [
        ("LlamaConfig", {"max_position_embeddings": 4096}, 4096),
        ("GPT2Config", {"n_positions": 1024}, 1024),
        ("MptConfig", {"max_seq_len": 512}, 512),
        ("BloomConfig", {}, 2048),
    ],
)
def test_the_length_that_a_model_reads_is_found_under_each_of_its_names(kind, options, positions, tmp_path):
    import transformers

    getattr(transformers, kind)(**options).save_pretrained(tmp_path)
    assert positions_of(tmp_path) == positions
