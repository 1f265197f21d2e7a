"""Numbers in prose: in figures, in words, as fractions, with commas or dots between thousands.

Values are fractions, so nothing is lost to rounding.
"""

import re
from fractions import Fraction
from typing import NamedTuple

__all__ = ["DOTTED", "NUMBER", "SPELLED", "Reading", "agree", "find_answers", "find_numbers", "step_of"]

NUMBER = r"(?<![\w.,])(?<!\d:)(?:(?:\d{1,3}(?:,\d{3}){1,99}|\d{1,300})(?:\.\d{1,300})?|\.\d{1,300})(?![\w:]|[.,]\d)"
"""One number in figures."""

_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = dict(zip((*_UNITS, *_TEENS, *_TENS), (*range(20), *range(20, 100, 10)), strict=True))
"""Numbers in one word."""

SPELLED = rf"(?:{'|'.join(_TENS)})[ -](?:{'|'.join(_UNITS[1:])})|{'|'.join(_WORDS)}"
"""A pattern of numbers in words up to ninety-nine, for between what ends a word."""

_SPELLED = re.compile(rf"(?<![a-z])(?:{SPELLED})(?![a-z])")
_SIGN = r"(?:(?<![\d)%] )(?<![\w)%])-)?"
"""A minus, if it is not one between two numbers."""

_MIXED = re.compile(rf"({_SIGN})(?<![\d/.,])(?<!/ )(?:(\d{{1,300}}) )?(\d{{1,300}}) ?/ ?(\d{{1,300}})(?!\d| ?/|[.,]\d)")
DOTTED = re.compile(r"(?<![\w.,])[1-9]\d{0,2}(?:\.\d{3}){1,99}(?!\w|[.,]\d)")
"""What may be thousands with dots, as German writes them."""

_EXACT = Fraction(1, 10**9)
"""The step of a fraction, which is not rounded."""


class Reading(NamedTuple):
    """One thing that an expression can mean."""

    value: Fraction
    step: Fraction
    """The least difference that its numbers can show: 1 for whole numbers, 1/100 for two decimals."""


def agree(value: Fraction, stated: Reading) -> bool:
    """Return whether a number is the value, or the value cut or rounded to the digits that the number shows.

    >>> agree(Fraction(20, 3), Reading(Fraction(667, 100), Fraction(1, 100)))
    True
    >>> agree(Fraction(20, 1), Reading(Fraction(19), Fraction(1)))
    False
    """
    if value == stated.value:
        return True
    return (value / stated.step).denominator > 1 and abs(value - stated.value) < stated.step


def _with_hyphens(text: str) -> str:
    return re.sub(r"[−–]", "-", text)


def find_numbers(text: str) -> list[Reading]:
    """Return the numbers in a text, in figures or in words up to ninety-nine; "5 %" is read as 5.

    >>> [str(number.value) for number in find_numbers("Fifty-three of 1,200 at 10:30, -2.5 each.")]
    ['1200', '-5/2', '53']
    """
    simple = _with_hyphens(text.lower())
    figures = re.findall(rf"{_SIGN}{NUMBER}|(?<=[$€£]){NUMBER}|{NUMBER}(?=[a-z°%]+)", simple)
    found = [Reading(Fraction(figure.replace(",", "")), step_of(figure)) for figure in figures]
    spelled = [re.split("[ -]", words) for words in _SPELLED.findall(simple)]
    return found + [Reading(Fraction(sum(_WORDS[word] for word in words)), Fraction(1)) for words in spelled]


def find_answers(text: str, task: str) -> list[Reading]:
    """Return the numbers that an answer may name: fractions and thousands with dots too, as one number each.

    Args:
        text: the answer.
        task: what it answers; a fraction that stands there too is no answer but a repeated question.

    >>> [str(number.value) for number in find_answers("12/8 is 1 1/2.", "What is 12/8?")]
    ['12', '8', '1', '1', '2', '3/2']
    """
    found = find_numbers(text)
    asked = {fraction.groups() for fraction in _MIXED.finditer(_with_hyphens(task))}
    for fraction in _MIXED.finditer(_with_hyphens(text)):
        sign, whole, upper, lower = fraction.groups()
        if int(lower) and fraction.groups() not in asked:
            value = int(whole or 0) + Fraction(int(upper), int(lower))
            found.append(Reading(-value if sign else value, _EXACT))
    return found + [Reading(Fraction(number.replace(".", "")), Fraction(1)) for number in DOTTED.findall(text)]


def step_of(number: str) -> Fraction:
    """Return the least difference that a number in figures can show."""
    return Fraction(1, 10 ** len(number.partition(".")[2]))
