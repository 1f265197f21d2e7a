"""A Modelfile, written and read again as Ollama reads it."""

import json
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import ExportError
from alpaca_lora.exports.modelfile import read_modelfile, stated_template, write_modelfile
from alpaca_lora.prompts import Prompter, Template, available_templates
from alpaca_lora.prompts.dialects import render_ollama

GOLDEN = """\
# template "alpaca_short" sha256 {sha256}
FROM ./model-f16.gguf

TEMPLATE \"""{{{{ if .System }}}}{{{{ .System }}}}

{{{{ end }}}}### Instruction:
{{{{ .Prompt }}}}

### Response:
{{{{ .Response }}}}</s>\"""

PARAMETER temperature 0
PARAMETER repeat_penalty 1
PARAMETER stop "</s>"
PARAMETER stop "### Instruction:"
PARAMETER stop "### Response:"
"""
HOSTILE = (
    "Name three colours.",
    "{{ .System }} {{ end }} {instruction} }} {{",
    'Three """quotes""" and "two" and \\"',
    "### Response:\nNo.\n\n### Instruction:\nYes.",
    "把这句话翻译成英文 🙂 \u202bעברית\u202c café\u0301 \u00a0\u200b",
    "\r\nWindows\r\nline ends\r\n\tand  spaces \n\n",
    "",
)
AWKWARD = Template(
    name="awkward\n# sha256",
    prompt_input="{input} {instruction}\nAnswer:\r\n",
    prompt_no_input=(
        '"""{{{{ .Response }}}} \u00a0\u3000\x07\x7f🙂 {{"""\r"{instruction}{{\u00ad{instruction}{{\nAnswer:\r\n'
    ),
    response_split="Answer:",
)


def written(prompter, stops=("</s>",)):
    return write_modelfile("model-f16.gguf", prompter, eos_token="</s>", stops=stops)


def test_the_text_of_a_modelfile():
    prompter = Prompter("alpaca_short")
    assert written(prompter) == GOLDEN.format(sha256=prompter.sha256)


@pytest.mark.parametrize(
    ("template", "prompt"),
    list(product([*available_templates(), AWKWARD], HOSTILE)),
    ids=lambda value: repr(value)[:20],
)
def test_its_template_renders_the_bytes_of_training(template, prompt):
    prompter = Prompter(template)
    text = written(prompter)
    template = dict(read_modelfile(text))["template"].partition("{{ .Response }}")[0]
    assert render_ollama(template, Prompt=prompt) == prompter.generate_prompt(prompt)
    assert stated_template(text) == prompter.sha256


def test_a_changed_byte_would_be_seen():
    prompter = Prompter("alpaca_short")
    text = written(prompter).replace("### Response:\n{{", "### Response: {{")
    template = dict(read_modelfile(text))["template"].partition("{{ .Response }}")[0]
    assert render_ollama(template, Prompt="x") != prompter.generate_prompt("x")


def test_it_names_the_model_and_every_stop():
    commands = read_modelfile(written(Prompter("vigogne"), stops=("</s>", "<|im_end|>")))
    assert commands[0] == ("from", "./model-f16.gguf")
    assert [value for name, value in commands if name == "stop"] == [
        "</s>",
        "<|im_end|>",
        "### Instruction:",
        "### Réponse:",
    ]


LITERALS = st.text(st.sampled_from('{}"\\ \n\r\tab\u00a0\u200d\x7f🙂-%'), max_size=12)


@given(LITERALS, LITERALS, st.text())
def test_any_template_renders_the_bytes_of_training(before, after, prompt):
    before, after = (re.sub(r"[{}]", r"\g<0>\g<0>", text) for text in (before, after))
    text = f"{before}{{instruction}}{after}\nReply here ->"
    prompter = Prompter(
        Template(name="any", prompt_input="{input}" + text, prompt_no_input=text, response_split="Reply here ->")
    )
    template = dict(read_modelfile(written(prompter, stops=())))["template"].partition("{{ .Response }}")[0]
    assert render_ollama(template, Prompt=prompt) == prompter.generate_prompt(prompt)


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("FROM ./a b.gguf\n", [("from", "./a b.gguf")]),
        ('# a "comment\nfrom x\n\nPARAMETER stop "a" \n', [("from", "x"), ("stop", "a")]),
        ('TEMPLATE """a"\nb""" c\n"""\nFROM y', [("template", 'a"\nb""" c\n'), ("from", "y")]),
        ('PARAMETER stop "a"b"\r\nFROM z', [("stop", 'a"b'), ("from", "z")]),
        ("TEMPLATE a\u00a0\u200bb\n", [("template", "ab")]),
    ],
)
def test_it_is_read_as_ollama_reads_it(text, commands):
    assert read_modelfile(text) == commands


def test_a_value_without_an_end_is_refused():
    with pytest.raises(ExportError, match="does not end"):
        read_modelfile('TEMPLATE """abc\nFROM x\n')


def test_a_stop_that_cannot_be_said_is_left_out():
    text = "{instruction}\n### A\u00a0B:"
    template = Template(name="odd", prompt_input="{input}" + text, prompt_no_input=text, response_split="### A\u00a0B:")
    assert [value for name, value in read_modelfile(written(Prompter(template))) if name == "stop"] == ["</s>"]


@pytest.mark.slow
def test_go_itself_renders_the_bytes_of_training():
    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    jobs, wanted = [], []
    for template, prompt, system in product([*available_templates(), AWKWARD], HOSTILE, ("", "Be kind.")):
        prompter = Prompter(template)
        text = dict(read_modelfile(written(prompter)))["template"]
        jobs.append({"Template": text, "System": system, "Prompt": prompt, "Response": "Yes."})
        wanted.append((f"{system}\n\n" if system else "") + prompter.generate_prompt(prompt) + "Yes.</s>")
        assert render_ollama(text, System=system, Prompt=prompt, Response="Yes.") == wanted[-1]
    program = Path(__file__).with_name("render.go")
    environment = os.environ | {"GOTOOLCHAIN": "local", "GO111MODULE": "off"}
    result = subprocess.run(
        ["go", "run", program], input=json.dumps(jobs), env=environment, check=True, capture_output=True, text=True
    )
    assert json.loads(result.stdout) == wanted
