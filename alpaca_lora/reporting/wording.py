"""Numbers and foreign text as a person reads them.

Text that a model or a dataset wrote is foreign: it may carry terminal escapes, invisible controls that reorder a line,
or halves of characters that no encoder accepts. `visible` is for pages and cards, where a reader wants to see that they
were there; `printable` is for terminals, where they must not arrive.
"""

import math
import re
from collections.abc import Sequence

__all__ = [
    "change",
    "clipped",
    "count",
    "duration",
    "legible",
    "loss_value",
    "memory",
    "percent",
    "perplexity",
    "printable",
    "public_name",
    "quantile",
    "unmarked",
    "visible",
    "with_interval",
]

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # strings: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"  # the rest: character sets, full reset
)
_CONTROLS = [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)]
_UNENCODABLE = [*range(0xD800, 0xE000), 0xFFFE, 0xFFFF]
_REORDERING = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_LINE_ENDS = {0x2028: "\n", 0x2029: "\n"}
_SYMBOLS = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: "\u2421"}
_VISIBLE = dict.fromkeys([*_CONTROLS, *_UNENCODABLE, *_REORDERING], "\ufffd") | _SYMBOLS | _LINE_ENDS
_PRINTABLE = dict.fromkeys([*_CONTROLS, *_REORDERING], "") | dict.fromkeys(_UNENCODABLE, "\ufffd") | _LINE_ENDS


def visible(text: str) -> str:
    """Return foreign text with its control characters as symbols; line ends and tabs stay."""
    return text.replace("\r\n", "\n").translate(_VISIBLE)


def legible(text: str) -> str:
    """Return foreign text as `visible` does, its line ends marked with an arrow."""
    return visible(text).replace("\n", "↵\n")


def printable(text: str) -> str:
    """Return foreign text without escape sequences and control characters; line ends and tabs stay."""
    return _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n")).translate(_PRINTABLE)


def unmarked(text: str) -> str:
    """Return foreign text on one line with every character that Markdown or HTML would act on escaped."""
    return re.sub(r"([\\`*_\[\]<>|#~&!])", r"\\\1", " ".join(visible(text).split()))


def clipped(text: str, limit: int) -> str:
    """Return the first `limit` characters, saying how many more there were."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … ({count(len(text) - limit)} more characters)"


def public_name(name: str) -> str:
    """Return a model's or dataset's name without the directories of the machine it lies on."""
    path = name.replace("\\", "/").rstrip("/")
    if path.startswith(("/", "./", "../", "~")) or re.match(r"[A-Za-z]:/", path) or path.count("/") > 1:
        return path.rsplit("/", 1)[-1] or name
    return name


def count(number: float) -> str:
    """Return a whole number in groups of three digits."""
    return f"{number:,.0f}"


def loss_value(loss: float | None) -> str:
    """Return a loss with three decimals; a dash for none."""
    if loss is None:
        return "–"
    return f"{loss:.3f}" if math.isfinite(loss) else "not finite"


def perplexity(loss: float | None) -> str:
    """Return exp(loss): over how many equally likely tokens the model hesitates, on average."""
    if loss is None or not math.isfinite(loss):
        return "–"
    if loss > 13.8:
        return "over a million"
    value = math.exp(loss)
    return f"{value:.2f}" if value < 100 else count(value)


def percent(share: float | None) -> str:
    """Return a share of one as whole per cent; a dash for none."""
    return "–" if share is None else f"{100 * share:.0f} %"


def with_interval(value: float, interval: Sequence[float], unit: str = "", scale: float = 1) -> str:
    """Return a number times a scale and its interval, with one decimal."""
    number, low, high = (f"{scale * end:.1f}" for end in (value, *interval))
    return f"{number}{unit} ({low} to {high})"


def quantile(share: float) -> str:
    """Return what the value at this share of sorted rows is called."""
    return {0.0: "shortest", 0.5: "median", 1.0: "longest"}.get(share, f"{100 * share:.3g} % up to")


def change(ratio: float | None) -> str:
    """Return a relative change as signed per cent with one decimal; a dash for none."""
    if ratio is None:
        return "–"
    sign = "−" if ratio < 0 else "+"
    return f"{sign}{abs(100 * ratio):.1f} %"


def duration(seconds: float) -> str:
    """Return a time span in its two leading units."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{count(hours)} h {minutes:02d} min"


def memory(size_bytes: float) -> str:
    """Return a number of bytes in decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes:.0f} B"
