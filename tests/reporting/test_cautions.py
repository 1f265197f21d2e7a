from dataclasses import replace

from alpaca_lora.reporting.cautions import list_cautions
from alpaca_lora.reporting.summary import ListedRow, RunSummary


def test_a_run_without_trouble_has_no_caution(summary: RunSummary, metrics: list[dict[str, float]]) -> None:
    assert list_cautions(summary, metrics) == ()


def test_a_run_that_did_not_end_says_how_far_it_came(summary: RunSummary) -> None:
    assert list_cautions(replace(summary, status="preempted", steps=100)) == (
        "The run was interrupted after saving; the same command goes on from its last checkpoint. It did 100 of 240 "
        "steps, and every number here is of that step.",
    )


def test_nothing_held_out_is_said(without_heldout: RunSummary) -> None:
    assert list_cautions(without_heldout) == (
        "No rows were held out, so nothing here tells how the adapter does on rows that it has not seen.",
    )


def test_a_loss_over_few_rows_is_said(summary: RunSummary) -> None:
    few = replace(summary, data=replace(summary.data, heldout_rows=8))
    assert list_cautions(few) == ("The held-out loss is a mean over only 8 rows; small differences mean little.",)


def test_a_loss_that_rose_is_said(summary: RunSummary) -> None:
    assert list_cautions(replace(summary, heldout_loss_after=2.2)) == (
        "The held-out loss rose by 10.0 %: the adapter did harm there.",
    )


def test_overfitting_is_said_with_the_better_step(summary: RunSummary) -> None:
    metrics = [{"step": 60, "heldout_loss": 1.3}, {"step": 240, "heldout_loss": 1.5}]
    assert list_cautions(summary, metrics) == (
        "The held-out loss was lowest at step 60 (1.300) and ended at 1.500: the later steps overfit. Train fewer "
        "epochs, or set keep_best.",
    )


def test_the_kept_best_step_is_not_called_overfit(summary: RunSummary) -> None:
    metrics = [{"step": 60, "heldout_loss": 1.3}, {"step": 240, "heldout_loss": 1.5}]
    assert list_cautions(replace(summary, heldout_loss_after=1.3), metrics) == ()


def test_answers_that_do_not_end_are_said(summary: RunSummary) -> None:
    assert list_cautions(replace(summary, stop_rate_after=0.25)) == (
        "Only 25 % of the answers end by themselves: train longer, or allow more tokens to answer "
        "(probe_max_new_tokens) if the data's own answers are that long.",
    )


def test_many_dropped_rows_are_said(summary: RunSummary) -> None:
    dropped = tuple(ListedRow(f"a.jsonl:{line}", "too long", 900) for line in range(140))
    assert list_cautions(replace(summary, data=replace(summary.data, dropped=dropped))) == (
        "140 of 560 rows (25 %) were dropped; the report lists them with the reason.",
    )
