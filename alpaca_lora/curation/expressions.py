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

from alpaca_lora.curation.numerals import DOTTED, NUMBER, Reading, agree, step_of

__all__ = ["OTHER_ARITHMETIC", "Equation", "evaluate", "find_calculation", "find_equations"]

_UNIT = r"(?:[ ]?(?!(?:x|plus|minus|times|and)\b)(?:[a-z]{2,}|a)(?:['’/-][a-z]+)*\.?(?![a-z(])){0,8}+"
_TERM = rf"(?:(?:\([ ]?){{0,20}}+(?:{NUMBER}[ ]{NUMBER}/)?{NUMBER}[ ]?%?{_UNIT}(?:[ ]?\))*+)"
_EXPRESSION = rf"{_TERM}(?:[ ]?(?:\*\*|[-+*/])[ ]?{_TERM}){{0,50}}+"
"""Digits, brackets and terms are bounded, or a page of them would take minutes and end in a number of thousands."""

_CHAIN = re.compile(rf"-?{_EXPRESSION}(?:[ ]?=[ ]?-?{_EXPRESSION})+")
_CUT = re.compile(
    r"(?:[-+*/^%\d(√∛∜]|(?<!['’])\b[b-z])[ ]?(?:(?:of|the|his|her|their|its|those|these|all|by|remaining)[ ]?)*$"
    r"|[a-z]$"
)
_TORN = re.compile(r"(?<=\d) ?[*/^]|(?<=\d )(?:[*/^]|\d{3}\b|(?:[-+] )?[xyz]\b)")
"""What makes the number before it a part of something, as in "= 2 500" or "= 24/y"."""

_SCALED = re.compile(
    r"\b(?:half|twice|double|triple|thrice|thirds?|quarters?|fifths?|than|squared|cubed|dozen|sqrt|roots?|log|ln|exp|sin"
    r"|cos|tan|am|pm)\b"
)
OTHER_ARITHMETIC = re.compile(
    r"\b(?:mod|modulo|modulus|modular|binary|octal|hex(?:adecimal)?|base[- ](?:\d+|two|eight|sixteen))\b", re.I
)
"""Words of texts in which 7 + 8 may be 3, and 1 + 1 be 10."""

_MEASURE = re.compile(
    r"\b(?:(secs?|seconds?|min(?:ute)?s?|hours?|hrs?|days?|weeks?|months?|years?|decades?)"
    r"|((?:milli|centi|kilo)?met(?:er|re)s?|mm|cm|km|inch(?:es)?|foot|feet|ft|yards?|miles?)"
    r"|((?:milli|kilo)?grams?|mg|kg|ounces?|oz|pounds?|lbs?|tons?|tonnes?)"
    r"|((?:milli)?lit(?:er|re)s?|ml|cups?|pints?|quarts?|gallons?|t(?:ea|able)spoons?)"
    r"|(cents?|penn(?:y|ies)|nickels?|dimes?|quarters?|dollars?))\b"
)
"""Units in groups that are counted in each other, so that 1 hour + 30 minutes is not 31."""

_RESULT = re.compile(r"^[^a-z]*|(?<=[a-z]) .*")
"""What stands around the first word of a result."""

_HUNDREDTHS = re.compile(r"\bcents?\b|¢|\bpercent")
_HUNDRED = (Fraction(100), Fraction(1, 100))
_WORDS = re.compile(r"/?[a-z]+(?:['’/-][a-z]+)*\.?")
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


def find_calculation(text: str) -> tuple[str, frozenset[Reading]] | None:
    """Return the one calculation that a text poses, as it was read, with what it can mean; None for none or several.

    >>> find_calculation("What is 15% of 80?")[0]
    '15% * 80'
    """
    found = [
        m.group().strip()
        for m in re.finditer(rf"{_EXPRESSION}(?! ?[-+*/^(!√])", _simplified(text))
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
            links = list(pairwise(chain.group().split("=")))
            whole = links[int(cut) : len(links) - bool(_TORN.match(simple, chain.end()))]
            yield from filter(None, (_equation(left, right, hundredfold) for left, right in whole))


def _equation(left: str, right: str, hundredfold: bool) -> Equation | None:
    """Return the equation that two sides make; None where the left side is no calculation or a side has no value.

    A proper fraction alone is no calculation: "1/3 = 22 students" says what a third is. Zeros and ones may be binary.
    """
    if _SCALED.search(left) or _mixes_measures(left, right) or not re.search("[2-9]", left + right):
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


def _mixes_measures(left: str, right: str) -> bool:
    """Return whether different units of one kind are added up, or the result is in another one than the calculation."""
    terms = [_measures(term) for term in re.split("[-+]", left)]
    added = {measures[-1] if measures else None for measures in terms}
    kinds = [measure[0] for measure in added if measure]
    known = {measure for measures in terms for measure in measures}
    dollars_and_cents = None in added and (5, "cent") in added
    converted = any(
        (kind, unit) not in known for kind, unit in _measures(_RESULT.sub("", right)) if kind in dict(known)
    )
    return dollars_and_cents or converted or len(kinds) > len(set(kinds))


def _measures(text: str) -> list[tuple[int, str]]:
    """Return the units in a text as the number of their group and their first four letters, which plurals share."""
    return [(int(found.lastindex or 0), found.group()[:4]) for found in _MEASURE.finditer(text)]


def _readings(expression: str) -> frozenset[Reading]:
    """Return what an expression can mean: 5 % is 0.05, or 5, or of what it is added to; 1.500 may be 1500 in German."""
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", expression.replace(",", ""))
    plain = re.sub(rf"({NUMBER}) ({NUMBER}/{NUMBER})", r"(\1+\2)", plain)
    readings = set()
    for text in {plain, DOTTED.sub(lambda found: found.group().replace(".", ""), plain)}:
        step = max(map(step_of, re.findall(NUMBER, text)), default=Fraction(1))
        meant = {
            (re.sub(rf"({NUMBER}) ?%", r"(\1/100)", text), step / 100 if "%" in text else step),
            (re.sub(rf"({NUMBER}) ?%", r"\1", text), step),
            (re.sub(rf"^([^%]+?) ?([-+]) ?({NUMBER}) ?%$", r"(\1)*(1\2\3/100)", text), step),
        }
        readings |= {Reading(value, least) for one, least in meant if (value := evaluate(one)) is not None}
    return frozenset(readings)
