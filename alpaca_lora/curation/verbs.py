"""What an instruction asks to do with what: its verb and the noun behind it, as in the Self-Instruct paper's picture.

The paper parses with spaCy, whose model is a download of its own. Here the first word is looked up among the verbs that
instructions begin with, and the noun is the last word before the noun phrase ends: at a preposition, a conjunction, a
participle, punctuation. That is right for "Write a short story about …" and counts nothing where the first word is no
known verb, as in questions. It is wrong where two nouns follow each other without a preposition ("Give the boy a name")
and it knows English only. Use it to see the shape of a set, not to label a record.
"""

import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files

__all__ = ["count_verbs", "find_verb_noun"]

_VERBS = frozenset((files("alpaca_lora.curation") / "verbs.txt").read_text(encoding="utf-8").split())
_OPENING = re.compile(
    r"^\W*(?:(?:please|kindly|now|then|first)\W+|(?:can|could|would|will) you (?:please )?|i (?:want"
    r"|need|would like) you to )*",
    re.I,
)
_WORDS = re.compile(r"[\w-]+")
_COUNTED = frozenset(_WORDS.findall("list set series number group collection variety couple pair"))
_SKIPPED = _COUNTED | frozenset(
    _WORDS.findall(
        "me us him them you the a an this that these those some any each every all both my your our their his "
        "her its out up down of at least following given below above provided new short brief simple good possible "
        "different as one two three four five ten"
    )
)
_END = re.compile(
    r"(?:about|above|after|against|and|are|as|at|based|because|before|behind|below|between|but|by|can"
    r"|containing|could|describing|during|explaining|for|from|given|has|have|how|if|in|including|into"
    r"|involving|is|like|made|of|off|on|or|over|regarding|related|should|showing|so|such|than|that"
    r"|through|to|under|until|using|via|was|were|what|when|where|whether|which|while|who|whose|why"
    r"|will|with|within|without|would|someone|used|i|we|he|she)\b|\w{3,}ing\b"
)
_WORD = re.compile(r"[a-z][a-z'’-]*|\d+|[^\w\s]", re.I)
_PLURALS = ((r"([^aeiou])ies$", r"\1y"), (r"(ss|sh|ch|x|zz)es$", r"\1"), (r"(?<![sui])s$", ""))


def find_verb_noun(instruction: str) -> tuple[str, str | None] | None:
    """Return the verb that an instruction begins with and the noun behind it; None where it begins otherwise.

    >>> find_verb_noun("Please write a short story about rain.")
    ('write', 'story')
    >>> find_verb_noun("Name three primary colours.")
    ('name', 'colour')
    >>> find_verb_noun("What is rain?") is None
    True
    """
    words = [word.lower() for word in _WORD.findall(_OPENING.sub("", instruction, count=1))[:16]]
    if not words or words[0] not in _VERBS:
        return None
    noun = None
    for word in words[1:]:
        ends = _END.fullmatch(word) or not word[0].isalnum()
        if ends and noun is None and word not in "\"'“‘([-:":
            if word in (
                "to",
                "whether",
                "if",
                "how",
                "why",
                "what",
                "that",
                "which",
                "who",
                "where",
                "when",
                ".",
                "?",
                "!",
            ):
                break
            continue
        if ends and noun not in (None, *_COUNTED):
            break
        if not ends and word not in _SKIPPED and word[0].isalpha():
            noun = word
        elif word in _COUNTED:
            noun = noun or word
    return words[0], _singular(noun) if noun else None


def _singular(noun: str) -> str:
    for pattern, replacement in _PLURALS:
        if len(noun) > 3 and re.search(pattern, noun):
            return re.sub(pattern, replacement, noun)
    return noun


def count_verbs(
    found: Iterable[tuple[str, str | None] | None], *, verbs: int = 20, nouns: int = 4
) -> dict[str, dict[str, int]]:
    """Return the most frequent nouns of the most frequent verbs, as many as the paper's picture has.

    Args:
        found: what `find_verb_noun` finds in the instructions of a set.
        verbs: how many verbs.
        nouns: how many nouns of each.
    """
    pairs = Counter(pair for pair in found if pair and pair[1])
    totals: Counter[str] = Counter()
    for (verb, _), times in pairs.items():
        totals[verb] += times
    return {
        verb: dict(Counter({noun: n for (v, noun), n in pairs.items() if v == verb and noun}).most_common(nouns))
        for verb, _ in totals.most_common(verbs)
    }
