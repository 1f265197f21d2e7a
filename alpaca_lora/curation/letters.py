"""What can be counted, sorted or turned round in the text that a task gives, and so be done again.

As in `quantities`, a check abstains where the task is not plainly of its kind.
"""

import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from alpaca_lora.curation.forms import count_sentences
from alpaca_lora.curation.quantities import judge
from alpaca_lora.curation.rule import Rule, Verdict
from alpaca_lora.records import Record

__all__ = ["LETTERS"]

_QUOTED = re.compile(r"[\"“]([^\"”]+)[\"”]|(?<!\w)['‘]([^'’]+)['’](?!\w)")
_COUNTED: dict[str, Callable[[str], set[int]]] = {
    r"words": lambda text: {len(text.split()), len(re.findall(r"[\w'’-]+", text)), len(re.findall(r"[\w'’]+", text))},
    r"letters": lambda text: {sum(map(str.isalpha, text))},
    r"characters": lambda text: {len(text), len(text) - sum(map(str.isspace, text))},
    r"vowels": lambda text: {len(re.findall("[aeiou]", text, re.I)), len(re.findall("[aeiouy]", text, re.I))},
    r"consonants": lambda text: {
        len(re.findall("(?![aeiou])[a-z]", text, re.I)),
        len(re.findall("(?![aeiouy])[a-z]", text, re.I)),
    },
    r"sentences": lambda text: {number} if (number := count_sentences(text)) else set(),
}
_COUNT = re.compile(
    rf"\b(?:how many|(?:count|find|calculate"
    rf"|determine) (?:the )?(?:total )?(?:number of )?(?:the )?)\s*({'|'.join(_COUNTED)})\b",
    re.I,
)
_LETTER = re.compile(
    r"how many (?:times (?:does|is) )?(?:the )?(?:letters? )?['\"“‘]?(\w)['\"”’]?(?:s"
    r"|'s)? (?:letters? )?(?:appears?|occurs?|used|are (?:there )?|is )? ?(?:in|present)",
    re.I,
)
_LIMITED = re.compile(
    r"\b(?:unique|different|distinct|each|more|fewer|less|longer|shorter|begin\w*|start\w*|that|which"
    r"|contain\w*|with|syllables|stop|capital|repeated|function|program|code|script|write|list|sql"
    r"|uppercase|lowercase)\b",
    re.I,
)
_REVERSE = re.compile(
    r"\breverse (?:(?:the|this|following|given|provided|input|letters|characters|in|of) )*"
    r"(?:words?|strings?|text|phrase|name|letters|characters|input)\b|\breverse\W*(?:$|[:\"“'‘])|\bbackwards?\b",
    re.I,
)
_SORT = re.compile(r"\b(?:sort|arrange|order|organi[sz]e|put|rearrange|rank|alphabeti[sz]e)\b", re.I)
_OTHER_ORDER = re.compile(r"[^\x00-\x7f]|\w[ -]\w|\d")
"""Items that languages and libraries sort in different ways: accents, articles, blanks, numbers."""

_WAYS = {
    "descending": r"\b(?:descending|decreasing|(?:largest|biggest|highest|greatest) to (?:the )?(?:smallest|lowest"
    r"|least)|reverse)\b",
    "ascending": r"\b(?:ascending|increasing|(?:smallest|lowest|least) to (?:the )?(?:largest|biggest|highest"
    r"|greatest)|numerical(?:ly)?)\b",
    "alphabetical": r"\b(?:alphabetical(?:ly)?|alphabeti[sz]e|alphabet)\b",
}


def _given(record: Record) -> str | None:
    """Return the one text that a task is about: its input, or what it puts in quotes."""
    if record.input.strip():
        return record.input.strip().strip('"“”')
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
    if re.search(
        r"\b(?:by|based on|according to|ignoring|except|without|regardless|function|program|code|script"
        r"|sql|letters|last names?|then|duplicates?|unique|distinct)\b",
        record.instruction,
        re.I,
    ):
        return None
    text = record.input or record.instruction.partition(":")[2]
    items, said = [[item.casefold() for item in _items(part)] for part in (text, _answer_line(record.output))]
    if len(items) < 3 or len(said) < 3:
        return None
    numeric = all(re.fullmatch(r"-?\d+(?:\.\d+)?", item) for item in items)
    if not numeric and ("alphabetical" not in ways or any(_OTHER_ORDER.search(item) for item in items)):
        return None
    key: Callable[[str], object] = (
        float if numeric and ways != ["alphabetical"] else lambda item: re.sub(r"[^\w]", "", item)
    )
    if Counter(said) != Counter(items):
        shared = (Counter(said) & Counter(items)).total()
        lost = sorted((Counter(items) - Counter(said)).elements()) or sorted(
            (Counter(said) - Counter(items)).elements()
        )
        return Verdict(False, f"the lists differ in {lost[0]!r}") if shared * 3 >= len(items) * 2 else None
    right = sorted(map(key, items), reverse="descending" in ways)  # type: ignore[type-var]
    place = next((n for n, (a, b) in enumerate(zip(map(key, said), right, strict=True)) if a != b), None)
    return Verdict(
        place is None,
        f"sorted, {said[place]!r} is not number {place + 1}" if place is not None else f"{len(items)} items in order",
    )


def _answer_line(output: str) -> str:
    """Return the part of an answer that lists: all lines of a list, else the line with most commas."""
    lines = [line for text in output.strip().splitlines() for line in re.split(r"(?<=\w)\.\s+(?=[A-Z])", text)]
    marked = [line for line in lines if re.match(r"\s*(?:\d{1,2}[.)]\s|[-*•])", line)]
    if len(marked) >= 3 or len(lines) == 1:
        return "\n".join(marked if len(marked) >= 3 else lines)
    commas = [line for line in lines if line.count(",") >= 2]
    return commas[-1] if commas else "\n".join(line for line in lines if not line.rstrip().endswith(":"))


def _reversal(record: Record) -> Verdict | None:
    """Write a word or text backwards."""
    text = _given(record)
    if (
        text is None
        or not _REVERSE.search(record.instruction)
        or re.search(
            r"\b(?:function|program|code|script|order|words|list|array|sentence|engineer|number|meaning|roles?)\b",
            record.instruction,
            re.I,
        )
    ):
        return None
    if len(text.split()) > 1:
        return None
    right, said = (re.sub(r"[\W_]", "", part.casefold()) for part in (text[::-1], record.output))
    return Verdict(right in said, f"{text!r} backwards is {text[::-1]!r}")


LETTERS = (
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
        name="reversal",
        severity="error",
        about="writes a word backwards wrongly",
        fix="Correct the answer.",
        check=_reversal,
        computes=True,
        fixture=Record("Reverse the string.", "hello", "ollhe"),
    ),
)
"""Counts and orders, for AlpacaDataCleaned's class 8."""
