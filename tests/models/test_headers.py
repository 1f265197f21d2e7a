import json
import re
import shutil
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import ModelError
from alpaca_lora.models.headers import check_header, check_plausible

SPAN = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def packed(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "x.safetensors"
        path.write_bytes(content)
        return path

    return write


def test_the_shapes_are_those_of_the_library(tiny_base):
    from safetensors import safe_open

    with safe_open(tiny_base / "model.safetensors", framework="pt") as file:
        expected = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert check_header(tiny_base / "model.safetensors") == expected


@pytest.mark.catalogue(95)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "of 0 in the file"),
        (b"\0" * 7, "of 7 in the file"),
        (b"\0" * 8, "not JSON"),
        (packed(b"{}", length=2**63), "9223372036854775808 bytes"),
        (packed(b"{}", length=3), "its header would have 3 bytes"),
        (packed(b"[" * 100_000), "not JSON"),
        (packed(b"PK\x03\x04"), "not JSON"),
        (packed(b"[]"), "must hold an object, found list"),
        (packed({"a": 1}), "gives 'a' no shape"),
        (packed({"a": SPAN | {"shape": [-1]}}), "gives 'a' no shape"),
        (packed({"\x1b[2J": SPAN}), r"a tensor is called '\x1b[2J'"),
        (packed({"x" * 600: SPAN}), "a tensor is called 'xxx"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_header_that_lies_is_refused(write, content, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        check_header(write(content))


def test_a_long_header_is_not_even_read(write):
    path = write(packed(b"{}", length=17 * 2**20))
    with path.open("r+b") as stream:
        stream.truncate(2**30)
    with pytest.raises(ValueError, match="16777216 allowed"):
        check_header(path)


@given(content=st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(packed)), place=st.integers(0, 60))
def test_any_bytes_are_a_header_or_refused(tmp_path_factory, content, place):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    whole = bytearray(packed({"a.weight": SPAN}, b"\0" * 24))
    whole[place : place + len(content)] = content
    for candidate in (content, bytes(whole)):
        path.write_bytes(candidate)
        try:
            shapes = check_header(path)
        except ValueError:
            continue
        assert all(isinstance(size, int) for shape in shapes.values() for size in shape)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**6},
        {"num_labels": 10**6},
        {"text_config": {"vocab_size": 2**40}},
        {"hidden_size": 2**33},
        {"num_experts": 10**4},
        {"shared_expert_intermediate_size": 2**33},
    ],
)
def test_a_configuration_of_another_size_is_refused_by_its_key(tiny_base, tmp_path, changes):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    path = base / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    key = "vocab_size" if "text_config" in changes else min(changes)
    with pytest.raises(ModelError, match=rf"config\.json': {key} is \d+, which the \d+ tensors beside it do not fill"):
        check_plausible(base)


def test_a_sound_base_is_plausible(tiny_base):
    check_plausible(tiny_base)


def test_the_size_of_an_expert_is_not_a_number_of_experts(tiny_base, tmp_path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    path = base / "config.json"
    released = {
        "num_experts": 60,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
    }  # Qwen1.5-MoE
    path.write_text(json.dumps(json.loads(path.read_text()) | released))
    check_plausible(base)
