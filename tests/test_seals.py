import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora._seals import SEAL, break_seal, list_files, read_seal, seal, seal_faults
from alpaca_lora.errors import RunError


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sealed")
    for name, text in {"a.json": "{}", "deep/er/ü b.txt": "text", "empty": "", "checkpoint-2/x": "state"}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    (directory / ".lock").touch()
    seal(directory)
    return directory


@pytest.fixture
def copy(sealed, tmp_path):
    return shutil.copytree(sealed, tmp_path / "copy")


def faults(directory):
    return list(seal_faults(directory, read_seal(directory)))


def test_what_was_sealed_has_no_fault_and_hidden_files_are_left_out(sealed):
    assert faults(sealed) == []
    assert list(read_seal(sealed)) == ["a.json", "checkpoint-2/x", "deep/er/ü b.txt", "empty"]


def test_coreutils_read_it(sealed):
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum")
    done = subprocess.run(["sha256sum", "--check", "--strict", SEAL], cwd=sealed, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.count(": OK")) == (0, "", 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: (it / "a.json").write_text("{ }"), "a.json has changed since it was written"),
        (lambda it: (it / "empty").write_text("x"), "empty has changed since it was written"),
        (lambda it: (it / "deep/er/ü b.txt").unlink(), "deep/er/ü b.txt is missing"),
        (lambda it: (it / "deep/other").touch(), "deep/other was added"),
        (lambda it: (it / "checkpoint-2/x").unlink(), "checkpoint-2/x is missing"),
    ],
)
def test_a_change_is_named(copy, change, said):
    change(copy)
    assert faults(copy) == [said]


def test_a_whole_checkpoint_may_be_deleted(copy):
    shutil.rmtree(copy / "checkpoint-2")
    assert faults(copy) == []


@given(data=st.data())
def test_no_byte_of_the_seal_can_be_changed(sealed, tmp_path_factory, data):
    text = (sealed / SEAL).read_bytes()
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + bytes([text[place] ^ data.draw(st.integers(1, 255))]) + text[place + 1 :]
    directory = tmp_path_factory.mktemp("changed")
    (directory / SEAL).write_bytes(changed)
    with pytest.raises(RunError, match="SHA256SUMS is not as it was written"):
        read_seal(directory)


@pytest.mark.parametrize("kept", [0, 1, 66, -1])
def test_a_seal_that_was_cut_vouches_for_nothing(copy, kept):
    text = (copy / SEAL).read_bytes()
    (copy / SEAL).write_bytes(text[:kept])
    with pytest.raises(RunError, match="SHA256SUMS is not as it was written"):
        read_seal(copy)


def test_links_and_pipes_are_refused_and_not_followed(copy, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (copy / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match="link is a link"):
        list_files(copy)
    (copy / "link").unlink()
    (copy / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(RunError, match="elsewhere is a link"):
        list_files(copy)
    (copy / "elsewhere").unlink()
    os.mkfifo(copy / "pipe")
    with pytest.raises(RunError, match="pipe is a device, pipe or socket"):
        list_files(copy)


def test_a_link_is_no_reason_not_to_seal(copy, tmp_path):
    (copy / "latest").symlink_to("checkpoint-2")
    seal(copy)
    assert "latest" not in read_seal(copy)


def test_a_seal_that_is_broken_is_gone(copy):
    break_seal(copy)
    break_seal(copy)
    assert not (copy / SEAL).exists()


def test_a_file_whose_name_is_no_utf_8_is_sealed(copy):
    name = os.fsdecode(b"caf\xe9.txt")
    (copy / name).write_text("text")
    seal(copy)
    assert faults(copy) == []
    (copy / name).write_text("other")
    assert faults(copy) == [f"{name} has changed since it was written"]


def test_a_name_with_a_line_end_is_refused_and_nothing_is_sealed(copy):
    break_seal(copy)
    (copy / "a\nb").touch()
    with pytest.raises(RunError, match=r"the name of the file 'a\\nb' has a line end in it; rename the file and give"):
        seal(copy)
    assert not (copy / SEAL).exists()
