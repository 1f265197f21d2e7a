import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alpaca_lora.errors import TemplateError
from alpaca_lora.prompts import Prompter, Template, available_templates, load_template
from alpaca_lora.records import Record

PROMPTERS = {name: Prompter(name) for name in available_templates()}
TEXTS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["### Response:", "### Réponse:", "###", " ", "\n", "{input}", "{{", "}", "é", "\r\n", "\u2028"]
        )
    ).map("".join),
)
NAMES = st.sampled_from(available_templates())


def test_the_default_template_is_alpaca():
    assert Prompter().template == load_template("alpaca")
    assert repr(Prompter()) == "Prompter('alpaca')"


def test_an_empty_name_is_the_default_as_in_the_scripts_of_alpaca_lora():
    assert Prompter("").template == load_template("alpaca")


def test_a_template_object_is_taken_as_it_is():
    template = load_template("vigogne")
    assert Prompter(template).template is template
    assert Prompter(template).sha256 == template.sha256


@pytest.mark.parametrize("empty", ["", None])
def test_without_an_input_the_input_section_is_left_out(empty):
    assert Prompter("alpaca_short").generate_prompt("Do it.", empty) == "### Instruction:\nDo it.\n\n### Response:\n"


@pytest.mark.parametrize(
    ("values", "fault"), [((None,), "instruction must be text, got None"), (("a", 5), "input must")]
)
def test_what_is_no_text_is_named(values, fault):
    with pytest.raises(TemplateError, match=fault):
        Prompter().generate_prompt(*values)


def test_white_space_is_an_input():
    prompt = "### Instruction:\nDo it.\n\n### Input:\n \n\n### Response:\n"
    assert Prompter("alpaca_short").generate_prompt("Do it.", " ") == prompt


def test_a_label_is_appended_as_it_is():
    prompter = Prompter()
    assert prompter.generate_prompt("a", "b", " c\n") == prompter.generate_prompt("a", "b") + " c\n"
    assert prompter.generate_prompt("a", "b", "") == prompter.generate_prompt("a", "b")


@given(NAMES, TEXTS, TEXTS, TEXTS)
def test_a_record_has_the_prompt_of_its_fields_and_its_output_as_completion(name, instruction, text, output):
    prompter, record = PROMPTERS[name], Record(instruction, text, output)
    assert prompter.prompt(record) == prompter.generate_prompt(instruction, text)
    assert prompter.completion(record) == output


@given(NAMES, TEXTS, TEXTS)
def test_text_of_a_record_is_never_read_as_syntax(name, instruction, text):
    template = load_template(name)
    pattern = template.prompt_input if text else template.prompt_no_input
    before, after = pattern.split("{instruction}")
    expected = before + instruction + text.join(after.split("{input}"))
    assert PROMPTERS[name].generate_prompt(instruction, text) == expected


@given(NAMES, TEXTS, TEXTS, TEXTS)
def test_the_response_comes_back_whole_even_if_it_repeats_the_heading(name, instruction, text, response):
    prompter = PROMPTERS[name]
    prompt, heading = prompter.generate_prompt(instruction, text), prompter.template.response_split
    assume(prompt.count(heading) == 1)
    assert prompter.get_response(prompt + response) == response.strip()


@given(NAMES, TEXTS, TEXTS, TEXTS)
def test_with_the_prompt_given_the_response_is_exact_whatever_the_record_holds(name, instruction, text, response):
    prompter = PROMPTERS[name]
    prompt = prompter.generate_prompt(instruction, text)
    assert prompter.get_response(prompt + response, prompt=prompt) == response.strip()
    assert prompter.get_response("<s>" + prompt + response, prompt=prompt) == response.strip()


def test_a_heading_in_the_instruction_needs_the_prompt():
    prompter = Prompter("alpaca_short")
    prompt = prompter.generate_prompt("Explain ### Response: to me.")
    assert prompter.get_response(prompt + "It is a heading.") == "to me.\n\n### Response:\nIt is a heading."
    assert prompter.get_response(prompt + "It is a heading.", prompt=prompt) == "It is a heading."


def test_text_without_the_heading_is_refused():
    with pytest.raises(TemplateError) as caught:
        Prompter("vigogne").get_response("### Response:\n" + "x" * 100)
    assert str(caught.value) == (
        "the text does not hold the response heading '### Réponse:' of template 'vigogne': "
        + repr("### Response:\n" + "x" * 46 + "…")
        + "; pass prompt and response together, decoded without clean-up of spaces"
    )


def test_text_without_the_given_prompt_is_refused():
    with pytest.raises(
        TemplateError, match="the text does not hold the given prompt: 'Hello'; pass prompt and response"
    ):
        Prompter().get_response("Hello", prompt="Hello!")


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("alpaca", ("### Instruction:", "### Response:")),
        ("alpaca_legacy", ("### Instruction:", "### Response:")),
        ("alpaca_short", ("### Instruction:", "### Response:")),
        ("vigogne", ("### Instruction:", "### Réponse:")),
    ],
)
def test_the_stop_strings_are_the_headings_of_a_new_turn(name, stops):
    assert Prompter(name).stop_strings == stops


@pytest.mark.parametrize(
    ("before", "stops"),
    [
        ("Be brief.\nHuman: ", ("Human:", "AI:")),
        ("Question\n\n", ("Question", "AI:")),
        ("", ("AI:",)),
        ('"', ("AI:",)),
        ("---\n", ("AI:",)),
    ],
)
def test_the_stop_string_of_another_template_is_the_last_line_before_the_instruction(before, stops):
    prompt = before + "{instruction}\nAI: "
    template = Template(name="x", prompt_input="{input}" + prompt, prompt_no_input=prompt, response_split="AI:")
    assert Prompter(template).stop_strings == stops


def test_prompts_need_only_the_standard_library(run_python):
    code = "import sys, alpaca_lora.prompts; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = run_python("-c", code)
    assert loaded.returncode == 0, loaded.stderr
    foreign = ("pydantic", "jinja2", "numpy", "torch", "transformers", "tokenizers", "datasets", "pyarrow")
    assert [name for name in foreign if repr(name) in loaded.stdout] == []
    assert "'json'" in loaded.stdout
