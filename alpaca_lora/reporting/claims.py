"""A lint for model cards: who says that two models are as good as each other says how sure that is.

"On par" is what a comparison too small to show a difference always finds. So a sentence that claims parity has to hold
an interval, as `48 to 61 %`, `±`, or `[0.48, 0.61]`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["BareClaim", "find_bare_claims"]

_NOUN = (
    r"(?:performance|quality|results?|abilit(?:y|ies)|behaviors?|behaviours?|answers?|responses?|outputs?|accuracy"
    r"|scores?)"
)
_ADVERB = r"(?:\w+ly\s+)?"
_CLAIM = re.compile(
    r"\bon\s+(?:a\s+)?par\b"
    rf"|\b(?:{_NOUN}\s+)?parity\s+(?:with|to)\b|\b(?:reach|achieve|achieving|attain)\w*\s+{_ADVERB}parity\b"
    r"|\b(?:just\s+)?as\s+(?:good|well|capable|accurate|strong)\s+as\b"
    rf"|\b(?:comparabl[ey]|similar(?:ly)?|equivalent|equal(?:ly)?|identical(?:ly)?)\s+(?:\w+\s+)?{_NOUN}"
    rf"|\b(?:perform|behav|scor|answer|respond)\w*\s+{_ADVERB}(?:comparabl[ey]|similar(?:ly)?|equal(?:ly)?|the same)\b"
    rf"|\b{_NOUN}\s+(?:is|are|was|were)\s+{_ADVERB}(?:comparable|similar|equal|equivalent|identical)\b"
    rf"|\b(?:match(?:es|ed)?|rivals?|rivalled|equals|equalled)\s+(?:the\s+)?{_NOUN}\b"
    r"|\bindistinguishable\s+from\b|\bno\s+(?:worse|better)\s+than\b"
    r"|\bno\s+(?:significant|measurable|noticeable)\s+difference\b",
    re.IGNORECASE,
)
_NUMBER = r"[-−+]?\d+(?:\.\d+)?\s*%?"
_INTERVAL = re.compile(
    rf"{_NUMBER}\s*(?:to|–|—|‒|\.\.+|…)\s*{_NUMBER}|{_NUMBER}\s*(?:points?\s*)?(?:±|\+/-|\+-)\s*{_NUMBER}"
    rf"|[\[(]\s*{_NUMBER}\s*[,;]\s*{_NUMBER}\s*[\])]|\d%?\s*-\s*\d+(?:\.\d+)?\s*%",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"^(`{3,}|~{3,}).*?(?:^\1`*~*[ \t]*$|\Z)|^---\n.*?^---$|<!--.*?-->", re.MULTILINE | re.DOTALL)
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s|$)|\n\s*\n|\n(?=[|#>*-])|\Z)", re.DOTALL)


class BareClaim(NamedTuple):
    """A claim of parity that does not say how sure it is."""

    line: int
    sentence: str


def find_bare_claims(card: str) -> Iterator[BareClaim]:
    """Yield every sentence of a Markdown card that claims parity and holds no interval.

    Args:
        card: Markdown; fenced code, comments and front matter claim nothing.

    >>> [claim.line for claim in find_bare_claims("It is on par with GPT-3.5.")]
    [1]
    >>> list(find_bare_claims("It is on par with GPT-3.5: 50 % of 179, 95 % interval 43 to 57 %."))
    []
    """
    text = _HIDDEN.sub(lambda match: "\n" * match[0].count("\n"), card)
    for match in _SENTENCE.finditer(text):
        sentence = match[0]
        claim = _CLAIM.search(sentence)
        if claim and not _INTERVAL.search(sentence):
            yield BareClaim(text.count("\n", 0, match.start() + claim.start()) + 1, " ".join(sentence.split()))
