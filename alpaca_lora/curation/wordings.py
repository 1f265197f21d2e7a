"""Obligations that a task puts on the wording of its answer: counts, order, length, letters; each can be checked.

As in `quantities`, a check abstains where the task is not plainly of its kind.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

from alpaca_lora.curation.expressions import WORDS
from alpaca_lora.curation.quantities import judge
from alpaca_lora.curation.rule import Rule, Verdict
from alpaca_lora.records import Record

__all__ = ["WORDINGS"]

_NUMBER = rf"(\d{{1,3}}|{'|'.join(WORDS)}|fifteen|twenty|thirty)"
_QUOTED = re.compile(r"[\"“]([^\"”]+)[\"”]|(?<!\w)['‘]([^'’]+)['’](?!\w)")
_COUNTED: dict[str, Callable[[str], set[int]]] = {
    r"words": lambda text: {len(text.split()), len(re.findall(r"[\w'’-]+", text)), len(re.findall(r"[\w'’]+", text))},
    r"letters": lambda text: {sum(map(str.isalpha, text))},
    r"characters": lambda text: {len(text), len(text) - sum(map(str.isspace, text))},
    r"vowels": lambda text: {len(re.findall("[aeiou]", text, re.I)), len(re.findall("[aeiouy]", text, re.I))},
    r"consonants": lambda text: {len(re.findall("(?![aeiou])[a-z]", text, re.I)), len(re.findall("(?![aeiouy])[a-z]", text, re.I))},
    r"sentences": lambda text: {len(re.findall(r"[.!?]+(?=\s|$|[\"”'])", text))},
}
_COUNT = re.compile(rf"\b(?:how many|(?:count|find|calculate|determine) (?:the )?(?:total )?(?:number of )?(?:the )?)\s*({'|'.join(_COUNTED)})\b", re.I)
_LETTER = re.compile(r"how many (?:times (?:does|is) )?(?:the )?(?:letters? )?['\"“‘]?(\w)['\"”’]?(?:s|'s)? (?:letters? )?(?:appears?|occurs?|used|are (?:there )?|is )?(?:in|present)", re.I)
_LIMITED = re.compile(r"\b(?:unique|different|distinct|each|more|fewer|less|longer|shorter|begin\w*|start\w*|that|which|contain\w*|with|syllables|stop|capital|repeated|function|program|code|script|write|list|sql|uppercase|lowercase)\b", re.I)
_LISTS = re.compile(rf"^\W*(?:please |can you )?(?:list|name|give|provide|suggest|generate|create|identify|mention|write|come up with|find|describe|propose|outline|state|tell|offer|recommend|think of|brainstorm|make a list of|create a list of|write down|produce|compile a list of|generate a list of|provide a list of)(?: me| us)?(?: (?:a|the) (?:list of|top|best))?(?: at least| up to| any| the| the top| exactly)? {_NUMBER} (?!(?:words?|sentences?|paragraphs?|lines?|stanzas?|verses?|letters?|characters?|syllables?|pages?|minutes?|hours?|days?|percent|dollars|people|or\b|to\b|and\b|-))[a-z-]+", re.I)
_NUMBERED = re.compile(r"^ {0,3}(\d{1,2})[.)] ?\S", re.M)
_BULLET = re.compile(r"^ {0,3}[-*•–] ?\S", re.M)
_PROSE = re.compile(r"\b(?:in|using|with|as|into) (?:(?:exactly|only|just) )?(?:a |an )?(?:single )?" + _NUMBER + r"[ -](sentence|word|paragraph)s?\b|\b(?:write|create|compose|generate|give|provide|construct|form|make)(?: me)? (?:exactly )?(?:an? )?" + _NUMBER + r"[ -](sentence|paragraph)s?\b", re.I)
_AT_MOST = re.compile(r"\b(?:in|with|using|within)? ?(?:under|no more than|at most|fewer than|less than|maximum of|max\.?|up to|within|not exceed(?:ing)?|no longer than) (?:a )?(\d{1,4}) words\b|\b(\d{1,4}) words (?:or less|or fewer|maximum|max|at most)\b", re.I)
_AT_LEAST = re.compile(r"\b(?:at least|minimum of|no fewer than|not less than) (\d{1,4}) words\b|\b(\d{1,4}) words (?:or more|minimum)\b", re.I)
_UNCLEAR_END = re.compile(r"\b(?:[A-Z]|[Mm]rs?|[Dd]r|[Ss]t|e\.g|i\.e|etc|vs|approx|[Nn]o|[Pp]rof|[Jj]r|[Ss]r|Inc|[ap]\.m|U\.S)\.|\.\.\.|…|\d\.\d|[\"“”]|[.!?][)\]]|;")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s+\S|\s*$)")
_CAPITALS = re.compile(r"\b(?:in|to|into|using|with) (?:all[- ])?(?:caps|capitals?|capital letters|upper ?case|uppercase letters)\b", re.I)
_SMALL = re.compile(r"\b(?:in|to|into|using|with) (?:all[- ])?(?:lower ?case|small letters|lowercase letters)\b", re.I)
_YES_NO = re.compile(r"\b(?:answer|respond|reply)(?: (?:the|this|each) (?:following )?(?:question|statement))?(?: only| simply)? (?:with )?(?:only )?(?:a )?(?:simple )?['\"]?(yes|true)['\"]? ?(?:or|/) ?['\"]?(no|false)\b", re.I)
_REVERSE = re.compile(r"\b(?:reverse|spell .{0,30}backwards?)\b", re.I)


def _given(record: Record) -> str | None:
    """Return the one text that a task is about: its input, or what it puts in quotes."""
    if record.input.strip():
        return record.input.strip().strip("\"“”")
    quoted = [first or second for first, second in _QUOTED.findall(record.instruction)]
    long = [text for text in quoted if len(text) > 1]
    after = record.instruction.partition(":")[2].strip()
    return long[0] if len(long) == 1 else after if not quoted and len(after) > 1 else None


def _counting(record: Record) -> Verdict | None:
    """Count words, letters, vowels … in the text that the task gives."""
    text = _given(record)
    if text is None or len(record.instruction.split()) > 30:
        return None
    if found := _LETTER.search(record.instruction):
        wanted = found[1].lower()
        return judge(record, [Fraction(text.lower().count(wanted))], f"the number of {wanted!r} in {text[:40]!r}")
    found = _COUNT.search(record.instruction)
    if found is None or _LIMITED.search(_QUOTED.sub("", record.instruction.partition(":")[0])):
        return None
    numbers = _COUNTED[found[1].lower()](text)
    return judge(record, map(Fraction, sorted(numbers)), f"the number of {found[1].lower()} in {text[:40]!r}")


_SORT = re.compile(r"\b(?:sort|arrange|order|organi[sz]e|put|rearrange|rank|alphabeti[sz]e)\b", re.I)
_WAYS = {
    "descending": r"\b(?:descending|decreasing|(?:largest|biggest|highest|greatest) to (?:the )?(?:smallest|lowest|least)|reverse)\b",
    "ascending": r"\b(?:ascending|increasing|(?:smallest|lowest|least) to (?:the )?(?:largest|biggest|highest|greatest)|numerical(?:ly)?)\b",
    "alphabetical": r"\b(?:alphabetical(?:ly)?|alphabeti[sz]e|alphabet)\b",
}


def _items(text: str) -> list[str]:
    """Return what a text lists, by lines or by commas, without numbering and quotes."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) == 1:
        line = re.sub(r"^[^:,]{0,60}:\s*", "", lines[0]).strip("[](){}.")
        lines = re.split(r"\s*[,;]\s*(?:and\s+)?|\s+and\s+", line) if re.search(r"[,;]", line) else line.split()
    cleaned = [re.sub(r"^(?:\d{1,2}[.)]\s+|[-*•]\s*)", "", line).strip(" .,;\"'“”‘’[]") for line in lines]
    return [item for item in cleaned if item]


def _sorting(record: Record) -> Verdict | None:
    """Sort what the task lists, and compare."""
    ways = [way for way, pattern in _WAYS.items() if re.search(pattern, record.instruction, re.I)]
    if not _SORT.search(record.instruction) or not ways or (len(ways) > 1 and ways != ["descending", "alphabetical"]):
        return None
    if re.search(r"\b(?:by|based on|according to|function|program|code|script|sql|letters|last names?|then)\b", record.instruction, re.I):
        return None
    text = record.input or record.instruction.partition(":")[2]
    items, said = [[item.casefold() for item in _items(part)] for part in (text, _answer_line(record.output))]
    if len(items) < 3 or len(said) < 3:
        return None
    numeric = all(re.fullmatch(r"-?\d+(?:\.\d+)?", item) for item in items)
    if not numeric and "alphabetical" not in ways:
        return None
    key: Callable[[str], object] = float if numeric and ways != ["alphabetical"] else lambda item: re.sub(r"[^\w]", "", item)
    if Counter(said) != Counter(items):
        shared = (Counter(said) & Counter(items)).total()
        lost = sorted((Counter(items) - Counter(said)).elements()) or sorted((Counter(said) - Counter(items)).elements())
        return Verdict(False, f"the lists differ in {lost[0]!r}") if shared * 3 >= len(items) * 2 else None
    right = sorted(map(key, items), reverse="descending" in ways)  # type: ignore[type-var]
    place = next((n for n, (a, b) in enumerate(zip(map(key, said), right, strict=True)) if a != b), None)
    return Verdict(place is None, f"sorted, {said[place]!r} is not number {place + 1}" if place is not None else f"{len(items)} items in order")


def _answer_line(output: str) -> str:
    """Return the part of an answer that lists: all lines of a list, else the line with most commas."""
    lines = output.strip().splitlines()
    marked = [line for line in lines if re.match(r"\s*(?:\d{1,2}[.)]\s|[-*•])", line)]
    if len(marked) >= 3 or len(lines) == 1:
        return "\n".join(marked if len(marked) >= 3 else lines)
    commas = [line for line in lines if line.count(",") >= 2]
    return commas[-1] if commas else "\n".join(line for line in lines if not line.rstrip().endswith(":"))


def _number(text: str) -> int:
    return WORDS.get(text.lower()) or {"fifteen": 15, "twenty": 20, "thirty": 30}.get(text.lower()) or int(text)


def _list_length(record: Record) -> Verdict | None:
    """Count the items of a list whose length the task sets."""
    found = _LISTS.search(record.instruction)
    others = re.findall(rf"\b{_NUMBER}\b", record.instruction, re.I)
    if found is None or len(others) > 1 or "```" in record.output:
        return None
    wanted = _number(found[1])
    numbers = [int(number) for number in _NUMBERED.findall(record.output)]
    listed = len(numbers) if numbers == list(range(1, len(numbers) + 1)) else 0
    listed = listed or (len(_BULLET.findall(record.output)) if not numbers and "\n\n" not in record.output.strip() else 0)
    if listed < 2 or wanted < 2:
        return None
    least, most = re.search(r"at least|or more|minimum", record.instruction, re.I), re.search(r"up to|at most|maximum", record.instruction, re.I)
    ok = listed >= wanted if least else listed <= wanted if most else listed == wanted
    return Verdict(ok, f"{wanted} wanted, {listed} listed")


def _length(record: Record) -> Verdict | None:
    """Count the sentences, words or paragraphs of an answer whose length the task sets."""
    output, words = record.output.strip(), len(record.output.split())
    if not output or "```" in output:
        return None
    if found := _AT_MOST.search(record.instruction):
        return Verdict(words <= int(found[1] or found[2]), f"at most {found[1] or found[2]} words wanted, {words} written")
    if found := _AT_LEAST.search(record.instruction):
        return Verdict(words >= int(found[1] or found[2]), f"at least {found[1] or found[2]} words wanted, {words} written")
    asked = _PROSE.findall(record.instruction)
    if len(asked) != 1 or re.search(r"\b(?:or two|to two|or three|to three|or more|-\d|each|every|at least|about|following|this|these|given|the \w+ sentences?)\b", record.instruction, re.I):
        return None
    wanted, unit = _number(asked[0][0] or asked[0][2]), (asked[0][1] or asked[0][3]).lower()
    counted: dict[str, Callable[[str], int | None]] = {"sentence": _sentences, "word": lambda text: len(text.split()), "paragraph": _paragraphs}
    number = counted[unit](output)
    return None if number is None or (unit == "word" and wanted > 12) else Verdict(number == wanted, f"{wanted} {unit}s wanted, {number} written")


def _sentences(text: str) -> int | None:
    """Count sentences; None where full stops may mean something else."""
    return None if "\n" in text or _UNCLEAR_END.search(text) else max(1, len(_SENTENCE_END.findall(text)))


def _paragraphs(text: str) -> int | None:
    blocks = [block for block in re.split(r"\n\s*\n", text) if block.strip()]
    return None if re.search(r"^ *(?:[-*•#]|\d+[.)])", text, re.M) or any("\n" in block.strip() for block in blocks) else len(blocks)


def _letter_case(record: Record) -> Verdict | None:
    """Look at the letters of an answer that shall be in capitals or in small letters."""
    capitals, small = _CAPITALS.search(record.instruction), _SMALL.search(record.instruction)
    letters = [letter for letter in record.output if letter.isalpha() and letter.lower() != letter.upper()]
    if bool(capitals) == bool(small) or not letters or "```" in record.output:
        return None
    if re.search(r"\b(?:function|program|code|script|word|first letter|letters? of|from|if|count|how|why|sentence case|title case|method)\b", record.instruction, re.I):
        return None
    amiss = [letter for letter in letters if (letter.islower() if capitals else letter.isupper())]
    return Verdict(not amiss, f"{len(amiss)} of {len(letters)} letters are not {'capitals' if capitals else 'small'}")


def _closed_answer(record: Record) -> Verdict | None:
    """Look whether an answer that shall be yes or no begins with one of them."""
    found = _YES_NO.search(record.instruction)
    if found is None or not record.output.strip():
        return None
    allowed = {found[1].lower(), found[2].lower()}
    first = re.match(r"\W*(\w+)", record.output)
    return Verdict(bool(first) and first[1].lower() in allowed, f"{' or '.join(sorted(allowed))} wanted, {record.output.strip()[:30]!r} written") if first else None


def _reversal(record: Record) -> Verdict | None:
    """Write a word or text backwards."""
    text = _given(record)
    if text is None or not _REVERSE.search(record.instruction) or re.search(r"\b(?:function|program|code|script|order|words|list|array|sentence|engineer|number|meaning|roles?)\b", record.instruction, re.I):
        return None
    if len(text.split()) > 3:
        return None
    right = text[::-1].casefold()
    return Verdict(right in record.output.casefold(), f"{text!r} backwards is {text[::-1]!r}")


WORDINGS = (
    Rule(
        name="counting",
        severity="error",
        about="counts words, letters or other characters wrongly",
        fix="Correct the answer.",
        check=_counting,
        computes=True,
        fixture=Record("How many vowels are in this word?", "banana", "There are four vowels."),
    ),
    Rule(
        name="sorting",
        severity="error",
        about="sorts a list wrongly, or loses part of it",
        fix="Correct the answer.",
        check=_sorting,
        computes=True,
        fixture=Record("Sort in alphabetical order.", "pear, apple, fig", "apple, pear, fig"),
    ),
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
    Rule(
        name="reversal",
        severity="error",
        about="writes a word backwards wrongly",
        fix="Correct the answer.",
        check=_reversal,
        computes=True,
        fixture=Record("Reverse the string.", "hello", "ollhe"),
    ),
)
"""Obligations on the form of an answer, and counts and orders that can be redone."""
