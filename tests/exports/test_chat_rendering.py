import signal

import pytest

from alpaca_lora.errors import ExportError
from alpaca_lora.exports.chat_rendering import render_chats
from tests.attacks.s03_chat_templates import PAYLOADS

CHAT = [[{"role": "user", "content": "Hi {{ x }}"}], [{"role": "user", "content": "Ho"}]]


def test_a_template_is_rendered_as_transformers_does():
    template = (
        "{{ bos_token }}{% for m in messages %}{{ m.content | trim }}{% endfor %}"
        "{% if add_generation_prompt %}>{% endif %}"
    )
    names = {"bos_token": "<s>", "add_generation_prompt": True}
    assert render_chats(template, CHAT, names) == ["<s>Hi {{ x }}>", "<s>Ho>"]


@pytest.mark.parametrize("name", ["a long string", "a string that doubles", "a walk over attributes", "an include"])
def test_a_template_that_costs_or_escapes_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError):
        render_chats(PAYLOADS[name], CHAT, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nested loops", "a long string"])
def test_a_template_that_takes_too_much_is_stopped_and_named_so(name):
    with pytest.raises(ExportError, match="takes too much time or memory"):
        render_chats(PAYLOADS[name], CHAT, {})


def test_a_parent_that_ignores_the_signal_of_the_limit_changes_nothing():
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        with pytest.raises(ExportError, match="takes too much time or memory"):
            render_chats(PAYLOADS["nested loops"], CHAT, {})
    finally:
        signal.signal(signal.SIGPROF, before)
