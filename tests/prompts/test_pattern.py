import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alpaca_lora.prompts.pattern import Slot, did_you_mean, fill, scan, shorten

FRAGMENTS = ["{", "}", "{{", "}}", "{instruction}", "{input}", "{x}", "{}", "{0}", "{input!r}", "a", "\n", "é", ":"]
VALUES = {"instruction": "{input} {{", "input": "{instruction.__class__}"}


def test_fields_become_slots_and_double_braces_literal_ones():
    assert scan("a{{b}}{instruction}\n{input}c") == (("a{b}", Slot("instruction"), "\n", Slot("input"), "c"), ())


def test_filling_puts_the_values_in_as_they_are():
    pattern, _ = scan("{{{instruction}}} {input}{input}")
    assert fill(pattern, VALUES) == "{" + VALUES["instruction"] + "} " + VALUES["input"] * 2


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
@example("{{{instruction}}}{{{{{input}}}}}")
@example("{instruction:{input}}")
@example("{ {instruction} }")
def test_what_is_accepted_means_what_it_means_to_python_and_the_rest_is_refused(text):
    pattern, faults = scan(text)
    try:
        expected = text.format(**VALUES)
    except (ValueError, KeyError, IndexError, AttributeError):
        assert faults
    else:
        assert faults or fill(pattern, VALUES) == expected


@given(st.text(), st.text(), st.text())
def test_any_literal_text_survives_with_its_braces_doubled(before, between, after):
    def doubled(text):
        return text.replace("{", "{{").replace("}", "}}")

    pattern, faults = scan(doubled(before) + "{instruction}" + doubled(between) + "{input}" + doubled(after))
    assert not faults
    assert fill(pattern, {"instruction": "1", "input": "2"}) == f"{before}1{between}2{after}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "é\n\n ab{instrution}",
            "3:4: {instrution} is not a field; allowed: {instruction} and {input}; did you mean {instruction}?",
        ),
        (
            "{ Instruction }",
            "1:1: { Instruction } is not a field; allowed: {instruction} and {input}; did you mean {instruction}?",
        ),
        (
            '{"a": 1}',
            '1:1: {"a": 1} is not a field; allowed: {instruction} and {input}; write {{ and }} for literal braces',
        ),
        (
            "{instruction.__class__}",
            "1:1: {instruction.__class__} has an attribute, index, conversion or format, and only plain fields are "
            "allowed; write {instruction}",
        ),
        (
            "{instruction[0]}",
            "1:1: {instruction[0]} has an attribute, index, conversion or format, and only plain fields are allowed; "
            "write {instruction}",
        ),
        (
            "{input!r}",
            "1:1: {input!r} has an attribute, index, conversion or format, and only plain fields are allowed; "
            "write {input}",
        ),
        (
            "{instruction:>999999999}",
            "1:1: {instruction:>999999999} has an attribute, index, conversion or format, and only plain fields are "
            "allowed; write {instruction}",
        ),
        (
            "{instruction:{input}}",
            "1:1: {instruction:{input}} has an attribute, index, conversion or format, and only plain fields are "
            "allowed; write {instruction}",
        ),
        (
            "{row.x}",
            "1:1: {row.x} has an attribute, index, conversion or format, and only plain fields are allowed; "
            "write {instruction} and {input}",
        ),
        ("{0}", "1:1: {0} names no field; allowed: {instruction} and {input}; write {{ and }} for literal braces"),
        ("{}", "1:1: {} names no field; allowed: {instruction} and {input}; write {{ and }} for literal braces"),
        ("a\r\n{", "2:1: single '{' opens or closes no field; write {{ for a literal brace"),
        ("{instruction}}", "1:14: single '}' opens or closes no field; write }} for a literal brace"),
        ("{output}", "1:1: {output} cannot stand in a prompt, since the answer is appended after it; remove it"),
    ],
)
@pytest.mark.catalogue(49, 50, 51)
def test_a_fault_says_where_it_is_and_what_to_do(text, fault):
    assert scan(text)[1] == (fault,)


def test_all_faults_of_a_text_are_found_at_once():
    assert [fault.split(" ")[0] for fault in scan("{a}\n}\n é{0}{")[1]] == ["1:1:", "2:1:", "3:3:", "3:6:"]


def test_a_field_that_has_no_value_in_this_text_is_refused():
    assert scan("{instruction}{input}", ("instruction",))[1] == (
        "1:14: {input} has no value here, where there is no input; remove it",
    )


def test_a_long_field_is_shortened_in_the_message():
    (fault,) = scan("{" + "x" * 10_000 + "}")[1]
    assert len(fault) < 200


def test_nearest_word_is_proposed_only_where_one_is_near():
    assert did_you_mean("Alpca", ("alpaca", "vigogne")) == "; did you mean 'alpaca'?"
    assert did_you_mean("zzz", ("alpaca", "vigogne")) == ""


def test_shortening_keeps_what_fits():
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "abc…"
