"""A run as one HTML page that needs nothing beside it: report.html.

The frame and the looks are files in `templates`; this module fills in what the run says. All text that comes from a
model, a dataset or a user is escaped by `elements.escaped`, the only way in; the page's policy forbids scripts too.
"""

import json
from collections.abc import Sequence
from statistics import median
from typing import Any

from alpaca_lora.reporting.cautions import list_cautions
from alpaca_lora.reporting.curve import read_loss_curve, read_series
from alpaca_lora.reporting.elements import (
    answer,
    bullets,
    escaped,
    exchange,
    pairs,
    render_page,
    section,
    table,
    tile,
    two_widths,
)
from alpaca_lora.reporting.summary import AnswerPair, DataSummary, ListedRow, Metrics, RunSummary
from alpaca_lora.reporting.svg import Series, draw_chart
from alpaca_lora.reporting.wording import (
    change,
    count,
    duration,
    loss_value,
    memory,
    percent,
    perplexity,
    public_name,
    quantile,
)

__all__ = ["render_report"]

_LISTED_ROWS = 50
_SHOWN_ANSWERS = 16


def render_report(summary: RunSummary, metrics: Metrics) -> str:
    """Render a run as one self-contained HTML page.

    Args:
        summary: the run.
        metrics: lines of metrics.jsonl; with none, the page has no curves.
    """
    model, data = escaped(public_name(summary.base_model)), escaped(public_name(summary.data.name))
    parts = (
        bullets(list_cautions(summary, metrics), "cautions"),
        _curves(summary, metrics),
        _answers(summary),
        section("Trained on", _data(summary.data)),
        _rows("Rows left out", summary.data.dropped) + _rows("Rows shortened", summary.data.shortened),
        section("Decisions, and why", bullets(summary.decisions, "reasons card")),
        section("Configuration", pairs({name: _setting(value) for name, value in summary.config.items()})),
        _prompts(summary),
        section("Made with", pairs({"hardware": summary.hardware, **summary.versions})),
        section("The same again", f'<pre class="command">{escaped(summary.command)}</pre>' * bool(summary.command)),
    )
    return render_page(
        eyebrow="Fine-tuning report",
        title=f"{model} on {data}: fine-tuning report",
        heading=f"{model} <i>on</i> {data}",
        facts=f'<span class="status {summary.status}">{summary.status}</span> {escaped(" · ".join(_facts(summary)))}',
        tiles=_tiles(summary, metrics),
        body="\n".join(parts),
    )


def _setting(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _facts(summary: RunSummary) -> list[str]:
    return [
        f"{count(summary.steps)} of {count(summary.total_steps)} steps",
        f"{count(summary.adapter_parameters)} adapter parameters",
        *([summary.hardware] if summary.hardware else []),
    ]


def _tiles(summary: RunSummary, metrics: Metrics) -> list[str]:
    data = summary.data
    speeds = [point.value for point in read_series(metrics, "tokens_per_second")]
    speed = median(speeds) if speeds else summary.tokens_trained / summary.seconds if summary.seconds > 0 else 0
    peak = max((point.value for point in read_series(metrics, "memory_bytes")), default=0)
    return [
        _loss_tile(summary),
        _stop_tile(summary),
        tile(
            "Rows trained on",
            count(data.trained_rows),
            f"{count(data.heldout_rows)} held out, {count(len(data.dropped))} dropped",
            f"{count(summary.tokens_trained)} tokens in all",
        ),
        tile(
            "Training time",
            duration(summary.seconds),
            f"{count(speed)} tokens/s",
            *([f"{memory(peak)} memory at most"] if peak else []),
        ),
    ]


def _from_to(before: str, after: str) -> str:
    return f'<span class="from">{before} →</span> {after}'


def _loss_tile(summary: RunSummary) -> str:
    before, after, ratio = summary.heldout_loss_before, summary.heldout_loss_after, summary.heldout_change
    if before is None and after is None:
        return tile("Held-out loss", "–", "no rows were held out")
    verdict = "" if ratio is None else f' <small class="{"worse" if ratio > 0 else "better"}">{change(ratio)}</small>'
    return tile(
        "Held-out loss",
        _from_to(loss_value(before), loss_value(after)) + verdict,
        f"perplexity {perplexity(before)} → {perplexity(after)}",
        f"{count(summary.heldout_tokens)} tokens in {count(summary.data.heldout_rows)} rows",
    )


def _stop_tile(summary: RunSummary) -> str:
    before, after, total = summary.stop_rate_before, summary.stop_rate_after, summary.stop_rate_records
    if before is None and after is None:
        return tile("Stop rate", "–", "no records were answered")
    interval = summary.stop_rate_interval
    return tile(
        "Stop rate",
        _from_to(percent(before), percent(after)),
        f"of {count(total)} answers end by themselves",
        *([f"95 % interval: {percent(interval[0])} to {percent(interval[1])}"] if interval else []),
    )


def _curves(summary: RunSummary, metrics: Metrics) -> str:
    curve = read_loss_curve(metrics, summary)
    if not curve.training and not curve.heldout:
        return ""
    lines = (
        Series(curve.training, "raw"),
        Series(curve.smoothed, "smoothed"),
        Series(curve.heldout, "heldout", label=loss_value),
    )
    title = f"Loss over {count(summary.steps)} optimizer steps"
    drawn = two_widths(
        lambda size: draw_chart(lines, title=title, size=size, y_label="loss (nats per token)"), (1040, 360), (420, 320)
    )
    legend = (
        '<div class="legend"><span class="raw">training, each logged step</span><span>training, smoothed</span>'
        '<span class="heldout">held-out rows</span></div>'
    )
    return section("Loss", f'<figure class="card">{legend}{drawn}</figure>{_small_curves(metrics)}')


def _small_curves(metrics: Metrics) -> str:
    quantities = (
        ("learning_rate", "Learning rate", lambda value: f"{value:.1e}" if value else "0"),
        ("tokens_per_second", "Tokens per second", count),
        ("memory_bytes", "Memory", lambda value: memory(value) if value else "0"),
    )
    cards = []
    for key, title, y_format in quantities:
        series = Series(read_series(metrics, key), "measured")
        drawn = draw_chart([series], title=title, size=(340, 170), y_format=y_format, from_zero=True)
        if drawn:
            cards.append(f'<figure class="card"><h3>{title}</h3>{drawn}</figure>')
    return f'<div class="small">{"".join(cards)}</div>' if cards else ""


def _answers(summary: RunSummary) -> str:
    shown = summary.samples[:_SHOWN_ANSWERS]
    total = max(len(summary.samples), summary.stop_rate_records)
    remark = f"the first {len(shown)} of {count(total)} held-out records" if total > len(shown) else "held-out records"
    return section("Answers before and after", "\n".join(map(_answer, shown)), remark)


def _answer(sample: AnswerPair) -> str:
    answers = (
        answer("before", "Before", sample.before, sample.before_stopped),
        answer("after", "After", sample.after, sample.after_stopped),
        answer("reference", "Reference", sample.reference, None),
    )
    return exchange(sample.instruction, sample.input, "".join(answers))


def _data(data: DataSummary) -> str:
    facts = {
        "data": public_name(data.name),
        "rows trained on": count(data.trained_rows),
        "rows held out": count(data.heldout_rows),
        **{f"dropped: {reason}": count(number) for reason, number in data.dropped_by_reason.items()},
    }
    lengths = {quantile(share): count(tokens) for share, tokens in sorted(data.length_quantiles.items())}
    source = f'<p class="note">SHA-256 of the source: <code>{escaped(data.sha256)}</code></p>'
    notes = "".join(f'<p class="note">{escaped(note)}</p>' for note in data.notes)
    return pairs(facts) + source + notes + (f"<h3>Tokens in a row</h3>{pairs(lengths)}" if lengths else "")


def _rows(title: str, rows: Sequence[ListedRow]) -> str:
    lines = [(row.origin, row.reason, "–" if row.tokens is None else count(row.tokens)) for row in rows]
    listed = table(("Row", "Why", "Tokens"), lines, numbers=1, shown=_LISTED_ROWS) if lines else ""
    return section(title, listed, count(len(rows)))


def _prompts(summary: RunSummary) -> str:
    patterns = {"With an input": summary.prompt_input, "Without an input": summary.prompt_no_input}
    cards = "".join(
        f'<div class="card"><h3>{title}</h3><pre class="mono">{escaped(pattern)}</pre></div>'
        for title, pattern in patterns.items()
        if pattern
    )
    remark = f"template <code>{escaped(public_name(summary.template))}</code>"
    return section("How the model is asked", f'<div class="columns">{cards}</div>' if cards else "", remark)
