import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpaca_lora.errors import ConfigError, ExportError, ModelError
from alpaca_lora.exports import make_weight_diff, recover_weights

BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}


def write(directory, weights, **files):
    directory.mkdir(exist_ok=True)
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    for name, text in {"config.json": "{}", **files}.items():
        (directory / name).write_text(text)
    return directory


def raw_weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "embed": torch.randn(20, 8, generator=generator),
        "layer": torch.randn(8, 8, generator=generator).bfloat16(),
        "half": torch.randn(8, generator=generator).half(),
        "steps": torch.arange(5),
        "scalar": torch.tensor(0.5),
    }


@pytest.fixture
def pair(tmp_path):
    """A base and a model made from it: NaN with a payload, minus zero, another number format, added rows."""
    raw = raw_weights()
    tuned = {name: tensor.clone() for name, tensor in raw.items()}
    tuned["layer"][0, :3] = torch.tensor([float("nan"), -0.0, float("inf")]).bfloat16()
    tuned["layer"].view(torch.int16)[1, 0] = 0x7F81
    tuned["half"] = tuned["half"].float() * 1.0001
    tuned["embed"] = torch.cat([tuned["embed"], torch.ones(1, 8)])
    tuned["head"] = torch.ones(3, 8)
    tuned["scalar"] += 1e-7
    return write(tmp_path / "tuned", tuned, **{"tokenizer.json": '{"é": 1}', "merges.txt": "é a"}), write(
        tmp_path / "raw", raw
    )


def same_bits(first, second):
    kind = BITS.get(first.dtype)
    return first.dtype == second.dtype and torch.equal(*((t.view(kind) if kind else t) for t in (first, second)))


def test_the_round_trip_is_exact_to_the_bit(pair, tmp_path):
    tuned, raw = pair
    diff = make_weight_diff(tuned, raw, tmp_path / "diff")
    again = recover_weights(diff, raw, tmp_path / "again")
    expected, found = load_file(tuned / "model.safetensors"), load_file(again / "model.safetensors")
    assert expected.keys() == found.keys()
    assert all(same_bits(expected[name], found[name]) for name in expected)
    beside = ("config.json", "merges.txt", "tokenizer.json")
    assert {path.name for path in again.iterdir()} == {"model.safetensors", *beside}
    assert all((again / name).read_bytes() == (tuned / name).read_bytes() for name in beside)


def test_subtracting_floats_would_not_have_been_exact(pair):
    tuned, raw = (load_file(path / "model.safetensors")["scalar"] for path in pair)
    assert torch.tensor(1e8) + (tuned - torch.tensor(1e8)) != tuned
    assert raw != tuned


def test_each_flipped_bit_is_found_and_named(pair, tmp_path):
    tuned, raw = pair
    diff = make_weight_diff(tuned, raw, tmp_path / "diff")
    weights = load_file(diff / "weight_diff.safetensors")
    for name, tensor in weights.items():
        damaged = {key: value.clone() for key, value in weights.items()}
        damaged[name].view(-1).view(torch.uint8)[-1] ^= 1
        save_file(damaged, diff / "weight_diff.safetensors")
        with pytest.raises(ExportError, match=f"'{name}' in .* was damaged"):
            recover_weights(diff, raw, tmp_path / "again")
        assert not (tmp_path / "again").exists(), tensor.shape


def test_another_base_is_named_before_anything_is_written(pair, tmp_path):
    tuned, raw = pair
    diff = make_weight_diff(tuned, raw, tmp_path / "diff")
    other = write(tmp_path / "other", raw_weights(seed=1))
    with pytest.raises(ExportError, match="is not the one that the difference was made with"):
        recover_weights(diff, other, tmp_path / "again")
    write(other, {"embed": torch.zeros(1)})
    with pytest.raises(ExportError, match="is not the one that the difference was made with"):
        recover_weights(diff, other, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_damage_beside_the_weights_is_found(pair, tmp_path):
    tuned, raw = pair
    diff = make_weight_diff(tuned, raw, tmp_path / "diff")
    for change, message in [
        (lambda path: (path / "config.json").write_text("{ }"), "config.json' is missing or was damaged"),
        (lambda path: (path / "tokenizer.json").unlink(), "tokenizer.json' is missing or was damaged"),
        (lambda path: (path / "weight_diff.json").write_text("[]"), "weight_diff.json' cannot be read"),
        (lambda path: (path / "weight_diff.json").unlink(), "weight_diff.json' cannot be read"),
        (lambda path: save_file({"layer": torch.ones(1)}, path / "weight_diff.safetensors"), "is not complete"),
        (lambda path: (path / "weight_diff.safetensors").write_bytes(b"1234"), "damaged or incomplete"),
    ]:
        damaged = shutil.copytree(diff, tmp_path / "damaged")
        change(damaged)
        with pytest.raises((ExportError, ModelError), match=message):
            recover_weights(damaged, raw, tmp_path / "again")
        shutil.rmtree(damaged)


def test_a_manifest_cannot_reach_outside_its_directory(pair, tmp_path):
    tuned, raw = pair
    diff = make_weight_diff(tuned, raw, tmp_path / "diff")
    manifest = json.loads((diff / "weight_diff.json").read_text())
    manifest["files"] = {"../raw/config.json": manifest["files"]["config.json"]}
    (diff / "weight_diff.json").write_text(json.dumps(manifest))
    again = recover_weights(diff, raw, tmp_path / "again")
    assert sorted(path.name for path in again.iterdir()) == ["config.json", "model.safetensors"]
    manifest["tensors"]["layer"]["dtype"] = "load"
    (diff / "weight_diff.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="number format 'load', which is unknown"):
        recover_weights(diff, raw, tmp_path / "other")


@pytest.mark.parametrize("change", [{"dtype": None}, {"dtype": "complex128"}, {"dtype": "int8"}, {"sha256": 5}])
def test_a_manifest_of_wrong_types_is_refused(pair, tmp_path, change):
    tuned, raw = pair
    diff = make_weight_diff(tuned, raw, tmp_path / "diff")
    manifest = json.loads((diff / "weight_diff.json").read_text())
    manifest["tensors"]["layer"] |= change
    (diff / "weight_diff.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="not of the form that this version writes|of another size than the stored"):
        recover_weights(diff, raw, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_models_that_have_nothing_to_differ_in_are_refused(pair, tmp_path):
    tuned, raw = pair
    with pytest.raises(ExportError, match="hold the same weights"):
        make_weight_diff(raw, raw, tmp_path / "diff")
    with pytest.raises(ExportError, match="have no tensor in common"):
        make_weight_diff(tuned, write(tmp_path / "strange", {"x": torch.ones(2)}), tmp_path / "diff")
    assert not (tmp_path / "diff").exists()
    with pytest.raises(ConfigError, match="is not empty"):
        make_weight_diff(tuned, raw, raw)


def test_large_models_are_split_into_files(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("alpaca_lora.exports.weight_diff._SHARD_BYTES", 300)
    tuned, raw = pair
    diff = make_weight_diff(tuned, raw, tmp_path / "diff")
    assert len(list(diff.glob("weight_diff-*.safetensors"))) > 1
    again = recover_weights(diff, raw, tmp_path / "again")
    index = json.loads((again / "model.safetensors.index.json").read_text())
    expected = load_file(tuned / "model.safetensors")
    assert index["weight_map"].keys() == expected.keys()
    for name, file in index["weight_map"].items():
        assert same_bits(load_file(again / file)[name], expected[name])
