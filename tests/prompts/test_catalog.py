import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpaca_lora.errors import TemplateError, UnknownTemplateError
from alpaca_lora.prompts import Prompter, available_templates, load_template

KNOWN = "Built-in: alpaca, alpaca_legacy, alpaca_short, vigogne. A path to a .json file also works."
BEHAVIOUR = ("prompt_input", "prompt_no_input", "response_split")
GOLDEN_RECORDS = {
    "no_input": ("List three colours of a sunset.", ""),
    "with_input": ("Translate the sentence into German.", "The train leaves at 7:45."),
    "braces": ('Explain what {input} and {0} mean in f"{x!r}".', '{"instruction": "{{not}} a field"}'),
    "unicode": ("Réponds en une phrase : où se lève le soleil ? ☀️", "東京 — שלום\tend"),
}


@pytest.mark.parametrize("record", GOLDEN_RECORDS)
@pytest.mark.parametrize("name", available_templates())
def test_a_prompt_has_the_stored_bytes(repository, name, record):
    stored = repository / "tests" / "golden" / "prompts" / name / f"{record}.txt"
    assert Prompter(name).generate_prompt(*GOLDEN_RECORDS[record]).encode() == stored.read_bytes()


@pytest.mark.reference
@pytest.mark.parametrize("name", available_templates())
def test_the_texts_are_those_that_were_published(reference_data, name):
    published = json.loads((reference_data / "templates" / f"{name}.json").read_bytes())
    assert {key: getattr(load_template(name), key) for key in BEHAVIOUR} == {key: published[key] for key in BEHAVIOUR}


@pytest.mark.parametrize("name", available_templates())
def test_a_built_in_template_says_what_it_is_and_where_it_comes_from(name):
    template = load_template(name)
    assert (template.name, template.license) == (name, "Apache-2.0")
    assert template.description
    origin = "https://github.com/tloen/alpaca-lora/blob/8bb8579e403dc78e37fe81ffbb253c413007323f/templates/"
    assert template.source.split()[0] == f"{origin}{name}.json"


def test_only_the_legacy_template_has_nothing_after_the_response_heading():
    ends = {name: Prompter(name).generate_prompt("x")[-1] for name in available_templates()}
    assert ends == {"alpaca": "\n", "alpaca_legacy": ":", "alpaca_short": "\n", "vigogne": "\n"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alpca", f"unknown template 'alpca'; did you mean 'alpaca'? {KNOWN}"),
        ("con", f"unknown template 'con'. {KNOWN}"),
        ("", f"'' is no template name, which has 1 to 64 characters of a-z, 0-9, _ and -. {KNOWN}"),
        (
            "Alpaca",
            "'Alpaca' is no template name, which has 1 to 64 characters of a-z, 0-9, _ and -; did you mean 'alpaca'? "
            + KNOWN,
        ),
        (
            "../../etc/passwd",
            f"'../../etc/passwd' is no template name, which has 1 to 64 characters of a-z, 0-9, _ and -. {KNOWN}",
        ),
        ("missing.json", f"there is no template file 'missing.json'. {KNOWN}"),
        ("nul\0.json", f"there is no template file 'nul\\x00.json'. {KNOWN}"),
        (Path("/"), f"there is no template file '/'. {KNOWN}"),
        (Path("/dev/zero"), f"there is no template file '/dev/zero'. {KNOWN}"),
    ],
)
def test_an_unknown_template_is_answered_with_those_that_exist(name, message):
    with pytest.raises(UnknownTemplateError) as caught:
        load_template(name)
    assert str(caught.value) == message


@given(st.text().filter(lambda name: name not in available_templates() and not name.endswith(".json")))
def test_no_other_text_is_a_template(name):
    with pytest.raises(UnknownTemplateError):
        load_template(name)


@pytest.mark.parametrize(
    "name", ["CON", "C:\\x", "..\\alpaca", "//host/share", "templates/alpaca", "alpaca\n", "a" * 300]
)
@pytest.mark.catalogue(57)
def test_a_name_never_leads_to_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "alpaca").write_text("{}")
    with pytest.raises(UnknownTemplateError, match="is no template name"):
        load_template(name)


def test_a_file_is_loaded_by_its_path_and_named_after_it(tmp_path):
    document = load_template("vigogne").to_dict()
    path = tmp_path / "My template.v2.json"
    path.write_text(json.dumps(document))
    template = load_template(str(path))
    assert (template.name, template.sha256) == ("My template.v2", load_template("vigogne").sha256)
    assert load_template(path) == template
    assert Prompter(path).template == template


def test_a_path_may_have_any_ending(tmp_path):
    path = tmp_path / "template.txt"
    path.write_text(json.dumps(load_template("alpaca").to_dict()))
    assert load_template(path).sha256 == load_template("alpaca").sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", ": template 'mine' cannot be used: a template must be a JSON object with prompt_input"),
        (b'{\n "a": }', ":2:7: not JSON (Expecting value); correct the file"),
        (b"", ":1:1: not JSON (Expecting value); correct the file"),
        (b"\xef\xbb\xbf{}", " begins with a byte order mark; save it as UTF-8 without one"),
        (b"\xff\xfe{\0}\0", ": byte 1 is not UTF-8; save the file as UTF-8"),
        (b'{"a": "\xff"}', ": byte 8 is not UTF-8; save the file as UTF-8"),
        (b'{"prompt_input": "a", "prompt_input": "b"}', ": key 'prompt_input' appears more than once; keep one"),
        (b"[" * 60_000, ": nested too deeply; a template is one flat JSON object of texts"),
        (b" " * 65_537, " is larger than 65536 bytes, so it is no template; check the path"),
        (b'{"prompt_input": "{x}"}', ":\n"),
    ],
)
def test_a_file_that_is_no_template_is_explained_with_its_path(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.json").write_bytes(content)
    with pytest.raises(TemplateError) as caught:
        load_template("mine.json")
    text = str(caught.value).removeprefix("'mine.json'").removeprefix("mine.json")
    assert text.startswith(message) or (message == ":\n" and "prompt_input:1:1: {x} is not a field" in text)


def test_a_file_that_cannot_be_opened_is_reported(tmp_path):
    with pytest.raises(TemplateError, match=r"cannot be read \(File name too long\)"):
        load_template(tmp_path / ("x" * 300 + ".json"))
