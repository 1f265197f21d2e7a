"""Obligations on the form of an answer: how many items, sentences or words, in which letters, yes or no.

As in `quantities`, a check abstains where the task is not plainly of its kind.
"""

import re

from alpaca_lora.curation.numerals import SPELLED, find_numbers
from alpaca_lora.curation.rule import Rule, Verdict
from alpaca_lora.records import Record

__all__ = ["FORMS", "count_sentences"]

_NUMBER = rf"(?<!\d[.,])((?>\d{{1,4}}|(?:{SPELLED})\b))"
_LISTS = re.compile(
    rf"^\W*(?:please |can you )?(?:list|name|give|provide|suggest|generate|create|identify|mention"
    rf"|write|come up with|find|describe|propose|outline|state|tell|offer|recommend|think of"
    rf"|brainstorm|make a list of|create a list of|write down|produce|compile a list of"
    rf"|generate a list of|provide a list of)(?: me| us)?(?: (?:a|the) (?:list of|top"
    rf"|best))?(?: at least| up to| any| the| the top| exactly)? {_NUMBER} (?!(?:words?|sentences?"
    rf"|paragraphs?|lines?|stanzas?|verses?|letters?|characters?|syllables?|pages?|minutes?|hours?"
    rf"|days?|percent|dollars|people|hundreds?\b|thousands?\b|dozens?\b|or\b|to\b|and\b|-))[a-z-]+",
    re.I,
)
_OF_EACH = re.compile(
    r"\b(?:each|every|per|hundred)\b"
    r"|\w{3}s,? (?:of|with) (?:under|no|not|at|fewer|less|up|max\w*)\b|\w{3}s,? under \d",
    re.I,
)
"""Limits that hold for each part of the answer, and numbers that are read in part only."""

_NUMBERED = re.compile(r"^ {0,3}(\d{1,2})[.)] ?\S", re.M)
_BULLET = re.compile(r"( *)[-*•–](?![-*]) ?\S")
_PROSE = re.compile(
    r"\b(?:in|using|with|as|into) (?:(?:exactly|only|just) )?(?:a |an )?(?:single )?"
    + _NUMBER
    + r"[ -](sentence|word|paragraph)s?\b|\b(?:write|create|compose|generate|give|provide|construct"
    r"|form|make)(?: me)? (?:exactly )?(?:an? )?" + _NUMBER + r"[ -](sentence|paragraph)s?\b",
    re.I,
)
_AT_MOST = re.compile(
    r"\b(?:in|with|using|within)? ?(?:under|no more than|at most|fewer than|less than|maximum of"
    rf"|max\.?|up to|within|not exceed(?:ing)?|no longer than) (?:a )?{_NUMBER} words\b"
    rf"|\b{_NUMBER} words (?:or less|or fewer|maximum|max|at most)\b",
    re.I,
)
_AT_LEAST = re.compile(
    rf"\b(?:at least|minimum of|no fewer than|not less than) {_NUMBER} words\b|\b{_NUMBER} words (?:or more|minimum)\b",
    re.I,
)
_UNCLEAR_END = re.compile(
    r"\b(?:[A-Z]|[Mm]rs?|[Dd]r|[Ss]t|e\.g|i\.e|etc|vs|approx|[Nn]o|[Pp]rof|[Jj]r|[Ss]r|Inc|[ap]\.m"
    r"|U\.S)\.|\.\.\.|…|\d\.\d|[\"“”]|[.!?][)\]]|;"
)
_MOST_EXACT_WORDS = 12
"""A number of words beyond which "in 50 words" is taken for a rough one."""

_SENTENCE_END = re.compile(r"[.!?]+(?=\s+\S|\s*$)")
_CAPITALS = re.compile(
    r"\b(?:in|to|into|using|with) (?:all[- ])?(?:caps|capitals?|capital letters|upper ?case|uppercase letters)\b", re.I
)
_SMALL = re.compile(r"\b(?:in|to|into|using|with) (?:all[- ])?(?:lower ?case|small letters|lowercase letters)\b", re.I)
_YES_NO = re.compile(
    r"\b(?:answer|respond|reply)(?: (?:the|this|each) (?:following )?(?:question|statement))?(?: only"
    r"| simply)? (?:with )?(?:only )?(?:a )?(?:simple )?['\"]?(yes|true)['\"]? ?(?:or|/) ?['\"]?(no"
    r"|false)\b",
    re.I,
)


def _number(text: str) -> int:
    return int(find_numbers(text)[0].value)


def _list_length(record: Record) -> Verdict | None:
    """Count the items of a list whose length the task sets."""
    found = _LISTS.search(record.instruction)
    others = re.findall(rf"\b{_NUMBER}\b", record.instruction, re.I)
    if found is None or len(others) > 1 or "```" in record.output:
        return None
    wanted = _number(found[1])
    numbers = [int(number) for number in _NUMBERED.findall(record.output)]
    listed = len(numbers) if numbers == list(range(1, len(numbers) + 1)) else 0
    listed = listed or (0 if numbers or "\n\n" in record.output.strip() else _bullets(record.output))
    if listed < 2 or wanted < 2:
        return None
    least, most = (
        re.search(r"at least|or more|minimum", record.instruction, re.I),
        re.search(r"up to|at most|maximum", record.instruction, re.I),
    )
    ok = listed >= wanted if least else listed <= wanted if most else listed == wanted
    return Verdict(ok, f"{wanted} wanted, {listed} listed")


def _bullets(output: str) -> int:
    """Count the items of the one list with bullets; 0 where other lines or deeper bullets divide it."""
    lines = output.strip("\n").splitlines()
    marked = [(place, found[1]) for place, line in enumerate(lines) if (found := _BULLET.match(line))]
    apart = marked and (marked[-1][0] - marked[0][0] >= len(marked) or len({indent for _, indent in marked}) > 1)
    return 0 if apart else len(marked)


def _length(record: Record) -> Verdict | None:
    """Count the sentences, words or paragraphs of an answer whose length the task sets."""
    output, words = record.output.strip(), len(record.output.split())
    if not output or "```" in output or _OF_EACH.search(record.instruction):
        return None
    if found := _AT_MOST.search(record.instruction):
        limit = _number(found[1] or found[2])
        return Verdict(words <= limit, f"at most {limit} words wanted, {words} written")
    if found := _AT_LEAST.search(record.instruction):
        limit = _number(found[1] or found[2])
        return Verdict(words >= limit, f"at least {limit} words wanted, {words} written")
    asked = _PROSE.findall(record.instruction)
    if len(asked) != 1 or re.search(
        r"\b(?:or two|to two|or three|to three|or more|-\d|each|every|at least|about \w+ (?:words|sentences"
        r"|paragraphs)|following|this"
        r"|these|given|the \w+ sentences?)\b",
        record.instruction,
        re.I,
    ):
        return None
    wanted, unit = _number(asked[0][0] or asked[0][2]), (asked[0][1] or asked[0][3]).lower()
    number = {"sentence": count_sentences(output), "word": words, "paragraph": _paragraphs(output)}[unit]
    if number is None or (unit == "word" and wanted > _MOST_EXACT_WORDS):
        return None
    return Verdict(number == wanted, f"{wanted} {unit}s wanted, {number} written")


def count_sentences(text: str) -> int | None:
    """Count sentences; None where full stops may mean something else."""
    return None if "\n" in text or _UNCLEAR_END.search(text) else max(1, len(_SENTENCE_END.findall(text)))


def _paragraphs(text: str) -> int | None:
    blocks = [block for block in re.split(r"\n\s*\n", text) if block.strip()]
    return (
        None
        if re.search(r"^ *(?:[-*•#]|\d+[.)])", text, re.M) or any("\n" in block.strip() for block in blocks)
        else len(blocks)
    )


def _letter_case(record: Record) -> Verdict | None:
    """Look at the letters of an answer that shall be in capitals or in small letters."""
    capitals, small = _CAPITALS.search(record.instruction), _SMALL.search(record.instruction)
    letters = [letter for letter in record.output if letter.isalpha() and letter.lower() != letter.upper()]
    if bool(capitals) == bool(small) or not letters or "```" in record.output:
        return None
    if re.search(
        r"\b(?:function|program|code|script|word|first letter|letters? of|from|if|count|how|why"
        r"|sentence case|title case|method)\b",
        record.instruction,
        re.I,
    ):
        return None
    amiss = [letter for letter in letters if (letter.islower() if capitals else letter.isupper())]
    return Verdict(not amiss, f"{len(amiss)} of {len(letters)} letters are not {'capitals' if capitals else 'small'}")


def _closed_answer(record: Record) -> Verdict | None:
    """Look whether an answer that shall be yes or no begins with one of them."""
    found = _YES_NO.search(record.instruction)
    if found is None or not record.output.strip():
        return None
    allowed = {found[1].lower(), found[2].lower()}
    words = re.findall(r"\w+", record.output.lower())
    if not words or (words[0] not in allowed and allowed & {*words}):  # "The answer is yes."
        return None
    return Verdict(
        words[0] in allowed, f"{' or '.join(sorted(allowed))} wanted, {record.output.strip()[:30]!r} written"
    )


FORMS = (
    Rule(
        name="list_length",
        severity="error",
        about="lists more or fewer things than it was asked for",
        fix="Complete or shorten the list, or change the number.",
        check=_list_length,
        computes=True,
        fixture=Record("Name three colours.", "", "1. Red\n2. Blue"),
    ),
    Rule(
        name="answer_length",
        severity="error",
        about="has an answer of another length than the task sets",
        fix="Shorten or complete the answer, or change the task.",
        check=_length,
        computes=True,
        fixture=Record("Describe the sea in one sentence.", "", "It is wide. It is deep."),
    ),
    Rule(
        name="letter_case",
        severity="error",
        about="has small letters where capitals were asked for, or the reverse",
        fix="Correct the answer.",
        check=_letter_case,
        computes=True,
        fixture=Record("Write a greeting in all caps.", "", "Good morning!"),
    ),
    Rule(
        name="closed_answer",
        severity="error",
        about="answers a question for yes or no with something else",
        fix="Correct the answer.",
        check=_closed_answer,
        computes=True,
        fixture=Record("Is the sea wide? Answer yes or no.", "", "The sea is wide."),
    ),
)
"""Answers that do not do what the task demands of their form."""
