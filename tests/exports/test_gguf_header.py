import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import ExportError
from alpaca_lora.exports.gguf import write_gguf
from alpaca_lora.exports.gguf_header import check_gguf
from tests.attacks.s06_gguf import FILES, header, pair, tensor


@pytest.fixture(scope="module")
def sound(adapter, tmp_path_factory):
    """A GGUF file as we write it."""
    from alpaca_lora.exports.hf import write_merged
    from alpaca_lora.exports.origin import resolve

    merged, directory = tmp_path_factory.mktemp("merged"), tmp_path_factory.mktemp("gguf")
    write_merged(resolve(adapter), merged, None)
    write_gguf(merged, directory, "f16")
    (path,) = directory.glob("*.gguf")
    return path


def test_what_we_write_passes(sound):
    check_gguf(sound)


@pytest.mark.catalogue(108)
@pytest.mark.parametrize("name", FILES)
def test_a_header_that_lies_is_refused(name, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(FILES[name])
    if name == "bytes at random":  # an empty header before them is true
        check_gguf(path)
        return
    with pytest.raises(ExportError, match=r"x\.gguf' is no GGUF file that can be read \(.+\): export it again"):
        check_gguf(path)


def test_a_small_true_header_passes(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(header(tensors=1, keys=1) + pair(b"a", 4, b"\1\0\0\0") + tensor(b"b", (4,)) + b"\0" * 64)
    check_gguf(path)


def test_a_cut_anywhere_in_the_header_is_found(sound, tmp_path):
    content, path = sound.read_bytes(), tmp_path / "x.gguf"
    for end in range(0, 1200, 7):
        path.write_bytes(content[:end])
        with pytest.raises(ExportError):
            check_gguf(path)


@given(
    place=st.integers(0, 4000),
    junk=st.one_of(st.binary(min_size=1, max_size=8), st.integers(0, 2**64 - 1).map(lambda n: struct.pack("<Q", n))),
)
def test_a_changed_header_is_read_in_bounded_time_or_refused(sound, place, junk, tmp_path_factory):
    content = bytearray(sound.read_bytes()[:8000])
    content[place : place + len(junk)] = junk
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(bytes(content))
    with contextlib.suppress(ExportError):
        check_gguf(path)
