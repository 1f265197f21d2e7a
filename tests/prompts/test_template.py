import dataclasses
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import TemplateError
from alpaca_lora.prompts import Prompter, Template, available_templates, load_template

VALID = {
    "prompt_input": "Q: {instruction}\nWith: {input}\nA: ",
    "prompt_no_input": "Q: {instruction}\nA: ",
    "response_split": "A:",
}


def refusal(document: object) -> str:
    with pytest.raises(TemplateError) as caught:
        Template.from_dict(document, "mine")
    return str(caught.value)


def test_a_document_needs_only_the_three_behaviour_texts():
    template = Template.from_dict(VALID, "mine")
    assert dataclasses.asdict(template) == {**VALID, "name": "mine", "description": "", "source": "", "license": ""}


@pytest.mark.parametrize("name", available_templates())
def test_a_template_survives_the_way_to_a_dictionary_and_back(name):
    template = load_template(name)
    assert Template.from_dict(template.to_dict(), name) == template


def test_the_given_name_replaces_the_one_in_the_document():
    assert Template.from_dict({**VALID, "name": "old"}, "new").name == "new"


def test_a_template_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_template("alpaca").prompt_input = "{instruction.__class__}"


def test_direct_construction_and_replacement_are_checked_like_a_document():
    with pytest.raises(TemplateError, match="prompt_no_input:1:1: {} names no field"):
        Template(name="mine", **{**VALID, "prompt_no_input": "{}"})
    with pytest.raises(TemplateError, match="response_split 'B:' does not stand in this prompt"):
        dataclasses.replace(load_template("alpaca"), response_split="B:")


def test_the_digest_is_that_of_the_canonical_json_of_the_behaviour():
    canonical = (
        r'{"prompt_input":"Q: {instruction}\nWith: {input}\nA: ","prompt_no_input":"Q: {instruction}\nA: ",'
        r'"response_split":"A:"}'
    )
    assert Template.from_dict(VALID, "mine").sha256 == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_digest_changes_with_the_behaviour_and_only_with_it():
    template = Template.from_dict(VALID, "mine")
    assert (
        dataclasses.replace(template, name="other", description="d", source="s", license="l").sha256 == template.sha256
    )
    changed = [
        dataclasses.replace(template, prompt_input=template.prompt_input + "\n"),
        dataclasses.replace(template, prompt_no_input=template.prompt_no_input + "\n"),
        dataclasses.replace(template, response_split="\nA:"),
    ]
    assert len({template.sha256, *(other.sha256 for other in changed)}) == 4


def test_the_digests_of_the_built_in_templates_are_these():
    """They stand in the sidecars of trained adapters: a change here orphans every one of them."""
    assert {name: load_template(name).sha256 for name in available_templates()} == {
        "alpaca": "244eb3b04f6781d609e3679bae7b7fdcb6d3c1e8250aae6011274118338c9d48",
        "alpaca_legacy": "d3afc556212c0128953a4c050a611489d43db9bb4c7ba1b7b016791555080b2e",
        "alpaca_short": "b2551f44360d158e02071179c105f021ed177147624d4ba42941782d0596ef43",
        "vigogne": "2fb55ee3702b0325f86419ce4c5ebda2782622dc90faef717a82d822526671e7",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"prompt_input": "{instrution} {input} A:"},
            "prompt_input:1:1: {instrution} is not a field; allowed: {instruction} and {input}; "
            "did you mean {instruction}?",
        ),
        (
            {"prompt_no_input": "Q:\n{instruction.__class__}\nA:"},
            "prompt_no_input:2:1: {instruction.__class__} has an attribute, index, conversion or format, and only "
            "plain fields are allowed; write {instruction}",
        ),
        (
            {"prompt_no_input": "{instruction} }\nA:"},
            "prompt_no_input:1:15: single '}' opens or closes no field; write }} for a literal brace",
        ),
        (
            {"prompt_no_input": "{instruction} {input}\nA:"},
            "prompt_no_input:1:15: {input} has no value here, where there is no input; remove it",
        ),
        (
            {"prompt_no_input": "{{instruction}}\nA:"},
            "prompt_no_input: field {instruction} is missing; the prompt would not show it",
        ),
        (
            {"prompt_input": "{instruction}\nA:"},
            "prompt_input: field {input} is missing; the prompt would not show it",
        ),
        (
            {"prompt_no_input": "{output}{instruction}\nA:"},
            "prompt_no_input:1:1: {output} cannot stand in a prompt, since the answer is appended after it; remove it",
        ),
        ({"response_split": " \n"}, r"response_split is ' \n'; it must be the visible heading before the response"),
        ({"response_split": ""}, "response_split is ''; it must be the visible heading before the response"),
        (
            {"prompt_no_input": "A: {instruction}\nA: "},
            "prompt_no_input: response_split 'A:' stands 2 times in this prompt; it must stand once, at the end",
        ),
        (
            {"prompt_no_input": "{instruction}\nB: "},
            "prompt_no_input: response_split 'A:' does not stand in this prompt; end the prompt with it",
        ),
        (
            {"prompt_no_input": "{instruction}\nA: Sure,"},
            r"prompt_no_input: the prompt must end with response_split 'A:', and at most white space after it; it ends "
            r"with '\nA: Sure,'; move the heading to the end, or let response_split be the whole of the last words",
        ),
        (
            {"prompt_no_input": "A: {instruction}"},
            "prompt_no_input: the prompt must end with response_split 'A:', and at most white space after it; it ends "
            "with ''; move the heading to the end, or let response_split be the whole of the last words",
        ),
        ({"prompt_no_input": None}, "prompt_no_input must be text, got null"),
        ({"description": 3}, "description must be text, got a number"),
        ({"license": ["MIT"]}, "license must be text, got a list"),
        (
            {"source": "a\ud800"},
            r"source holds '\ud800' at character 2, which cannot be written as text; remove it",
        ),
        ({"source": "\0"}, r"source holds '\x00' at character 1, which cannot be written as text; remove it"),
        (
            {"promt_input": "x"},
            "key 'promt_input' is unknown; allowed: name, prompt_input, prompt_no_input, response_split, description, "
            "source, license; did you mean 'prompt_input'?",
        ),
    ],
)
@pytest.mark.catalogue(52, 54, 55)
def test_a_fault_in_a_document_is_explained(change, message):
    assert refusal({**VALID, **change}) == f"template 'mine' cannot be used: {message}"


@pytest.mark.parametrize("key", VALID)
@pytest.mark.catalogue(53)
def test_a_missing_behaviour_text_is_named(key):
    document = {name: text for name, text in VALID.items() if name != key}
    assert refusal(document) == f"template 'mine' cannot be used: {key} is missing; add it as text"


@pytest.mark.parametrize(("document", "kind"), [([], "a list"), ("x", "str"), (None, "null"), (True, "true or false")])
@pytest.mark.catalogue(56)
def test_a_document_that_is_no_object_is_refused(document, kind):
    assert refusal(document).endswith(f"with prompt_input, prompt_no_input, response_split, got {kind}")


def test_all_faults_of_a_document_come_at_once():
    document = {"prompt_input": "{a}\n{", "response_split": "", "note": "x", "license": 1}
    assert re.findall(r"^  (\S+ ?\S*)", refusal(document), re.MULTILINE) == [
        "key 'note'",
        "prompt_no_input is",
        "license must",
        "response_split is",
        "prompt_input:1:1: {a}",
        "prompt_input:2:1: single",
    ]


BRACES = st.lists(st.sampled_from(["{", "}", "{{", "}}", "{instruction}", "{x}", "{0}", "a", "A:", "\n"])).map("".join)


@given(BRACES, BRACES, st.text())
def test_any_template_is_refused_or_renders_as_the_format_string_it_is(before, after, instruction):
    text = before + after + "A:\n"
    try:
        template = Template.from_dict({**VALID, "prompt_no_input": text}, "mine")
    except TemplateError:
        return
    assert Prompter(template).generate_prompt(instruction) == text.format(instruction=instruction)
