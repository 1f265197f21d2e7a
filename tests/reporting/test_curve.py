import random
from dataclasses import replace

import pytest

from alpaca_lora.reporting.curve import Point, read_loss_curve, read_series
from alpaca_lora.reporting.summary import RunSummary


def test_the_last_line_of_a_repeated_step_counts() -> None:
    metrics = [{"step": 2, "loss": 3.0}, {"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.5}]
    assert read_series(metrics, "loss") == ((1, 4.0), (2, 2.5))


def test_values_that_cannot_be_drawn_are_passed_over() -> None:
    metrics = [
        {"step": 1, "loss": float("nan")},
        {"step": 2, "loss": None},
        {"loss": 1.0},
        {"step": 3, "loss": float("inf")},
    ]
    assert read_series([*metrics, {"step": 4, "loss": "1.0"}, {"step": 5, "loss": 1}], "loss") == ((5, 1.0),)


def test_the_summary_adds_the_ends_that_the_lines_lack(summary: RunSummary) -> None:
    metrics = [{"step": 120, "heldout_loss": 1.6}]
    assert read_loss_curve(metrics, summary).heldout == ((0, 2.0), (120, 1.6), (240, 1.5))


def test_a_logged_end_is_not_overwritten_by_the_summary(summary: RunSummary) -> None:
    best = replace(summary, heldout_loss_after=1.4)
    assert read_loss_curve([{"step": 240, "heldout_loss": 1.5}], best).heldout[-1] == (240, 1.5)


def test_no_metrics_make_an_empty_curve() -> None:
    curve = read_loss_curve([])
    assert (curve.training, curve.smoothed, curve.heldout) == ((), (), ())


def test_a_straight_line_is_smoothed_to_itself_up_to_its_ends() -> None:
    metrics = [{"step": step, "loss": 5 - step / 100} for step in range(1, 201)]
    for point in read_loss_curve(metrics).smoothed:
        assert point.value == pytest.approx(5 - point.step / 100)


def test_noise_is_smoothed_to_the_trend_under_it() -> None:
    source = random.Random(0)
    metrics = [{"step": step, "loss": 2 + source.gauss(0, 0.2)} for step in range(1, 401)]
    inner = read_loss_curve(metrics).smoothed[40:-40]
    assert max(abs(point.value - 2) for point in inner) < 0.1


@pytest.mark.parametrize("steps", [[1], [1, 2], [1, 100], [10, 20, 30], [1, 2, 3, 1000]])
def test_few_or_uneven_points_can_be_smoothed(steps: list[int]) -> None:
    smoothed = read_loss_curve([{"step": step, "loss": 1.0} for step in steps]).smoothed
    assert [point.step for point in smoothed] == steps
    assert [point.value for point in smoothed] == pytest.approx([1.0] * len(steps))


def test_a_long_run_is_thinned_but_keeps_its_spikes() -> None:
    metrics = [{"step": step, "loss": 9.0 if step == 5001 else 1.0} for step in range(1, 10_001)]
    curve = read_loss_curve(metrics)
    assert len(curve.smoothed) == 770
    assert len(curve.training) <= 1600
    assert Point(5001, 9.0) in curve.training
    assert list(curve.training) == sorted(curve.training)
