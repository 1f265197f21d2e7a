"""What tasks are compared by, in any script: words, numbers, and the signs that tell `12 + 7` from `12 - 7`.

rouge_score's tokenizer, which `novelty.words` repeats, knows ASCII letters and digits only. By it all Russian tasks
that name HTTP are one task, and so are those about C++ and C#.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["UNSPACED", "folded", "signs", "tokens"]

UNSPACED = (
    "\u0e00-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese
)
"""Scripts that put no blanks between words, and so go by character."""

_PUNCTUATED = r"#%&*/@\\‰^"
"""Signs that Unicode counts as punctuation or as accents."""

_LINE_MARK = re.compile(r"^[ \t]*(?:[-*+>•]|#{1,6})[ \t]", re.M)
"""What Markdown puts in front of a line: no sign of anything."""

_EMPHASIS = re.compile(rf"(?<![^\W{UNSPACED}])(?<![*)])(\*{{1,3}})(?=\w)([^*\n]+?)(?<=\S)\1(?![^\W{UNSPACED}])(?![*(])")
"""What Markdown puts around words; in the middle of a word or beside a bracket it may be a product."""

_SIGNS = dict.fromkeys("−–", "-") | dict.fromkeys("×∗·", "*") | {"÷": "/"}
_SIGNS |= {"plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/"}
_VARIANT = re.compile(r"[−–×∗÷]|(?<=\d)·(?=\d)")
_IN_WORDS = re.compile(r"(\d )(·|plus|minus|times|multiplied by|divided by)(?= \d)")
"""Other ways to write a sign; a dot or a word is one between numbers only."""


def folded(text: str) -> str:
    """Return a text on one line and without regard to case, as it is compared where blanks and case mean nothing.

    >>> folded(" Name  a COLOUR. ")
    'name a colour.'
    """
    return " ".join(text.split()).casefold()


def tokens(text: str) -> list[str]:
    """Return the words of a text in any script, its numbers and its signs, without regard to case.

    Chinese, Japanese and others that put no blanks between words go by character. A sign is a symbol, such as `+`, `%`
    or an emoji; a hyphen where it can be a minus; and a bracket beside a number. Other punctuation and emphasis are
    left out, and however a sign of arithmetic is written, it is the same one.

    >>> tokens("Is 15% of (8 - 2) more than C++?")
    ['is', '15', '%', 'of', '(', '8', '-', '2', ')', 'more', 'than', 'c', '+', '+']
    >>> tokens("用Python写。")
    ['用', 'python', '写']
    """
    text = _LINE_MARK.sub(" ", unicodedata.normalize("NFC", text).casefold())
    text = _IN_WORDS.sub(lambda found: found[1] + _SIGNS[found[2]], text)
    if not text.isascii():
        text = _VARIANT.sub(lambda found: _SIGNS[found[0]], text)
    if "*" in text:  # as it is in few
        text = _EMPHASIS.sub(r"\2", text)
    return _pattern().findall(text)


def signs(text: str) -> list[str]:
    """Return the signs of a text with its numbers, in order; nothing where it holds numbers only.

    >>> signs("What is 12 + 7?"), signs("Name 3 rivers.")
    (['12', '+', '7'], [])
    """
    found = [token for token in tokens(text) if not token[0].isalpha()]
    return found if any(not token[0].isalnum() and token not in "()" for token in found) else []


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """Return what a token is; made when first needed, as it looks at every character below the Chinese ones."""
    kinds = [unicodedata.category(chr(code)) for code in range(0x20000)]
    marks = _ranges(code for code, kind in enumerate(kinds) if kind.startswith("M"))
    symbols = _ranges(code for code, kind in enumerate(kinds) if kind in ("Sm", "Sc", "So"))
    return re.compile(
        rf"[^\W_{UNSPACED}]+(?:[{marks}]+[^\W_{UNSPACED}]*)*"
        rf"|(?=[{UNSPACED}])\w[{marks}]*"
        rf"|[{symbols}{_PUNCTUATED}]"
        r"|(?<![^\W\d_])-(?=[\d(])|(?<=[\d)] )-(?= )"
        r"|\((?=-?[\d(])|(?<=[\d)])\)"
    )


def _ranges(codes: Iterable[int]) -> str:
    """Return characters in order as the inside of a character class, neighbours as one range."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in runs)
