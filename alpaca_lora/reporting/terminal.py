"""The last words of a run on the terminal, as plain text."""

import shlex
import shutil
import textwrap
from pathlib import Path

from alpaca_lora.reporting.cautions import list_cautions
from alpaca_lora.reporting.summary import AnswerPair, RunSummary
from alpaca_lora.reporting.wording import (
    change,
    clipped,
    count,
    duration,
    loss_value,
    percent,
    perplexity,
    printable,
    public_name,
)

__all__ = ["render_summary"]

_WIDEST, _NARROWEST = 100, 40
_SHOWN_LINES = 10
_SHOWN_CHARACTERS = 4000
_TITLE_WIDTH = 15


def render_summary(summary: RunSummary, *, width: int | None = None) -> str:
    """Render a run for the terminal: what changed, one record answered before and after, where to look further.

    Args:
        summary: the run.
        width: columns to wrap at, at least 40; None takes the terminal's, at most 100.

    Returns:
        Lines without control characters, whatever the model wrote; no line end after the last.
    """
    if width is None:
        width = min(_WIDEST, shutil.get_terminal_size().columns)
    width = max(_NARROWEST, width)
    model, data = printable(public_name(summary.base_model)), printable(public_name(summary.data.name))
    lines = [
        f"{model} on {data}: {summary.status} after {count(summary.steps)} steps in {duration(summary.seconds)}",
        "",
    ]
    lines += [_titled(title, text) for title, text in _numbers(summary).items()]
    if summary.samples:
        lines += ["", *_sample(summary.samples[0], width)]
    for caution in list_cautions(summary):
        lines += ["", *textwrap.wrap(printable(caution), width, initial_indent="! ", subsequent_indent="  ")]
    directory = Path(summary.output_dir)
    if directory.is_relative_to(Path.cwd()):
        directory = directory.relative_to(Path.cwd())
    lines += ["", _titled("report", printable(str(directory / "report.html")))]
    if summary.status == "completed":
        adapter = shlex.quote(printable(str(directory / "adapter")))
        lines.append(_titled("try it", f"alpaca-lora chat --adapter {adapter}"))
    return "\n".join(lines)


def _titled(title: str, text: str) -> str:
    return f"{title:<{_TITLE_WIDTH}}{text}"


def _numbers(summary: RunSummary) -> dict[str, str]:
    numbers = {}
    before, after = summary.heldout_loss_before, summary.heldout_loss_after
    if before is not None or after is not None:
        ratio = "" if summary.heldout_change is None else f" ({change(summary.heldout_change)})"
        numbers["held-out loss"] = (
            f"{loss_value(before)} → {loss_value(after)}{ratio}, perplexity {perplexity(before)} → {perplexity(after)}"
        )
    if summary.stop_rate_before is not None or summary.stop_rate_after is not None:
        rates = f"{percent(summary.stop_rate_before)} → {percent(summary.stop_rate_after)}"
        numbers["stop rate"] = f"{rates} of {count(summary.stop_rate_records)} answers end by themselves"
    data = summary.data
    rows = (
        f"{count(data.trained_rows)} trained, {count(data.heldout_rows)} held out, {count(len(data.dropped))} dropped"
    )
    numbers["rows"] = rows
    return numbers


def _sample(sample: AnswerPair, width: int) -> list[str]:
    asked = f"{sample.instruction}\n{sample.input}".strip()
    lines = _block("a held-out record", asked, width)
    lines += _block("before" if sample.before_stopped else "before (cut off)", sample.before, width)
    return lines + _block("after" if sample.after_stopped else "after (cut off)", sample.after, width)


def _block(title: str, text: str, width: int) -> list[str]:
    lines: list[str] = []
    for line in clipped(printable(text), _SHOWN_CHARACTERS).expandtabs(4).strip().split("\n"):
        lines += textwrap.wrap(line, width - 2) or [""]
    shown = lines[:_SHOWN_LINES]
    if len(lines) > len(shown):
        shown.append(f"… ({count(len(lines) - len(shown))} more lines)")
    return [f"{title}:", *(f"  {line}".rstrip() for line in shown)]
