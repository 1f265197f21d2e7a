from fractions import Fraction

import pytest

from alpaca_lora.curation.expressions import evaluate, find_calculation, find_equations


def equations(text):
    return [(equation.left, equation.right, equation.holds) for equation in find_equations(text)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("1 / 3 + 1 / 6", "1/2"),
        ("0.1 + 0.2", "3/10"),
        ("-2 ** 2", "-4"),
        ("2 ** -2", "1/4"),
        ("10 / 4 / 5", "1/2"),
    ],
)
def test_an_expression_has_its_exact_value(expression, value):
    assert evaluate(expression) == Fraction(value)


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "2 ** 9999",
        "((((9 ** 20) ** 20) ** 20) ** 20) ** 20",
        "x + 1",
        "__import__('os')",
        "1 +",
        "(1",
        "1, 2",
        "True + 1",
        "'a' * 3",
        "(" * 9999,
    ],
)
def test_what_is_no_arithmetic_has_no_value(expression):
    assert evaluate(expression) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("48/2 = 24", [("48/2", "24", True)]),
        ("48/2 = 25", [("48/2", "25", False)]),
        ("$1.50 + $4.35 + $12.65 = $18.50", [("1.50 + 4.35 + 12.65", "18.50", True)]),
        ("3 lottery tickets * 5 numbers per ticket = 15 numbers", [("3 * 5", "15", True)]),
        ("5 sites x 5 birds/site = 50 birds", [("5 * 5", "50", False)]),
        ("12 × 4 ÷ 2 = 24", [("12 * 4 / 2", "24", True)]),
        ("1,200 − 300 = 900", [("1,200 - 300", "900", True)]),
        ("80/100 * 10 = 8 more", [("80/100 * 10", "8", True)]),
        ("25% of 60 = 15", [("25% * 60", "15", True)]),
        ("100% - 40% = 60%", [("100% - 40%", "60%", True)]),
        ("7 plus 8 equals 16", [("7 + 8", "16", False)]),
        ("(2 * 3 + 4) / 5 = (6 + 4) / 5 = 2", [("(2 * 3 + 4) / 5", "(6 + 4) / 5", True), ("(6 + 4) / 5", "2", True)]),
        ("20 / 3 = 6.67", [("20 / 3", "6.67", True)]),
        ("20 / 3 = 6.7", [("20 / 3", "6.7", True)]),
        ("20 / 3 = 6.8", [("20 / 3", "6.8", False)]),
        ("$0.25 + $0.25 = 50 cents", [("0.25 + 0.25", "50", True)]),
        ("$50 + 10% = $55", [("50 + 10%", "55", True)]),
        ("200 - 25% = 160", [("200 - 25%", "160", False)]),
        ("1.000 + 500 = 1.500", [("1.000 + 500", "1.500", True)]),
        ("1.125 + 2 = 4.125", [("1.125 + 2", "4.125", False)]),
        ("50 * 50 = 2500 = 2 500", [("50 * 50", "2500", True)]),
        ("4 hours + 30 minutes/60 minutes/hour = 4.5 hours", [("4 + 30 /60", "4.5", True)]),
        ("3 eggs + 4 eggs = 8 eggs", [("3 + 4", "8", False)]),
        ("2 hours * 60 minutes + 30 minutes = 140 minutes", [("2 * 60 + 30", "140", False)]),
        ("60 miles/hour * 2 hours = 130 miles", [("60 * 2", "130", False)]),
        ("7 guests/hour * 22 hours = 151 guests in a day", [("7 * 22", "151", False)]),
        ("7*60 = 420 minutes + 23 minutes = 443", [("7*60", "420 + 23", True), ("420 + 23", "443", True)]),
    ],
)
def test_equations_are_found_in_prose_and_judged(text, found):
    assert equations(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "x = 5",
        "2x + 3 = 9",
        "U - 17 + 43 = U + 26",
        "She has 10 + his 5 + 3 = 18",
        "twice 3 + 4 = 14",
        "half of 3 + 5 = 4",
        "1/3 = 22 students",
        "The score was 3 - 2.",
        "from 10:30 + 45 = 11:15",
        "4(3 + 2) = 20",
        "2023-05-01 = today",
        "1 hour + 30 minutes = 90 minutes",
        "5 feet + 7 inches = 67 inches",
        "1 kg + 500 grams = 1.5 kg",
        "2 nickels + 3 pennies = 13 cents",
        "$5 + 50 cents = $5.50",
        "60 minutes + 30 minutes = 1.5 hours",
        "3 * 20 minutes = 1 hour",
        "√16 + 2 = 6",
        "x = √25 - 1 = 4",
        "sin(90) + 1 = 2",
        "log 100 + 1 = 3",
        "The square root of 16 + 2 = 6",
        "1011 + 110 = 10001",
        "50 * 50 kg = 2 500 kg",
        "8/3 = 24/y",
        "22 - 16 = 16 + x - 16",
        "10 pm + 3 hours = 1 am",
        "a + b = c",
    ],
)
def test_what_may_mean_something_else_is_passed_over(text):
    assert equations(text) == []


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("What is 12 + 30?", "12 + 30"),
        ("What is 12 + 30 and 4 * 5?", None),
        ("What is 3 + 4 * -5?", None),
        ("What is 3 + 4!?", None),
        ("What is love?", None),
    ],
)
def test_the_one_calculation_of_a_text_is_found(text, expression):
    found = find_calculation(text)
    assert (found and found[0]) == expression
