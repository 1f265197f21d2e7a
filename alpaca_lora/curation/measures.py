"""Conversions of units, and the calendar: answers that a table or the standard library knows."""

import calendar
import re
from dataclasses import replace
from datetime import date
from fractions import Fraction

from alpaca_lora.curation.numerals import Reading, find_numbers
from alpaca_lora.curation.quantities import judge
from alpaca_lora.curation.rule import Rule, Verdict
from alpaca_lora.records import Record

__all__ = ["MEASURES"]

_SIZES: dict[str, dict[str, str]] = {
    "length": {
        "mm|millimet(?:er|re)s?": "1/1000",
        "cm|centimet(?:er|re)s?": "1/100",
        "m|met(?:er|re)s?": "1",
        "km|kilomet(?:er|re)s?": "1000",
        "in|inch(?:es)?": "0.0254",
        "ft|feet|foot": "0.3048",
        "yd|yards?": "0.9144",
        "mi|miles?": "1609.344",
    },
    "mass": {
        "mg|milligrams?": "1/1000",
        "g|grams?": "1",
        "kg|kilograms?|kilos?": "1000",
        "oz|ounces?": "28.349523125",
        "lbs?|pounds?": "453.59237",
        "stones?": "6350.29318",
    },
    "volume": {
        "ml|millilit(?:er|re)s?": "1/1000",
        "l|lit(?:er|re)s?": "1",
        "teaspoons?|tsp": "0.00492892159375",
        "tablespoons?|tbsp": "0.01478676478125",
        "fluid ounces?": "0.0295735295625",
        "cups?": "0.2365882365",
        "pints?": "0.473176473",
        "quarts?": "0.946352946",
        "gallons?": "3.785411784",
    },
    "time": {
        "seconds?|secs?": "1",
        "minutes?|mins?": "60",
        "hours?|hrs?": "3600",
        "days?": "86400",
        "weeks?": "604800",
    },
    "speed": {
        "mph|miles per hour": "0.44704",
        "km/h|kmh|kph|kilomet(?:er|re)s per hour": "5/18",
        "m/s|met(?:er|re)s per second": "1",
    },
}
"""Names of units, as a pattern, and their size in metres, grams, litres (US measures), seconds, metres per second."""

_UNIT_NAMES = "|".join(sorted((names for units in _SIZES.values() for names in units), key=len, reverse=True))
_DEGREES = r"(?:°|degrees?)? ?(celsius|c|fahrenheit|f|kelvin|k)"
_CONVERT = re.compile(
    rf"((?:-|(?<![\d.,/ ]))[\d.,/ ]*\d) ?({_UNIT_NAMES})\b"
    rf"(?: is)?(?: equal)?(?: to| into| in| as) (?:an? )?({_UNIT_NAMES})\b",
    re.I,
)
_HOW_MANY = re.compile(
    rf"how many ({_UNIT_NAMES}) (?:are |is )?(?:there )?(?:equal |equivalent )?(?:in|to"
    rf"|make(?: up)?) (an?|one|[\d.,]*\d) ({_UNIT_NAMES})\b",
    re.I,
)
_TEMPERATURE = re.compile(
    rf"((?:-|(?<![\d.]))(?:\d{{1,300}}(?:\.\d{{1,300}})?|\.\d{{1,300}})) ?{_DEGREES}\b (?:to|into|in) {_DEGREES}\b",
    re.I,
)


def _unit_conversion(record: Record) -> Verdict | None:
    """Convert the quantity that the task names; US measures for volumes."""
    text = f"{record.instruction} {record.input}".strip()
    if len(text.split()) > 25 or re.search(r"\b(?:function|program|code|script|formula|and|then)\b", text, re.I):
        return None
    if (found := _posed(_TEMPERATURE, text)) is not None:
        value = _degrees(Fraction(found[1]), found[2][0].lower(), found[3][0].lower())
        return judge(record, [value], found.group())
    if (found := _posed(_CONVERT, text)) is not None:
        amount, source, target = find_numbers(found[1]), found[2], found[3]
    elif (found := _posed(_HOW_MANY, text)) is not None:
        amount, source, target = find_numbers(found[2]) or [Reading(Fraction(1), Fraction(1))], found[3], found[1]
    else:
        return None
    for units in _SIZES.values():
        sizes = [
            Fraction(size)
            for name in (source, target)
            for names, size in units.items()
            if re.fullmatch(names, name, re.I)
        ]
        if len(sizes) == 2 and len(amount) == 1:
            return judge(record, [amount[0].value * sizes[0] / sizes[1]], found.group().strip())
    return None


def _posed(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Return where a text asks for a conversion; None where it has numbers besides, as in "5 feet 10 inches to cm"."""
    found = pattern.search(text)
    beside = found and find_numbers(f"{text[: found.start()]} , {text[found.end() :]}")
    return None if beside else found


def _degrees(value: Fraction, source: str, target: str) -> Fraction:
    celsius = {"c": value, "f": (value - 32) * 5 / 9, "k": value - Fraction("273.15")}[source]
    return {"c": celsius, "f": celsius * 9 / 5 + 32, "k": celsius + Fraction("273.15")}[target]


_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_MONTH = "|".join(_MONTHS)
_DATE = re.compile(
    rf"\b(?:(?P<m>{_MONTH}) (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y>\d{{4}})|(?P<d2>\d{{1,2}})(?:st"
    rf"|nd|rd|th)? (?:of )?(?P<m2>{_MONTH}),? (?P<y2>\d{{4}})"
    rf"|(?P<y3>\d{{4}})-(?P<m3>\d\d)-(?P<d3>\d\d))\b",
    re.I,
)
_WEEKDAYS = re.compile("|".join(calendar.day_name), re.I)
_SHIFTED = re.compile(r"\b(?:after|before|from|later|ago|earlier|next|follow\w*|previous|prior)\b", re.I)
_SOME_DAYS = re.compile(r"\b(?:business|work|week|school|trading|exclud)", re.I)
_FIRST_YEAR = 1753
"""The first whole year of the Gregorian calendar in Britain and its colonies; an earlier date may be Julian."""

_LEAP = re.compile(
    r"\bis (?:the year )?(\d{4}) a leap year|\bwas (?:the year )?(\d{4}) a leap year"
    r"|\b(?:year )?(\d{4}) (?:is|was) a leap year",
    re.I,
)


def _dates(text: str) -> list[date]:
    found = []
    for match in _DATE.finditer(text):
        year, month, day = (match[part] or match[f"{part}2"] or match[f"{part}3"] for part in "ymd")
        try:
            found.append(date(int(year), _MONTHS.get(month.lower()) or int(month), int(day)))
        except ValueError:
            continue
    return found


def _calendar(record: Record) -> Verdict | None:
    """Work out weekdays, leap years and the days between two dates."""
    text = f"{record.instruction} {record.input}"
    days = _dates(text)
    if any(day.year < _FIRST_YEAR for day in days):
        return None
    asks_day = re.search(r"\b(?:what|which) (?:day of the week|weekday|day)\b", text, re.I)
    if asks_day and len(days) == 1 and not _SHIFTED.search(text):
        said = {name.capitalize() for name in _WEEKDAYS.findall(record.output)}
        right = calendar.day_name[days[0].weekday()]
        return (
            Verdict(right in said, f"{days[0]} is a {right}; the output says {', '.join(sorted(said))}")
            if said
            else None
        )
    if (
        re.search(r"\bdays\b.{0,30}\bbetween\b|\bdays\b.{0,20}\bfrom\b.{0,40}\b(?:to|until)\b", text, re.I)
        and len(days) == 2
        and not _SOME_DAYS.search(text)
    ):
        number = abs((days[1] - days[0]).days)
        answer = replace(record, output=_DATE.sub(" ", record.output))
        return judge(answer, [Fraction(number), Fraction(number + 1)], f"the days from {days[0]} to {days[1]}")
    if found := _LEAP.search(text):
        year = int(found[1] or found[2] or found[3])
        said_no = re.search(r"^\W*no\b|\b(?:not|isn't|wasn't)\b|\bfalse\b", record.output, re.I)
        said_yes = re.search(r"^\W*yes\b|\b(?:is|was) a leap year|\btrue\b", record.output, re.I)
        if bool(said_no) == bool(said_yes):
            return None
        is_leap = calendar.isleap(year)
        return Verdict(is_leap == bool(said_yes), f"{year} is {'a' if is_leap else 'no'} leap year")
    return None


MEASURES = (
    Rule(
        name="unit_conversion",
        severity="error",
        about="converts a quantity wrongly",
        fix="Correct the answer.",
        check=_unit_conversion,
        computes=True,
        fixture=Record("Convert 10 miles to kilometres.", "", "10 miles are 6.2 kilometres."),
    ),
    Rule(
        name="calendar",
        severity="error",
        about="is wrong about a weekday, a leap year or the days between two dates",
        fix="Correct the answer.",
        check=_calendar,
        computes=True,
        fixture=Record("Is 1900 a leap year?", "", "Yes, 1900 is a leap year."),
    ),
)
"""Quantities of the world, for AlpacaDataCleaned's class 8."""
