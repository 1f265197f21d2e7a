"""Readers meet damaged and arbitrary bytes, and raise nothing but their own error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.fuzzing import TARGETS, Target

CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=4)
WORDS = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"1e999", b"-1", b"\\ud800", b"\0", b"\xff", b"\n"]
    ),
    max_size=12,
).map(b"".join)


def place(tmp_path_factory, name):
    """Return a directory that all examples of a target share."""
    directory = tmp_path_factory.getbasetemp() / f"fuzz-{name}"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.mark.parametrize("name", TARGETS)
def test_a_sound_input_is_accepted(name, tmp_path):
    TARGETS[name].read(TARGETS[name].sound, tmp_path)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(changes=CHANGES)
def test_a_damaged_input_is_accepted_or_refused_by_its_error(name, tmp_path_factory, changes):
    content = TARGETS[name].sound
    for start, length, new in changes:
        start %= len(content) + 1
        content = content[:start] + new + content[start + length :]
    TARGETS[name].holds(content, place(tmp_path_factory, name))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=30)
@given(content=st.one_of(st.binary(max_size=60), WORDS))
def test_any_bytes_are_accepted_or_refused_by_its_error(name, tmp_path_factory, content):
    TARGETS[name].holds(content, place(tmp_path_factory, name))


def test_another_error_is_seen(tmp_path):
    planted = Target(b"", lambda content, directory: content[5], ValueError)
    with pytest.raises(IndexError):
        planted.holds(b"", tmp_path)
