import json
import math
from dataclasses import replace

import numpy as np
import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation import Annotation, measure_win_rate

ROWS = 805


def verdict(number, preference, *, lengths=(100, 100), model="new", switched=None):
    return Annotation(
        instruction=f"task {number}",
        output_1="b" * lengths[0],
        generator_1="old",
        output_2="m" * lengths[1],
        generator_2=model,
        annotator="judge",
        preference=preference,
        is_switched_outputs=switched,
    )


def judged(generator, quality, longer, *, effect, model="new", base=300):
    """Verdicts of a judge that adds `effect` to the log odds of the model as its answer gets longer."""
    odds = quality + effect * np.tanh(longer / 200)
    won = generator.random(len(odds)) < 1 / (1 + np.exp(-odds))
    return [
        verdict(number, 1 + int(win), lengths=(base, base + int(more)), model=model)
        for number, (win, more) in enumerate(zip(won, longer, strict=True))
    ]


def planted(generator, *, mean, effect=1.2):
    """Rows of a model whose answers are longer by `mean` characters, those of two variants, and the true rate."""
    quality = generator.normal(-0.5, 0.7, size=ROWS)
    longer = np.clip(generator.normal(mean, 200, size=ROWS).round(), -290, None)
    rows = judged(generator, quality, longer, effect=effect)
    variants = []
    for name, shift in (("concise", -180), ("verbose", 350)):
        more = np.clip(generator.normal(shift, 60, size=ROWS).round(), -290, None)
        variants += judged(generator, np.zeros(ROWS), more, effect=effect, model=name)
    return rows, variants, 100 * float((1 / (1 + np.exp(-quality))).mean())


def test_the_figures_are_those_of_alpaca_eval_by_hand():
    rate = measure_win_rate([verdict(n, p) for n, p in enumerate([2, 1, 1, 0, 1.5, None, 1.9])])
    assert (rate.n_wins, rate.n_wins_base, rate.n_draws, rate.n_total, rate.n_missing) == (2, 2, 2, 6, 1)
    assert rate.win_rate == pytest.approx(100 * 2.9 / 6)
    assert rate.discrete_win_rate == pytest.approx(50)
    shares = np.array([1, 0, 0, 0.5, 0.5, 0.9])
    assert rate.standard_error == pytest.approx(100 * shares.std(ddof=1) / math.sqrt(6))
    assert rate.interval.low < rate.win_rate < rate.interval.high


def test_one_comparison_has_no_standard_error_and_is_still_json():
    rate = measure_win_rate([verdict(0, 2)])
    assert math.isnan(rate.standard_error)
    assert json.loads(json.dumps(rate.to_json(), allow_nan=False))["standard_error"] is None


@pytest.mark.parametrize("mean", [80, 400])
def test_a_judge_that_prefers_length_is_corrected_to_the_planted_rate(mean):
    raw, controlled, covered = [], [], 0
    for seed in range(50):
        rows, variants, truth = planted(np.random.default_rng(seed), mean=mean)
        rate = measure_win_rate(rows, variants=variants)
        raw.append(rate.win_rate - truth)
        controlled.append(rate.length_controlled.win_rate - truth)
        covered += rate.length_controlled.interval.low <= truth <= rate.length_controlled.interval.high
    assert np.mean(raw) > 5
    assert abs(np.mean(controlled)) < 2
    assert covered >= 44


def test_where_lengths_overlap_the_model_s_own_rows_are_enough():
    errors = []
    for seed in range(50):
        rows, _, truth = planted(np.random.default_rng(seed), mean=80)
        errors.append(measure_win_rate(rows).length_controlled.win_rate - truth)
    assert abs(np.mean(errors)) < 2


def test_without_variants_there_is_no_rate_where_nearly_all_answers_are_longer():
    rows, _, _ = planted(np.random.default_rng(0), mean=500)
    assert measure_win_rate(rows).length_controlled is None


def test_a_judge_that_does_not_mind_length_keeps_its_rate():
    rows, _, truth = planted(np.random.default_rng(4), mean=80, effect=0)
    rate = measure_win_rate(rows)
    assert rate.length_controlled.interval.low < truth < rate.length_controlled.interval.high
    assert rate.length_controlled.win_rate == pytest.approx(rate.win_rate, abs=2)


def test_equally_long_answers_leave_nothing_to_control():
    rate = measure_win_rate([verdict(n, 1 + (n % 4 == 0)) for n in range(400)])
    assert rate.length_controlled.win_rate == pytest.approx(rate.win_rate, abs=0.1)
    assert rate.length_controlled.length_effect == 0


def test_two_orders_of_a_comparison_count_once_with_their_mean():
    rows = [
        verdict(0, 2, switched=True),
        verdict(0, 1, switched=False),  # did not survive the swap
        verdict(1, 2, switched=False),
        verdict(1, 2, switched=True),
        verdict(2, 2, switched=True),
        verdict(2, None, switched=False),  # one order is missing
        verdict(3, 1, switched=True),  # asked in one order only
    ]
    rate = measure_win_rate(rows)
    assert (rate.n_wins, rate.n_draws, rate.n_wins_base, rate.n_total, rate.n_missing) == (1, 1, 1, 3, 1)
    assert (rate.position_bias.pairs, rate.position_bias.shown_first) == (2, 0.75)
    assert measure_win_rate([replace(row, is_switched_outputs=None) for row in rows]).position_bias is None
    assert rate.to_json()["position_bias"]["shown_first"] == 0.75


def test_the_same_two_answers_to_a_question_that_is_in_the_set_twice_are_two_comparisons():
    twice = [(2, False), (2, True), (1, False), (1, True)]
    rate = measure_win_rate([verdict(0, preference, switched=switched) for preference, switched in twice])
    assert (rate.n_wins, rate.n_wins_base, rate.n_draws, rate.position_bias.pairs) == (1, 1, 0, 2)


@pytest.mark.parametrize(
    ("rows", "variants", "said"),
    [
        ([], [], "of one model, baseline and judge, got no rows"),
        ([verdict(0, 1), verdict(0, 1, model="other")], [], "got 'new' against 'old' by 'judge'; 'other' against"),
        ([verdict(0, None)], [], "no comparison of 'new' with 'old' has a preference"),
        (
            [verdict(0, 1)],
            [replace(verdict(0, 1), generator_1="gpt")],
            "variants must be judged against 'old' by 'judge', as the model is; got 'gpt' by 'judge'",
        ),
    ],
)
def test_rows_that_cannot_be_scored_together_are_refused(rows, variants, said):
    with pytest.raises(ConfigError, match=said):
        measure_win_rate(rows, variants=variants)
