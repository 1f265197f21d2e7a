import pytest

from alpaca_lora.curation.numerals import find_answers, find_numbers


def values(numbers):
    return sorted(str(number.value) for number in numbers)


def test_numbers_are_found_in_figures_and_words():
    text = "Three of 1,200 at 10:30 on B52, -2.5 °C or $7, 15% and 4th."
    assert values(find_numbers(text)) == ["-5/2", "1200", "15", "3", "7"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("Nineteen", "19"), ("Twenty-one.", "21"), ("fifty four", "54"), ("ninety", "90"), ("sixty", "60")],
)
def test_numbers_in_words_go_up_to_ninety_nine(text, number):
    assert values(find_numbers(text)) == [number]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("17/12", ["12", "17", "17/12"]),
        ("1 5/12", ["1", "12", "17/12", "5"]),
        ("2/3", ["2", "3"]),
        ("3/0", ["0", "3"]),
        ("1/2/3", ["1", "2", "3"]),
        ("1.500", ["1500", "3/2"]),
        ("0.500", ["1/2"]),
    ],
)
def test_an_answer_may_be_a_fraction_that_the_task_does_not_hold_or_thousands_with_dots(text, found):
    assert values(find_answers(text, "What is 2/3 of it?")) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7/2", ["2", "7", "7/2"]),
        ("-7/2", ["-7", "-7/2", "2"]),
        ("It is −1 1/2.", ["-1", "-3/2", "1", "2"]),
        ("7 / 2", ["2", "7", "7/2"]),
        ("17 / 2", ["17", "2"]),
        ("10-7/2", ["10", "2", "7", "7/2"]),
    ],
)
def test_a_fraction_has_its_sign_and_is_no_part_of_one_in_the_task(text, found):
    assert values(find_answers(text, "What is 17/2 - 5?")) == found


def test_a_minus_behind_a_word_is_one_and_between_numbers_it_is_none():
    assert values(find_numbers("It is -5, not 12 -7 or 3-2.")) == ["-5", "12", "2", "3", "7"]
