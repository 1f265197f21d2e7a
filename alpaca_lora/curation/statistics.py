"""The numbers of a set: lengths, inputs, repetitions, scripts and languages, verbs and their nouns."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from alpaca_lora.curation.verbs import count_verbs, find_verb_noun
from alpaca_lora.records import Record
from alpaca_lora.records.record import FIELDS

__all__ = ["Lengths", "SetStatistics", "describe_set", "guess_language"]

_QUANTILES = (0.05, 0.5, 0.95)
_STOP_WORDS = {
    "English": "the of and to is in that it for are with as you this be what how",
    "German": "der die das und ist nicht ein eine mit für auf dem den von zu wie sich",
    "French": "le la les des est et une dans que pour du qui pas sur avec au plus",
    "Spanish": "el los las que una por con para es del se como más su lo y",
    "Portuguese": "o os uma que não para com do da em um dos são mais como ao",
    "Italian": "il gli che di una per non con del della è sono nel come più si",
    "Dutch": "de het een van en is dat niet op te met voor zijn aan er ook",
    "Polish": "w i na się nie jest z że do co jak to po dla od",
    "Turkish": "bir ve bu için ile da de ne olarak daha çok gibi en",
    "Indonesian": "yang dan di untuk dengan ini itu dari pada adalah tidak ke",
    "Vietnamese": "và của là có cho một được trong không các để với những",
}
"""Common words; the language of a Latin text is the one with most of them, if it has two at least."""

_COMMON = {
    language: frozenset(word for word in words.split() if len(word) > 1) for language, words in _STOP_WORDS.items()
}
_FEWEST_COMMON = 2
_SCRIPTS = (
    "LATIN",
    "CYRILLIC",
    "GREEK",
    "ARABIC",
    "HEBREW",
    "DEVANAGARI",
    "THAI",
    "HANGUL",
    "HIRAGANA",
    "KATAKANA",
    "CJK",
)
_SAMPLED_LETTERS = 400


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the texts of a field are, in words between blanks; empty ones are left out."""

    count: int
    mean: float
    low: int
    """5 % are shorter."""

    median: int
    high: int
    """5 % are longer."""

    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStatistics:
    """A set of records in numbers."""

    records: int
    with_input: int
    exact_duplicates: int
    """Records that are letter for letter an earlier one."""

    repeated_tasks: int
    """Records whose instruction and input an earlier one has."""

    lengths: dict[str, Lengths]
    """By field."""

    languages: dict[str, int]
    """Records by language, or by script where it is not Latin; "not told" where too few common words are in it."""

    with_verb: int
    """Instructions that begin with a known verb that has a noun."""

    verbs: dict[str, dict[str, int]]
    """The four most frequent nouns of the twenty most frequent verbs."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        fields = {
            name: {part: getattr(lengths, part) for part in Lengths.__slots__} for name, lengths in self.lengths.items()
        }
        return plain | {"lengths": fields}


def describe_set(records: Sequence[Record]) -> SetStatistics:
    """Count and measure a set of records.

    Args:
        records: at least one.
    """
    tasks = Counter((record.instruction, record.input) for record in records)
    whole = Counter((record.instruction, record.input, record.output) for record in records)
    verbs = [find_verb_noun(record.instruction) for record in records]
    languages = Counter(guess_language(f"{r.instruction}\n{r.input}\n{r.output}") for r in records)
    return SetStatistics(
        records=len(records),
        with_input=sum(bool(record.input.strip()) for record in records),
        exact_duplicates=len(records) - len(whole),
        repeated_tasks=len(records) - len(tasks),
        lengths={
            field: lengths
            for field in FIELDS
            if (lengths := _measure(len(getattr(record, field).split()) for record in records))
        },
        languages=dict(languages.most_common()),
        with_verb=sum(bool(verb and verb[1]) for verb in verbs),
        verbs=count_verbs(verbs),
    )


def _measure(words: Iterable[int]) -> Lengths | None:
    ordered = sorted(number for number in words if number)
    if not ordered:
        return None
    low, median, high = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in _QUANTILES)
    return Lengths(len(ordered), round(mean(ordered), 1), low, median, high, ordered[-1])


def guess_language(text: str) -> str:
    """Return the language of a text by its script and its common words.

    It tells eleven languages in Latin letters apart where the text has a sentence or more. Code and names are "not
    told".

    >>> guess_language("What is the capital of France?")
    'English'
    >>> guess_language("Wie heißt die Hauptstadt von Frankreich und wo ist sie?")
    'German'
    >>> guess_language("Столица Франции")
    'Cyrillic'
    """
    letters = [letter for letter in text[: 4 * _SAMPLED_LETTERS] if letter.isalpha()][:_SAMPLED_LETTERS]
    scripts = Counter(unicodedata.name(letter, "").partition(" ")[0] for letter in letters)
    script = max(_SCRIPTS, key=lambda name: scripts[name])
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > len(letters) // 10:
        return "Japanese"
    if not scripts[script] or script != "LATIN":
        return (
            {"CJK": "Chinese", "HANGUL": "Korean"}.get(script, script.capitalize()) if scripts[script] else "not told"
        )
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    score = {language: sum(words[word] for word in common) for language, common in _COMMON.items()}
    best = max(score, key=lambda language: score[language])
    return best if score[best] >= _FEWEST_COMMON else "not told"
