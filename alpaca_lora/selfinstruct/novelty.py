"""Is a task new? Stanford's rule, ROUGE-L above 0.7 to any known task, decided exactly and without comparing with all.

Two texts of m and n words whose longest common subsequence has L words score 2L / (m + n). To be above a threshold, L
must reach a number that m and n alone decide, so most known texts need no comparison:

- by length: that number is at most the shorter length;
- by their bags of words: whatever has `needed` words in common with the query has one of its m - needed + 1 rarest
  among them. An inverted index, one for each length, gives the texts that hold one of those; nothing else can match.

What is left goes to rapidfuzz, a word standing as one character. The last comparison is made in floating point in the
very order in which rouge_score makes it, since 0.7 is met exactly by some pairs and then rounding decides.

Source: https://github.com/tatsu-lab/stanford_alpaca/blob/main/generate_instruction.py (`_score_lcs`, no stemmer) and
https://github.com/google-research/google-research/tree/master/rouge (tokenizer and F-measure). As there, a word is by
default a run of ASCII letters and digits: a text in another script has no words, and so is always new. `tokens` is for
every script.
"""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import LCSseq
from rapidfuzz.process import extract

from alpaca_lora.errors import ConfigError
from alpaca_lora.records import Record

__all__ = ["THRESHOLD", "Match", "NoveltyIndex", "compared_text", "rouge_l", "words"]

THRESHOLD = 0.7
"""Stanford's: a score above it means the same task again."""

_WORD = re.compile(r"[a-z0-9]+")


class Match(NamedTuple):
    """A known text that is like the one in question."""

    number: int
    """Its number in the order of adding, from 0."""

    score: float
    """ROUGE-L F-measure, above the threshold and at most 1."""


def words(text: str) -> list[str]:
    """Return the words of a text as rouge_score's tokenizer finds them, without stemmer.

    >>> words("Don't stop: name 3 Ökosysteme!")
    ['don', 't', 'stop', 'name', '3', 'kosysteme']
    """
    return _WORD.findall(text.lower())


def compared_text(record: Record, *, with_input: bool) -> str:
    """Return what of a record is compared.

    Args:
        record: the task; its output never counts.
        with_input: False compares the instruction alone, as Stanford did; True its input too, so that a general
            instruction ("Translate the sentence.") may come again with another input.
    """
    return f"{record.instruction}\n{record.input}" if with_input and record.input else record.instruction


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the ROUGE-L F-measure of two lists of words; 0 when one is empty.

    >>> rouge_l(words("Name three colours."), words("Name three primary colours."))
    0.8571428571428571
    """
    return _f_measure(LCSseq.similarity(first, second), len(first), len(second)) if first and second else 0.0


class NoveltyIndex:
    """Known texts, and which of them a text is like.

    >>> index = NoveltyIndex(["Name three primary colours.", "Write a poem about rain."])
    >>> index.nearest("Name three colours.")
    Match(number=0, score=0.8571428571428571)
    >>> index.admit("Explain what rain is.") is None
    True
    >>> len(index)
    3
    """

    def __init__(
        self,
        texts: Iterable[str] = (),
        *,
        threshold: float = THRESHOLD,
        split: Callable[[str], list[str]] = words,
    ) -> None:
        """Start with some known texts, which are not compared with each other.

        Args:
            texts: what is known already, such as seed tasks and what an interrupted run has kept.
            threshold: from 0 to 1; a text is new unless a score is above it.
            split: makes words of a text; by default as rouge_score does.

        Raises:
            ConfigError: the threshold is not from 0 to 1.
        """
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold must be a number from 0 to 1, got {threshold!r}; Stanford's is {THRESHOLD}")
        self._threshold, self._split = threshold, split
        self._ids: dict[str, int] = {}
        self._sequences: list[str | tuple[int, ...]] = []
        self._frequency: Counter[int] = Counter()
        self._postings: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        """Return how many texts are known."""
        return len(self._sequences)

    def add(self, text: str) -> int:
        """Make a text known, new or not, and return its number."""
        ids = [self._ids.setdefault(word, len(self._ids)) for word in self._split(text)]
        number = len(self._sequences)
        self._sequences.append(_pack(ids))
        for word in set(ids):
            self._postings[len(ids)][word].append(number)
            self._frequency[word] += 1
        return number

    def admit(self, text: str) -> Match | None:
        """Make a text known if it is new; otherwise return what it is like, as `nearest` does."""
        match = self.nearest(text)
        if match is None:
            self.add(text)
        return match

    def nearest(self, text: str) -> Match | None:
        """Return the known text that is most like this one, the first of several; None for a new text."""
        return max(self.matches(text), key=lambda match: (match.score, -match.number), default=None)

    def matches(self, text: str) -> list[Match]:
        """Return every known text whose score is above the threshold, in the order of adding."""
        unknown = len(self._ids)  # in no known text, so that one number does for all unknown words
        ids = [self._ids.get(word, unknown) for word in self._split(text)]
        query, rarest_first = _pack(ids), sorted(ids, key=self._frequency.__getitem__)
        found = []
        for length, postings in self._postings.items():
            needed = _needed(len(ids), length, self._threshold)
            if needed > min(len(ids), length):
                continue
            probed = {word for word in rarest_first[: len(ids) - needed + 1] if word in postings}
            candidates = list({number for word in probed for number in postings[word]})
            if not candidates:
                continue
            sequences = [self._sequences[number] for number in candidates]
            for _, common, place in extract(
                query, sequences, scorer=LCSseq.similarity, score_cutoff=needed, limit=None
            ):
                found.append(Match(candidates[place], _f_measure(int(common), len(ids), length)))
        return sorted(found)


def _pack(ids: Sequence[int]) -> str | tuple[int, ...]:
    """Return numbers in the form that is compared fastest; rapidfuzz takes a character for its number."""
    return "".join(map(chr, ids)) if max(ids, default=0) <= sys.maxunicode else tuple(ids)


def _f_measure(common: int, first: int, second: int) -> float:
    precision, recall = common / second, common / first
    return 2 * precision * recall / (precision + recall) if common else 0.0


@lru_cache(maxsize=2**20)
def _needed(first: int, second: int, threshold: float) -> int:
    """Return the smallest number of common words that brings texts of these lengths above the threshold."""
    if not first or not second:
        return 1
    common = max(1, int(threshold * (first + second) / 2) - 1)
    while _f_measure(common, first, second) <= threshold:
        common += 1
    return common
