"""An evaluation as one HTML page that needs nothing beside it: report.html."""

import math
from collections.abc import Iterator, Sequence

from alpaca_lora.evaluation.examples import Example
from alpaca_lora.evaluation.measures import Difference, Estimate, Measure
from alpaca_lora.evaluation.outcome import EvaluationResult
from alpaca_lora.evaluation.statistics import Interval, describe_resolution
from alpaca_lora.evaluation.winrate import UNCONTROLLED
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
from alpaca_lora.reporting.intervals import Dot, Spread, draw_intervals, draw_scatter
from alpaca_lora.reporting.wording import count, legible, public_name

__all__ = ["list_doubts", "render_evaluation", "written", "written_difference"]

_WIDTHS = (1000, 420)
_SCATTER = ((1000, 340), (420, 300))
_SHOWN_ROWS = 50
_FEW = 100
_FEW_ROWS = 20
_ENOUGH_RATE = 0.5
_P_VALUE = 0.01


def render_evaluation(result: EvaluationResult, command: str) -> str:
    """Render an evaluation.

    Args:
        result: what was found.
        command: the command line that finds it again.
    """
    names = [str(model["name"]) for model in result.models]
    data = escaped(public_name(result.evaluated.name))
    parts = (
        bullets(list_doubts(result), "cautions"),
        section("Every number with its 95 % interval", _numbers(result), f"on the same {count(result.rows)} rows"),
        section("The adapter against the others", _differences(result), "row by row, by paired bootstrap"),
        section("Win rate", _win_rate(result)),
        section("Length and preference", _lengths(result)),
        section("The rows that tell most", "\n".join(map(_example, result.examples)), count(len(result.examples))),
        section("Rows left out", _dropped(result), count(len(result.dropped))),
        section("What was evaluated", _origins(result)),
        section("The same again", f'<pre class="command">{escaped(command)}</pre>'),
    )
    return render_page(
        eyebrow="Evaluation report",
        title=f"{escaped(names[0])} on {data}: evaluation report",
        heading=f"{escaped(names[0])} <i>against</i> {escaped(', '.join(names[1:]))}",
        facts=f"{count(result.rows)} rows of {data} · seed {result.config.seed}",
        tiles=_tiles(result),
        body="\n".join(parts),
    )


def list_doubts(result: EvaluationResult) -> Iterator[str]:
    """Yield what a careful reader has to know before the numbers."""
    if result.trained_on is None:
        yield "Nobody knows what the adapter was trained on, so rows of its training data may be among these."
    for model in result.models[2:]:
        if model.get("adapter_sha256") and result.other_trained_on is None:
            yield f"Nobody knows what {model['name']} was trained on, so it may have seen some of these rows."
    if result.rows < _FEW_ROWS:
        yield f"Few rows: an interval from fewer than {_FEW_ROWS} rows is narrower than the truth."
    judged = result.judged
    if judged is None:
        return
    rate, bias = judged.win_rate, judged.win_rate.position_bias
    if rate.n_total < _FEW:
        yield f"Few rows: {describe_resolution(rate.n_total)}."
    if bias and bias.p_value < _P_VALUE:
        yield (
            f"The judge minds the order: the answer shown first gets {bias.shown_first:.0%} (p = {bias.p_value:.1g}), "
            f"and {bias.consistent:.0%} of the comparisons have one winner in both orders."
        )
    elif bias and bias.consistent < _ENOUGH_RATE:
        yield f"Only {bias.consistent:.0%} of the comparisons have one winner in both orders; the rest count as draws."
    if rate.length_controlled is None:
        yield f"{UNCONTROLLED.capitalize()}."
    yield from judged.notes


def written(measure: Measure, value: float) -> str:
    """Write a value of a measure for a person."""
    if measure.quantity.unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if measure.quantity.key == "characters" else f"{value:.3f}"


def written_difference(measure: Measure, item: Difference) -> str:
    """Write a difference with its interval, and whether it is for the better."""
    low, high = item.interval
    scale, unit = (100, " points") if measure.quantity.unit == "share" else (1, "")
    places = 1 if unit else 0 if measure.quantity.key == "characters" else 3
    text = f"{item.value * scale:+.{places}f}{unit} ({low * scale:+.{places}f} to {high * scale:+.{places}f})"
    better = measure.quantity.better
    if low <= 0 <= high:
        return f"{text}, not told from 0"
    return text + (f", {'better' if (item.value > 0) == (better == 'higher') else 'worse'}" if better else "")


def _with_interval(measure: Measure, estimate: Estimate) -> str:
    low, high = (written(measure, end) for end in estimate.interval)
    return f"{written(measure, estimate.value)} ({low.removesuffix(' %')} to {high})"


def _tiles(result: EvaluationResult) -> Iterator[str]:
    for key, title in (("loss", "Held-out loss"), ("stop_rate", "Stop rate")):
        measure = next((item for item in result.measures if item.quantity.key == key), None)
        if measure and measure.differences:
            first = measure.differences[0]
            before, after = (written(measure, measure.estimates[name].value) for name in (first.against, first.model))
            shown = f'<span class="from">{before} →</span> {after}'
            limit = [measure.quantity.title] * (key == "stop_rate")
            yield tile(title, shown, escaped(written_difference(measure, first)), *limit)
    if result.judged:
        low, high = result.judged.win_rate.interval
        rate = result.judged.win_rate
        against = f"against {escaped(rate.baseline)}, judged by {escaped(rate.annotator)}"
        yield tile("Win rate", f"{rate.win_rate:.1f} %", f"95 % interval: {low:.1f} to {high:.1f} %", against)
    origin = result.trained_on
    checked = f"compared with {count(len(origin.records))} training rows" if origin else "training data unknown"
    yield tile("Rows", count(result.rows), f"{count(len(result.dropped))} left out", checked)


def _numbers(result: EvaluationResult) -> str:
    names = [str(model["name"]) for model in result.models]
    rows = [
        (
            f"{item.quantity.title}, {item.quantity.unit}",
            *(_with_interval(item, item.estimates[name]) if name in item.estimates else "–" for name in names),
        )
        for item in result.measures
    ]
    rows += [
        ("Perplexity", *(_perplexity(item.estimates.get(name)) for name in names))
        for item in result.measures
        if item.quantity.key == "loss"
    ]
    shown = table(("", *map(escaped, names)), rows, numbers=len(names), shown=len(rows), codes=0)
    telling = [item for item in result.measures if any(one.value for one in item.estimates.values())]
    return shown + "".join(f'<div class="small">{_drawn(item)}</div>' for item in telling)


def _perplexity(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    value, low, high = (math.exp(end) for end in (estimate.value, *estimate.interval))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _drawn(measure: Measure) -> str:
    spreads = [Spread(name, one.value, *one.interval) for name, one in measure.estimates.items()]
    percent = measure.quantity.unit == "share"
    title = measure.quantity.title
    drawn = two_widths(lambda width: draw_intervals(spreads, title=title, width=width, percent=percent), *_WIDTHS)
    unit = "" if percent else f" <small>{measure.quantity.unit}</small>"
    return f'<figure class="card"><h3>{escaped(title)}{unit}</h3>{drawn}</figure>'


def _differences(result: EvaluationResult) -> str:
    rows = [
        (measure.quantity.title, item.against, written_difference(measure, item))
        for measure in result.measures
        for item in measure.differences
    ]
    head = ("What", "Against", "Difference, 95 % interval")
    return table(head, rows, numbers=1, shown=len(rows), codes=0) if rows else ""


def _win_rate(result: EvaluationResult) -> str:
    judged = result.judged
    if judged is None:
        return ""
    rate = judged.win_rate
    spreads = [_spread("as judged", rate.win_rate / 100, rate.interval, 100)]
    if rate.length_controlled:
        controlled = rate.length_controlled
        spreads.append(_spread("at equal lengths", controlled.win_rate / 100, controlled.interval, 100))
    if rate.position_bias:
        spreads.append(_spread("without the order", rate.position_bias.corrected, rate.position_bias.interval, 1))
    title = f"Win rate of {rate.model} against {rate.baseline}"
    drawn = two_widths(
        lambda width: draw_intervals(spreads, title=title, width=width, middle=0.5, percent=True), *_WIDTHS
    )
    same = judged.self_consistency
    facts = {
        "model": rate.model,
        "baseline": rate.baseline,
        "judge": rate.annotator,
        "won, drawn, lost": f"{count(rate.n_wins)}, {count(rate.n_draws)}, {count(rate.n_wins_base)}",
        "comparisons with a verdict": f"{count(rate.n_total)} of {count(judged.comparisons)}",
        "equal answers, draws without a question": count(judged.identical),
        "answers that were no verdict": count(judged.answers_without_verdict),
        "one winner in both orders": f"{rate.position_bias.consistent:.0%}" if rate.position_bias else "",
        "the answer shown first gets": f"{rate.position_bias.shown_first:.1%}" if rate.position_bias else "",
        "p-value of the order": f"{rate.position_bias.p_value:.2g}" if rate.position_bias else "",
        "asked twice, the same winner": f"{judged.repeated_alike} of {judged.repeated}" if same else "",
        "its 95 % interval": f"{same.low:.0%} to {same.high:.0%}" if same else "",
        "tokens": count(judged.tokens),
        "cost, US dollars": judged.usd or "",
        "SHA-256 of the judge's prompt": judged.prompt_sha256[:16],
    }
    return f'<figure class="card">{drawn}</figure>{pairs(facts)}'


def _spread(label: str, value: float, interval: Interval, scale: float) -> Spread:
    return Spread(label, value, interval.low / scale, interval.high / scale)


def _lengths(result: EvaluationResult) -> str:
    dots = [
        Dot(item.longer, 100 * item.share, f"row {item.place + 1}: {item.longer:+,} characters, {item.share:.0%}")
        for item in result.compared
    ]
    drawn = two_widths(
        lambda size: draw_scatter(
            dots,
            title="Preference over the difference in length",
            size=size,
            x_label="characters by which the adapter's answer is longer",
            y_label="what the adapter gets, %",
            y_range=(0, 100),
        ),
        *_SCATTER,
    )
    return f'<figure class="card">{drawn}</figure>' if dots else ""


def _example(example: Example) -> str:
    record = example.task.record
    said = {**example.answers, **({"reference": record.output} if record.output else {})}
    styles = ("after", "before", "reference", "reference")
    answers = "".join(
        answer(styles[min(place, 3)], name, text, example.stopped.get(name))
        for place, (name, text) in enumerate(said.items())
    )
    return exchange(record.instruction, record.input, answers, example.why)


def _dropped(result: EvaluationResult) -> str:
    rows: Sequence[tuple[str, str]] = [(row.origin, row.reason) for row in result.dropped]
    return table(("Row", "Why"), rows, numbers=0, shown=_SHOWN_ROWS) if rows else ""


def _origins(result: EvaluationResult) -> str:
    trained, settings = result.trained_on, result.config.model_dump()
    own = trained and trained.heldout and trained.sha256 == result.evaluated.sha256
    facts = {
        "evaluation set": public_name(result.evaluated.name),
        "its SHA-256": result.evaluated.sha256[:16],
        "rows held out by the run" if own else "rows read": count(len(result.evaluated.tasks)),
        "training data": public_name(trained.name) if trained else "unknown",
        "SHA-256 of the training data": trained.sha256[:16] if trained else "",
        **{name.replace("_", " "): str(value) for name, value in settings.items() if value not in (None, {})},
        **dict(result.versions),
    }
    models = "".join(
        pairs({key.replace("_", " "): _fact(value) for key, value in model.items()}) for model in result.models
    )
    return pairs(facts) + models


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(_fact(item) for item in value.values())
    return legible(str(value))[:16] if isinstance(value, str) and len(value) == 64 else str(value or "")
