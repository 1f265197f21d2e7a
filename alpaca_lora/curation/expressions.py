"""Arithmetic in prose: calculations, the numbers said to come out of them, and what they are worth.

Numbers may carry a currency, thousands commas, a percent sign and a unit of several words ("3 boxes * 4 pens = 12
pens"). Values are fractions, so nothing is lost to rounding. What is not understood is passed over, never guessed.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

__all__ = ["WORDS", "Equation", "Reading", "agree", "evaluate", "find_calculation", "find_equations", "find_numbers"]

_NUMBER = r"(?<![\w.,])(?<!\d:)(?:(?:\d{1,3}(?:,\d{3}){1,99}|\d{1,300})(?:\.\d{1,300})?|\.\d{1,300})(?![\w:]|[.,]\d)"
_UNIT = r"(?:[ ]?(?!(?:x|plus|minus|times|and)\b)(?:[a-z]{2,}|a)(?:['’/-][a-z]+)*\.?(?![a-z(])){0,8}+"
_TERM = rf"(?:(?:\([ ]?){{0,20}}+(?:{_NUMBER}[ ]{_NUMBER}/)?{_NUMBER}[ ]?%?{_UNIT}(?:[ ]?\))*+)"
_EXPRESSION = rf"{_TERM}(?:[ ]?(?:\*\*|[-+*/])[ ]?{_TERM}){{0,50}}+"
"""Digits, brackets and terms are bounded, or a page of them would take minutes and end in a number of thousands."""

_CHAIN = re.compile(rf"-?{_EXPRESSION}(?:[ ]?=[ ]?-?{_EXPRESSION})+")
_CUT = re.compile(
    r"(?:[-+*/^%\d(]|(?<!['’])\b[b-z])[ ]?(?:(?:of|the|his|her|their|its|those|these|all|by|remaining)[ ]?)*$"
)
_SCALED = re.compile(r"\b(?:half|twice|double|triple|thrice|thirds?|quarters?|fifths?|than|squared|cubed|dozen|sqrt)\b")
_HUNDREDTHS = re.compile(r"\bcents?\b|¢|\bpercent")
_HUNDRED = (Fraction(100), Fraction(1, 100))
_WORDS = re.compile(r"/?[a-z][\w'’./-]*")
_SHARE = re.compile(r"\(?(\d+) ?/ ?(\d+)\)?")
_FRACTION = re.compile(r"(?<![\d/.])(\d+/\d+)(?![\d/.])")
_REWRITTEN: tuple[tuple[str, str], ...] = (
    (r"[×∗·]|(?<=[\w)%]) x (?=[\d($.])|\btimes\b(?= [\d$(])|\bmultiplied by\b", " * "),
    (r"÷|\bdivided by\b", " / "),
    (r"[−–]|\bminus\b", " - "),
    (r"\bplus\b", " + "),
    (r"(?<=\d) ?\^ ?(?=\d)", "**"),
    (r"≈|\b(?:is )?(?:approximately )?equal(?:s| to)\b|(?<=[\d)]) is (?=[$\d])|= about\b", " = "),
    (r"(?<=[\d%)]) ?x ?(?=[\d($.])", "*"),
    (r"(?<=\d)(?!(?:st|nd|rd|th)\b)(?=[a-z]{2,})|(?<=\d)/(?=[a-z])", " "),
    (r"((?:%|\d/\d+)) of (?:the |his |her |their |a )?(?=[$€£\d(])", r"\1 * "),
    (r"[$€£\\]|<<.*?>>", ""),
    (r"[ \t]+", " "),
)
"""Patterns and what replaces them, in order, until a line has only the signs of Python."""

_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LOOKED_BACK = 200
_MOST_BITS = 1024
"""Size of a power beyond which it is not worked out, so that no text can make this slow."""

WORDS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
}
"""Numbers in words."""


class Reading(NamedTuple):
    """One thing that an expression can mean."""

    value: Fraction
    step: Fraction
    """The least difference that its numbers can show: 1 for whole numbers, 1/100 for two decimals."""


class Equation(NamedTuple):
    """A calculation and what is said to come out."""

    left: str
    """The calculation, as it was read."""

    right: str
    """What stands behind the equals sign, a number or another calculation."""

    expected: frozenset[Reading]
    """What the left side can mean: 5 % is 0.05, and in some calculations 5."""

    stated: frozenset[Reading]
    """What the right side can mean."""

    @property
    def holds(self) -> bool:
        """Whether the sides agree in some reading, exactly or as far as the stated number is written out."""
        return any(agree(left.value, right) for left in self.expected for right in self.stated)


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


def evaluate(expression: str) -> Fraction | None:
    """Return the value of an expression of numbers, + - * / ** and parentheses; None where there is none.

    >>> evaluate("(2 * 3 + 4) / 5")
    Fraction(2, 1)
    >>> evaluate("1 / (2 - 2)") is None
    True
    """
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        bits = max(left.numerator.bit_length(), left.denominator.bit_length())
        if isinstance(node.op, ast.Pow) and right.denominator == 1 and bits * abs(right) <= _MOST_BITS:
            return left ** int(right)
        if type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](left, right)
    raise ValueError(f"not arithmetic: {ast.dump(node)}")


def find_numbers(text: str) -> list[Reading]:
    """Return the numbers in a text, in figures or in words up to twelve; "5 %" is read as 5.

    >>> [str(number.value) for number in find_numbers("Three of 1,200 at 10:30, -2.5 each.")]
    ['1200', '-5/2', '3']
    """
    simple = re.sub(r"[−–]", "-", text.lower())
    figures = re.findall(rf"(?:(?<![\w)] )(?<![\w)])-)?{_NUMBER}|(?<=[$€£]){_NUMBER}|{_NUMBER}(?=[a-z°%]+)", simple)
    found = [Reading(Fraction(figure.replace(",", "")), _step(figure)) for figure in figures]
    return found + [
        Reading(Fraction(WORDS[word]), Fraction(1)) for word in re.findall(r"[a-z]+", simple) if word in WORDS
    ]


def _step(number: str) -> Fraction:
    return Fraction(1, 10 ** len(number.partition(".")[2]))


def find_calculation(text: str) -> tuple[str, frozenset[Reading]] | None:
    """Return the one calculation that a text poses, as it was read, with what it can mean; None for none or several.

    >>> find_calculation("What is 15% of 80?")[0]
    '15% * 80'
    """
    found = [
        m.group().strip()
        for m in re.finditer(_EXPRESSION, _simplified(text))
        if re.search(r"[\d%)] ?[-+*/]", m.group())
    ]
    if len(found) != 1 or _WORDS.search(found[0]):
        return None
    readings = _readings(found[0])
    return (found[0], readings) if readings else None


def _simplified(line: str) -> str:
    """Return a line with the signs of Python for those that people write."""
    line = line.lower()
    for pattern, replacement in _REWRITTEN:
        line = re.sub(pattern, replacement, line)
    return line


def find_equations(text: str) -> Iterator[Equation]:
    """Yield each calculation that has a number or another calculation behind its equals sign.

    >>> [(e.left, e.right) for e in find_equations("She has 3 boxes * 4 pens a box = 12 pens, and 12 - 2 = 10 left.")]
    [('3 * 4', '12'), ('12 - 2', '10')]
    """
    for line in text.splitlines():
        simple = _simplified(line)
        hundredfold = bool(_HUNDREDTHS.search(simple))
        for chain in _CHAIN.finditer(simple):
            before = simple[max(0, chain.start() - _LOOKED_BACK) : chain.start()]
            cut = bool(_CUT.search(before) or _SCALED.search(" ".join(re.split("[,.;:]", before)[-1].split()[-3:])))
            for number, (left, right) in enumerate(pairwise(chain.group().split("="))):
                if not (cut and number == 0) and (equation := _equation(left, right, hundredfold)):
                    yield equation


def _equation(left: str, right: str, hundredfold: bool) -> Equation | None:
    """Return the equation that two sides make; None where the left side is no calculation or a side has no value.

    A proper fraction alone is no calculation: "1/3 = 22 students" says what a third is.
    """
    if _SCALED.search(left):
        return None
    left, right = (" ".join(_WORDS.sub("", side).split()) for side in (left, right))
    share = _SHARE.fullmatch(left)
    if not re.search(r"[\d%)] ?[-+*/]", left) or (share and int(share[1]) < int(share[2])):
        return None
    expected = _readings(left) | _readings(_FRACTION.sub(r"(\1)", left))
    stated = _readings(right) | _readings(re.split(r"(?<=\d) ?[-+*/]", right)[0])  # "= 420 minutes + 23 minutes = 443"
    if hundredfold:
        stated |= {Reading(reading.value * k, reading.step * k) for reading in stated for k in _HUNDRED}
    return Equation(left, right, expected, stated) if expected and stated else None


def _readings(expression: str) -> frozenset[Reading]:
    """Return what an expression can mean: 5 % is 0.05, and in some calculations 5."""
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", expression.replace(",", ""))
    plain = re.sub(rf"({_NUMBER}) ({_NUMBER}/{_NUMBER})", r"(\1+\2)", plain)
    step = max(map(_step, re.findall(_NUMBER, plain)), default=Fraction(1))
    readings = set()
    for replacement, unit in ((r"(\1/100)", _HUNDRED[1]), (r"\1", _HUNDRED[0] / 100)):
        value = evaluate(re.sub(rf"({_NUMBER}) ?%", replacement, plain))
        if value is not None:
            readings.add(Reading(value, step * unit if "%" in plain else step))
    return frozenset(readings)
