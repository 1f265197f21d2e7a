"""What a careful colleague would say about the numbers of a run.

Only what a reader could get wrong: numbers that rest on little, that got worse, or that hide rows.
"""

from collections.abc import Iterator

from alpaca_lora.reporting.curve import read_loss_curve
from alpaca_lora.reporting.summary import Metrics, RunSummary
from alpaca_lora.reporting.wording import change, count, loss_value, percent

__all__ = ["list_cautions"]

_ENDINGS = {
    "preempted": "was interrupted after saving; the same command goes on from its last checkpoint",
    "stopped": "was stopped before its last step",
    "failed": "failed",
}
_FEW_ROWS = 20
_OVERFIT = 0.02
_MANY_DROPPED = 0.05


def list_cautions(summary: RunSummary, metrics: Metrics = ()) -> tuple[str, ...]:
    """Return the cautions that belong beside the headline numbers, as sentences.

    Args:
        summary: the run.
        metrics: lines of metrics.jsonl; without them, overfitting cannot be seen.
    """
    return (*_about_ending(summary), *_about_loss(summary, metrics), *_about_answers(summary), *_about_rows(summary))


def _about_ending(summary: RunSummary) -> Iterator[str]:
    if summary.status != "completed":
        yield (
            f"The run {_ENDINGS[summary.status]}. It did {count(summary.steps)} of {count(summary.total_steps)} steps, "
            "and every number here is of that step."
        )


def _about_loss(summary: RunSummary, metrics: Metrics) -> Iterator[str]:
    if summary.data.heldout_rows == 0:
        yield "No rows were held out, so nothing here tells how the adapter does on rows that it has not seen."
        return
    if summary.data.heldout_rows < _FEW_ROWS:
        yield f"The held-out loss is a mean over only {summary.data.heldout_rows} rows; small differences mean little."
    if (summary.heldout_change or 0) > 0:
        yield f"The held-out loss rose by {change(summary.heldout_change).lstrip('+')}: the adapter did harm there."
    measured = [point for point in read_loss_curve(metrics, summary).heldout if point.step > 0]
    after = summary.heldout_loss_after
    if measured and after is not None:
        best = min(measured, key=lambda point: point.value)
        if after > best.value * (1 + _OVERFIT):
            yield (
                f"The held-out loss was lowest at step {count(best.step)} ({loss_value(best.value)}) and ended at "
                f"{loss_value(after)}: the later steps overfit. Train fewer epochs, or set keep_best."
            )


def _about_answers(summary: RunSummary) -> Iterator[str]:
    if summary.stop_rate_after is not None and summary.stop_rate_after < 0.5:
        yield (
            f"Only {percent(summary.stop_rate_after)} of the answers end by themselves: train longer, or allow more "
            "tokens to answer (probe_max_new_tokens) if the data's own answers are that long."
        )


def _about_rows(summary: RunSummary) -> Iterator[str]:
    dropped = len(summary.data.dropped)
    total = dropped + summary.data.trained_rows + summary.data.heldout_rows
    if dropped > _MANY_DROPPED * total:
        share = f"{count(dropped)} of {count(total)} rows ({percent(dropped / total)})"
        yield f"{share} were dropped; the report lists them with the reason."
