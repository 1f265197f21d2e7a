"""A training row for a person's eye: every token, whether it is learned, and where the answer ends."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text
from transformers import PreTrainedTokenizerBase

from alpaca_lora.models import IGNORED, split_ids
from alpaca_lora.reporting.wording import legible
from alpaca_lora.training.encoding import EncodedRow, Rejection

__all__ = ["Piece", "describe", "pieces_of", "render_colored", "render_plain"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A token, or the few tokens that share one character."""

    text: str
    """What it adds to the decoded row, control characters as symbols, line ends as an arrow before the line end."""

    learned: bool
    """Whether it counts in the loss."""

    ends: bool
    """Whether it is the end-of-text token, which no text of a record can be."""


def describe(outcome: EncodedRow | Rejection) -> str:
    """Return one line about a record: its origin, length and what is learned of it, or why it is left out."""
    if isinstance(outcome, Rejection):
        return f"{outcome.origin}: not trained on, {outcome.reason} (the whole record has {outcome.tokens} tokens)"
    learned = sum(label != IGNORED for label in outcome.labels)
    cut = f", {outcome.cut_tokens} cut off to fit" if outcome.cut_tokens else ""
    return f"{outcome.origin}: {len(outcome.input_ids)} tokens, {learned} learned{cut}"


def pieces_of(row: EncodedRow, tokenizer: PreTrainedTokenizerBase) -> Iterator[Piece]:
    """Yield a row's tokens as text.

    Args:
        row: what the trainer gets.
        tokenizer: the base model's.
    """
    last = len(row.input_ids) - 1
    learned = [label != IGNORED for label in row.labels]
    borders = {last - 1, *(index for index in range(last) if learned[index] != learned[index + 1])}
    for index, text in split_ids(tokenizer, row.input_ids, borders):
        yield Piece(legible(text), learned[index], ends=index == last)


def render_colored(row: EncodedRow, tokenizer: PreTrainedTokenizerBase) -> Text:
    """Return a row for a terminal: masked tokens dim, learned ones green, every other one underlined."""
    text = Text()
    for index, piece in enumerate(pieces_of(row, tokenizer)):
        color = "bold reverse green" if piece.ends else "green" if piece.learned else "dim"
        text.append(piece.text, f"{color} underline" if index % 2 and not piece.ends else color)
    return text


def render_plain(row: EncodedRow, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a row as plain text: masked tokens as ⟨…⟩, learned ones as ⟦…⟧."""
    shown = []
    for piece in pieces_of(row, tokenizer):
        opening, closing = "⟦⟧" if piece.learned else "⟨⟩"
        body = piece.text.rstrip("\n")
        shown.append(opening + body + closing + piece.text[len(body) :])
    return "".join(shown)
