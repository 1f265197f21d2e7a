import base64
import copy
import json
import pickle
from urllib.parse import quote

import pytest

from alpaca_lora.teachers.secrets import Secret

KEY = 'sk-a/b+c"d=0123456789'


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        quote(KEY, safe=""),
        json.dumps(KEY),
        base64.b64encode(KEY.encode()).decode(),
        KEY.encode().hex(),
        KEY[::-1],
        KEY[:12] + "...",
    ],
)
def test_a_key_is_redacted_however_it_is_written(spelling):
    assert Secret(KEY).redact(f"before {spelling} after").startswith("before ")
    assert spelling.strip('"=.') not in Secret(KEY).redact(f"before {spelling} after")


def test_a_key_shows_itself_to_nobody_who_prints_it():
    assert KEY not in f"{Secret(KEY)} {Secret(KEY)!r} {[Secret(KEY)]}"


@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_is_not_copied(copying):
    with pytest.raises(TypeError, match="a key is not pickled"):
        copying(Secret(KEY))


def test_a_key_is_no_json():
    with pytest.raises(TypeError):
        json.dumps(Secret(KEY))


def test_a_word_that_stands_for_no_key_is_not_redacted():
    assert Secret("none").redact("none of them") == "none of them"
