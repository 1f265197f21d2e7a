"""The parts of a page that needs nothing beside it, and its frame.

The frame and the looks are files in `templates`. All text that comes from a model, a dataset or a user is escaped by
`escaped`, the only way in; the page's policy forbids scripts and requests too.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TypeVar

from alpaca_lora.reporting.wording import clipped, count, visible

__all__ = ["answer", "bullets", "escaped", "exchange", "pairs", "render_page", "section", "table", "tile", "two_widths"]

Size = TypeVar("Size")
_SHOWN_CHARACTERS = 1000


def render_page(*, eyebrow: str, title: str, heading: str, facts: str, tiles: Iterable[str], body: str) -> str:
    """Render a self-contained HTML page.

    Args:
        eyebrow: what kind of page it is, above the heading; all arguments are markup.
        title: of the window.
        heading: of the page.
        facts: one line under it.
        tiles: the headline numbers, made by `tile`.
        body: the sections.
    """
    templates = files("alpaca_lora.reporting") / "templates"
    style = (templates / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Template((templates / "report.html").read_text(encoding="utf-8")).substitute(
        style=style,
        style_hash=f"sha256-{digest}",
        eyebrow=eyebrow,
        title=title,
        heading=heading,
        facts=facts,
        tiles="\n".join(tiles),
        body=body,
    )


def escaped(text: str) -> str:
    """Return foreign text as markup that shows it."""
    return escape(visible(text))


def exchange(instruction: str, input: str, answers: str, note: str = "") -> str:
    """Return a card with what was asked and the answers to it, which are markup made by `answer`."""
    given = f'<p class="given" dir="auto">{_shown(input)}</p>' if input else ""
    why = f'<p class="note">{escaped(note)}</p>' if note else ""
    return (
        f'<article class="card"><p class="ask" dir="auto">{_shown(instruction)}</p>{given}'
        f'<div class="answers">{answers}</div>{why}</article>'
    )


def answer(style: str, title: str, text: str, stopped: bool | None) -> str:
    """Return what was said and how it ended: `stopped` is whether by itself, None where nobody knows."""
    ending = {True: " <span>ended by itself</span>", False: ' <span class="cut">cut off at the limit</span>', None: ""}
    body = _shown(text) if text.strip() else '<span class="quiet">(nothing)</span>'
    return f'<div class="answer {style}"><h3>{escaped(title)}{ending[stopped]}</h3><pre dir="auto">{body}</pre></div>'


def _shown(text: str) -> str:
    return escaped(clipped(text, _SHOWN_CHARACTERS))


def two_widths(draw: Callable[[Size], str], wide: Size, narrow: Size) -> str:
    """Return a picture in two sizes, of which the style sheet shows the one that fits the window."""
    return f'<div class="wide">{draw(wide)}</div><div class="narrow">{draw(narrow)}</div>'


def section(title: str, body: str, remark: str = "") -> str:
    """Return a section, or nothing for an empty body."""
    small = f" <small>{remark}</small>" if remark else ""
    return f"<section>\n<h2>{title}{small}</h2>\n{body}\n</section>" if body else ""


def bullets(items: Iterable[str], style: str) -> str:
    """Return a list of plain texts, or nothing for none."""
    lines = "".join(f"<li>{escaped(item)}</li>" for item in items)
    return f'<ul class="{style}">{lines}</ul>' if lines else ""


def pairs(values: Mapping[str, str]) -> str:
    """Return names with their values; those without one are left out."""
    rows = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in values.items() if value
    )
    return f'<dl class="pairs card">{rows}</dl>'


def tile(title: str, number: str, *details: str) -> str:
    """Return a headline number with lines under it; all arguments are markup."""
    lines = "".join(f'<p class="detail">{detail}</p>' for detail in details)
    return f'<div class="tile"><h2>{title}</h2><p class="number">{number}</p>{lines}</div>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int, shown: int, codes: int = 1) -> str:
    """Return the first rows of a table in a card, and how many more there are.

    Args:
        columns: their headings.
        rows: plain texts.
        numbers: how many columns at the end are aligned to the right.
        shown: most rows.
        codes: how many columns at the beginning are set as code.
    """
    styles = ["mono"] * codes + [""] * (len(columns) - numbers - codes) + ["right"] * numbers
    marks = [f' class="{style}"' if style else "" for style in styles]
    heads = [f' class="{style}"' if style == "right" else "" for style in styles]
    head = "".join(f"<th{mark}>{name}</th>" for mark, name in zip(heads, columns, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td{mark}>{escaped(cell)}</td>' for mark, cell in zip(marks, row, strict=True))}</tr>"
        for row in rows[:shown]
    )
    rest = len(rows) - shown
    more = f'<p class="note">… and {count(rest)} more.</p>' if rest > 0 else ""
    return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{more}</div>'
