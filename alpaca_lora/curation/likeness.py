"""What tells two tasks apart although most of their words are the same: their inputs, signs, and forms that matter."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alpaca_lora.curation.characters import trimmed
from alpaca_lora.records import Record
from alpaca_lora.selfinstruct.novelty import Match, NoveltyIndex, compared_text
from alpaca_lora.selfinstruct.tokens import signs, tokens

__all__ = ["Contents", "InputIndex"]


class InputIndex:
    """The inputs of known tasks, as a long instruction can hide that they differ.

    Args:
        inputs: of the tasks that are known from the start.
        floor: pairs whose inputs are at it or below are not alike.
    """

    def __init__(self, inputs: Iterable[str] = (), *, floor: float) -> None:
        self._index = NoveltyIndex(threshold=floor, split=tokens)
        self._known: list[str] = []
        for text in inputs:
            self.add(text)

    def add(self, text: str) -> None:
        """Make the input of the next task known."""
        self._index.add(text)
        self._known.append(text.strip())

    def lower(self, text: str, alike: Sequence[Match]) -> list[Match]:
        """Return known tasks with scores no higher than those of the inputs, where both have one.

        The same input has a score of 1, and may be without any token, as Morse code is.

        Args:
            text: the input of the task in question.
            alike: the known tasks that it is like as a whole.
        """
        own = text.strip()
        if not alike or not own:
            return list(alike)
        scores = dict(self._index.matches(text))
        scores |= {match.number: 1.0 for match in alike if self._known[match.number] in ("", own)}
        return [m._replace(score=min(m.score, scores[m.number])) for m in alike if m.number in scores]


class Contents(NamedTuple):
    """What is looked at in two records whose words are alike."""

    signs: list[str]
    input: str
    words: str
    """Those of the input."""

    output: str

    @classmethod
    def of(cls, record: Record) -> "Contents":
        """Return those of a record."""
        text = compared_text(record, with_input=True)
        return cls(signs(text), trimmed(record.input), " ".join(tokens(record.input)), record.output.strip())

    def ask_otherwise(self, other: "Contents") -> bool:
        """Return whether it is another task in spite of its words.

        It is where a sign differs, or a number beside signs: `12 + 7` is neither `12 - 7` nor `12 + 8`. And it is where
        the inputs have the same words in another form and the answers differ, for then case, punctuation or indentation
        is what the task is about.
        """
        same_words = self.words == other.words and self.input != other.input and bool(self.input and other.input)
        return self.signs != other.signs or (same_words and self.output != other.output)
