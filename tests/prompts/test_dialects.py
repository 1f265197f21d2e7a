"""The same prompt in Jinja and in Go's text/template: byte for byte, and id for id."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError as JinjaError
from transformers.utils.chat_template_utils import render_jinja_template

from alpaca_lora.errors import TemplateError
from alpaca_lora.prompts import Prompter, Template
from alpaca_lora.prompts.dialects import render_ollama
from alpaca_lora.records import Record

BOS, EOS = "<s>", "</s>"
CONTROL_TEXT = Record("Explain <|im_end|> and <s> and </s>.", "<|im_start|>user\n</s>", "<|im_end|> ends a turn.</s>")


def jinja(template: str, messages: list[dict], *, add_generation_prompt: bool = True) -> str:
    """Render as `apply_chat_template` of transformers does."""
    (text,), _ = render_jinja_template(
        [messages],
        chat_template=template,
        add_generation_prompt=add_generation_prompt,
        bos_token=BOS,
        eos_token=EOS,
    )
    return text


def user(record: Record) -> dict[str, str]:
    message = {"role": "user", "content": record.instruction}
    return {**message, "input": record.input} if record.input else message


def assistant(record: Record) -> dict[str, str]:
    return {"role": "assistant", "content": record.output}


def test_there_are_enough_probes(probe_records):
    assert len(set(probe_records)) >= 200


def test_jinja_renders_the_prompt_of_every_probe(prompter, probe_records):
    template = prompter.chat_template()
    for record in (*probe_records, CONTROL_TEXT):
        assert jinja(template, [user(record)]) == prompter.prompt(record)
        assert jinja(template, [{"input": "", **user(record)}]) == prompter.prompt(record)


def test_jinja_renders_prompt_output_and_end_of_text(prompter, probe_records):
    template = prompter.chat_template()
    for record in (*probe_records, CONTROL_TEXT):
        text = jinja(template, [user(record), assistant(record)], add_generation_prompt=False)
        assert text == prompter.prompt(record) + prompter.completion(record) + EOS


def test_jinja_begins_with_the_beginning_of_text_only_on_request(prompter):
    record = Record("a", "b", "c")
    messages = [user(record), assistant(record), user(record)]
    turn = prompter.prompt(record)
    assert jinja(prompter.chat_template(), messages) == f"{turn}c{EOS}{turn}"
    assert jinja(prompter.chat_template(bos=True), messages) == f"{BOS}{turn}c{EOS}{turn}"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (
            [{"role": "system", "content": "Be kind."}],
            "this template takes user and assistant in turn, beginning with user, and no other role; "
            "message 1 has the role system",
        ),
        (
            [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
            "this template takes user and assistant in turn, beginning with user, and no other role; "
            "message 2 has the role user",
        ),
        (
            [{"role": "assistant", "content": "a"}],
            "this template takes user and assistant in turn, beginning with user, and no other role; "
            "message 1 has the role assistant",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], "content and input of a message must be text"),
        ([{"role": "user", "content": None}], "content and input of a message must be text"),
        ([{"role": "user", "content": "a", "input": 3}], "content and input of a message must be text"),
    ],
)
def test_jinja_refuses_messages_that_have_no_place(prompter, messages, message):
    with pytest.raises(JinjaError) as caught:
        jinja(prompter.chat_template(), messages)
    assert str(caught.value) == message


AWKWARD = ["{", "{{", "}}", "{%", "-", '"', '"""', "'", "\\", "\r\n", "\n", "\x7f", "\u00a0", "\u200d", "\U0001f600"]
LITERALS = st.one_of(st.text(), st.lists(st.sampled_from(AWKWARD)).map("".join))


def template_of(before: str, after: str) -> Template:
    """A template with any literal text around the instruction."""
    before, after = (re.sub(r"[{}]", r"\g<0>\g<0>", text).replace("\0", "") for text in (before, after))
    prompt = f"{before}{{instruction}}{after}\nReply here ->\r\n"
    return Template(name="any", prompt_input="{input}" + prompt, prompt_no_input=prompt, response_split="Reply here ->")


@given(LITERALS, LITERALS)
def test_jinja_renders_any_literal_text_of_a_template(before, after):
    prompter, record = Prompter(template_of(before, after)), Record("{{ x }}\n")
    assert jinja(prompter.chat_template(), [user(record)]) == prompter.prompt(record)


@given(LITERALS, LITERALS)
def test_go_renders_any_literal_text_of_a_template(before, after):
    prompter, record = Prompter(template_of(before, after)), Record("{{ x }}\n")
    template = prompter.ollama_template()
    assert render_ollama(template, Prompt=record.instruction) == prompter.prompt(record)
    assert '"""' not in template
    assert all(char.isprintable() or char in "\t\n" for char in template)


def encode(tokenizer, prompter: Prompter, record: Record) -> tuple[list[int], list[int]]:
    """Return the ids of the rendered prompt, and those of the chat template."""
    direct = tokenizer(prompter.prompt(record)).input_ids
    tokenizer.chat_template = prompter.chat_template(bos=tokenizer("").input_ids == [tokenizer.bos_token_id])
    chat = tokenizer.apply_chat_template([user(record)], tokenize=True, return_dict=False, add_generation_prompt=True)
    return direct, chat


def test_token_ids_are_equal_across_training_inference_and_jinja(tokenizer, prompter, probe_records):
    bos = len(tokenizer("").input_ids)
    for record in probe_records:
        direct, chat = encode(tokenizer, prompter, record)
        assert direct == chat
        assert direct.count(tokenizer.bos_token_id) == bos


def test_a_missing_beginning_of_text_would_be_seen(tokenizer, probe_records):
    """Positive control: the wrong `bos` gives other ids on every probe."""
    prompter, bos = Prompter(), bool(tokenizer("").input_ids)
    tokenizer.chat_template = prompter.chat_template(bos=not bos)
    for record in probe_records:
        chat = tokenizer.apply_chat_template([user(record)], tokenize=True, return_dict=False)
        assert chat != tokenizer(prompter.prompt(record)).input_ids


def test_a_changed_byte_in_the_template_would_be_seen(tokenizer, probe_records):
    """Positive control: `alpaca` and `alpaca_legacy` differ by one newline, on every probe."""
    for record in probe_records:
        _, chat = encode(tokenizer, Prompter("alpaca_legacy"), record)
        assert chat != tokenizer(Prompter("alpaca").prompt(record)).input_ids


@pytest.mark.slow
def test_token_ids_are_equal_with_the_tokenizer_of_the_embedded_model(smollm2_tokenizer, prompter, probe_records):
    for record in probe_records:
        direct, chat = encode(smollm2_tokenizer, prompter, record)
        assert direct == chat


def test_the_go_renderer_reads_braces_as_go_does():
    assert render_ollama('{{ if .System }}{{ .System }}!{{ end }}a}}{{ "{{" }}{{ .Prompt }}}', Prompt="p") == "a}}{{p}"
    assert render_ollama("{{ if .System }}{{ .System }}!{{ end }}{{ .Prompt }}", System="s", Prompt="p") == "s!p"
    with pytest.raises(TemplateError, match="is no action"):
        render_ollama("{{{ .Prompt }}")


def test_ollama_renders_the_prompt_without_an_input(prompter, probe_records):
    template = prompter.ollama_template()
    for record in (*probe_records, CONTROL_TEXT):
        prompt = prompter.generate_prompt(record.instruction)
        assert render_ollama(template, Prompt=record.instruction) == prompt
        assert render_ollama(template, System="Be kind.", Prompt=record.instruction) == "Be kind.\n\n" + prompt


def test_ollama_closes_an_earlier_turn_with_the_end_of_text(prompter):
    template = prompter.ollama_template(eos_token=EOS)
    assert render_ollama(template, Prompt="a", Response="b") == prompter.generate_prompt("a") + "b" + EOS
    assert template.endswith("{{ .Response }}</s>")


def test_ollama_template_of_alpaca_is_readable():
    assert Prompter("alpaca_short").ollama_template(eos_token="<|im_end|>") == (
        "{{ if .System }}{{ .System }}\n\n{{ end }}### Instruction:\n{{ .Prompt }}\n\n### Response:\n"
        "{{ .Response }}<|im_end|>"
    )
