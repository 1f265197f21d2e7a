"""Answers that can be worked out: calculations, figures of a list, conversions of units, and the calendar.

Each check abstains where it does not understand the question, or where the answer names no number at all. An answer is
right if the number is among those it names, so that worked steps do no harm; it is wrong if it names only others.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from statistics import mean, median

from alpaca_lora.curation.expressions import OTHER_ARITHMETIC, find_calculation, find_equations
from alpaca_lora.curation.numerals import Reading, agree, find_answers, find_numbers
from alpaca_lora.curation.rule import Rule, Verdict
from alpaca_lora.records import Record

__all__ = ["QUANTITIES", "judge"]

_ASKS = re.compile(
    r"\W*(?:please|calculate|compute|evaluate|what|what's|whats|is|are|the|value|of|find|out|solve"
    r"|result|answer|following|this|given|"
    r"(?:mathematical |arithmetic |math |maths |numerical |algebraic )?(?:expression|equation|problem"
    r"|operation|calculation|question|sum|product|difference|quotient)|"
    r"determine|work|simplify|how|much|to|equal|equals|perform|do|add|multiply|subtract|divide|total"
    r"|in|numbers?|evaluate|correct|and|give|for|me|tell|can|you|percent|percentage)\W*",
    re.I,
)
_CALCULATION = re.compile(
    r"[\d$€£(][\d\s$€£().,%+*/×÷·^xX−–-]*(?:\b(?:plus|minus|times|divided by|multiplied by"
    r"|of)\b[\d\s$€£().,%+*/×÷·^xX−–-]*)*"
)
_LIST = re.compile(r"(?<![\w.])-?\d[\d.,]*(?:(?:\s*+[,;]\s*+|\s++)(?:and\b\s*+)?-?\d[\d.,]*)+")
_FIGURES: dict[str, tuple[str, Callable[[Sequence[Fraction]], Fraction]]] = {
    "sum": (r"\b(?:sum|total|add)\b", lambda numbers: sum(numbers, Fraction(0))),
    "mean": (r"\b(?:average|mean)\b", lambda numbers: mean(numbers)),
    "median": (r"\bmedian\b", lambda numbers: median(numbers)),
    "mode": (r"\bmode\b", lambda numbers: _mode(numbers)),
    "largest": (r"\b(?:largest|maximum|biggest|highest|greatest)\b(?! common)", max),
    "smallest": (r"\b(?:smallest|minimum|lowest)\b", min),
    "range": (r"\brange\b", lambda numbers: max(numbers) - min(numbers)),
    "product": (r"\b(?:product|multiply)\b", lambda numbers: math.prod(numbers, start=Fraction(1))),
    "greatest common divisor": (
        r"\b(?:greatest|highest) common (?:factor|divisor)|\bgcd\b|\bgcf\b|\bhcf\b",
        lambda n: Fraction(math.gcd(*map(_whole, n))),
    ),
    "least common multiple": (
        r"\b(?:least|lowest|smallest) common (?:multiple|denominator)|\blcm\b",
        lambda n: Fraction(math.lcm(*map(_whole, n))),
    ),
}
_OTHER_WORK = re.compile(
    r"\b(?:function|program|code|script|algorithm|write|explain|sql|query|sort|order|deviation"
    r"|variance|squares?|even|odd|weighted|and the|between|second|third|consecutive|prime|factors"
    r"|binary|octal|hex\w*|difference|percentage|percent|if|each|every|per|digits?|two)\b",
    re.I,
)
_UNREAD = re.compile(
    r"\b(?:minus|negative|dozens?|hundreds?|thousands?|[a-z]*illions?|half|halves|thirds?|quarters?"
    r"|(?:fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|hundredth)s?)\b"
    r"|\d(?: ?\^| ?\*\*|[²³⁰-⁹]|e[-+]?\d)|\\[dt]?frac",
    re.I,
)
"""Numbers that `find_answers` does not read, or reads in part."""


def judge(record: Record, accepted: Iterable[Fraction], asked: str) -> Verdict | None:
    """Compare the numbers in an answer with those that are right.

    Args:
        record: its output is judged.
        accepted: every value that the question can mean; an answer may round it.
        asked: what was worked out, for the detail.

    Returns:
        The verdict; None where the answer names no number, or none that is right and one that cannot be read.
    """
    values = list(accepted)
    said = find_answers(record.output, f"{record.instruction} {record.input}")
    if not said or not values:
        return None
    named = ", ".join(dict.fromkeys(_written(number.value) for number in said[:6]))
    ok = any(agree(value, number) or _close(value, number) for value in values for number in said)
    if not ok and _UNREAD.search(record.output):
        return None
    return Verdict(ok, f"{asked} is {' or '.join(dict.fromkeys(map(_written, values)))}; the output says {named}")


def _close(value: Fraction, number: Reading) -> bool:
    """Accept what differs by rounding inside a calculation: half a percent, where the value is no whole number."""
    return value.denominator > 1 and abs(value - number.value) <= abs(value) / 200


def _written(value: Fraction) -> str:
    if abs(value) > 10**30:
        return "a number of more than 30 digits"
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"


def _arithmetic(record: Record) -> Verdict | None:
    """Recompute every equation in the answer but those that the task gave."""
    task = f"{record.instruction}\n{record.input}"
    if "```" in record.output or OTHER_ARITHMETIC.search(f"{task}\n{record.output}"):
        return None
    task = task.replace(" ", "")
    equations = [e for e in find_equations(record.output) if f"{e.left}={e.right}".replace(" ", "") not in task]
    for equation in equations:
        if not equation.holds:
            expected = min(equation.expected).value
            return Verdict(False, f"{equation.left} = {equation.right} (it is {_written(expected)})")
    return Verdict(True, f"{len(equations)} equations hold") if equations else None


def _calculation(record: Record) -> Verdict | None:
    """Work out the one expression that the task consists of."""
    text = f"{record.instruction} {record.input}"
    posed = [found for found in _CALCULATION.finditer(text) if re.search(r"\d", found.group())]
    rest = _CALCULATION.sub(" ", text)
    if len(posed) != 1 or any(not _ASKS.fullmatch(word) for word in rest.split() if re.search(r"\w", word)):
        return None
    if text[: posed[0].start()].rstrip().endswith(tuple("-−–√∛∜|")):
        return None
    found = find_calculation(posed[0].group())
    return judge(record, {reading.value for reading in found[1]}, found[0]) if found else None


def _list_figure(record: Record) -> Verdict | None:
    """Work out the sum, mean, median … of the numbers that the task lists."""
    asked = [name for name, (pattern, _) in _FIGURES.items() if re.search(pattern, record.instruction, re.I)]
    if len(asked) != 1 or _OTHER_WORK.search(record.instruction):
        return None
    text = record.input if re.search(r"\d", record.input) else record.instruction
    listed = _LIST.findall(text)
    if len(listed) != 1:
        return None
    if re.search(
        r"[^\W\d_]{2,}", re.sub(r"\b(?:and|numbers?|list|data|set|array|values)\b", "", record.input, flags=re.I)
    ):
        return None
    spaced = re.sub(r",(?=\S)", ", ", text)
    numbers = [number.value for number in find_numbers(re.sub(r",(?=\S)", ", ", listed[0]))]
    if len(numbers) < 2 or len(numbers) != len(find_numbers(spaced)) or re.search(r"\d,\d{3}(?!\d)", text):
        return None
    try:
        value = Fraction(_FIGURES[asked[0]][1](numbers))
    except ValueError:
        return None
    return judge(record, [value], f"the {asked[0]} of {', '.join(map(_written, numbers))}")


def _whole(number: Fraction) -> int:
    if number.denominator != 1:
        raise ValueError("whole numbers only")
    return int(number)


def _mode(numbers: Sequence[Fraction]) -> Fraction:
    (value, most), *others = Counter(numbers).most_common(2)
    if others and others[0][1] == most:
        raise ValueError("no single mode")
    return value


QUANTITIES = (
    Rule(
        name="arithmetic",
        severity="error",
        about="has a wrong equation in its answer",
        fix="Correct the equation, and what follows from it.",
        check=_arithmetic,
        computes=True,
        fixture=Record("How many pens are in 3 boxes of 4?", "", "There are 3 * 4 = 13 pens."),
    ),
    Rule(
        name="calculation",
        severity="error",
        about="gives a wrong result for the calculation that it poses",
        fix="Correct the answer.",
        check=_calculation,
        computes=True,
        fixture=Record("What is 15% of 80?", "", "It is 15."),
    ),
    Rule(
        name="list_figure",
        severity="error",
        about="gives a wrong sum, mean, median, … of the numbers that it lists",
        fix="Correct the answer.",
        check=_list_figure,
        computes=True,
        fixture=Record("Find the median of these numbers.", "3, 9, 4", "9"),
    ),
)
"""AlpacaDataCleaned's class 8, wrong answers, where the right one can be computed."""
