import json
from dataclasses import asdict, replace

import pytest

from alpaca_lora.reporting.summary import RunSummary


def test_the_interval_of_the_stop_rate_is_the_published_wilson_interval(summary: RunSummary) -> None:
    # 90 of 179, the count of the Stanford Alpaca comparison: 43.0 to 57.5 %.
    low, high = replace(summary, stop_rate_after=90 / 179, stop_rate_records=179).stop_rate_interval
    assert (round(low, 3), round(high, 3)) == (0.430, 0.575)


@pytest.mark.parametrize(("rate", "bound"), [(0.0, 0), (1.0, 1)])
def test_an_extreme_stop_rate_still_has_an_interval(summary: RunSummary, rate: float, bound: int) -> None:
    interval = replace(summary, stop_rate_after=rate).stop_rate_interval
    assert interval[bound] == pytest.approx(rate)
    assert 0.15 < interval[1] - interval[0] < 0.25


def test_nothing_answered_has_no_interval(without_heldout: RunSummary) -> None:
    assert without_heldout.stop_rate_interval is None


def test_the_change_of_the_loss_is_relative(summary: RunSummary) -> None:
    assert summary.heldout_change == -0.25


@pytest.mark.parametrize("loss", [None, float("nan"), float("inf")])
def test_a_loss_that_is_missing_or_not_finite_has_no_change(summary: RunSummary, loss: float | None) -> None:
    assert replace(summary, heldout_loss_after=loss).heldout_change is None
    assert replace(summary, heldout_loss_before=loss).heldout_change is None


def test_dropped_rows_are_counted_by_reason_the_most_frequent_first(summary: RunSummary) -> None:
    assert list(summary.data.dropped_by_reason.items()) == [("longer than max_length", 2), ("empty output", 1)]


def test_a_summary_is_strict_json(summary: RunSummary) -> None:
    assert json.loads(json.dumps(asdict(summary), allow_nan=False))["heldout_loss_after"] == 1.5
