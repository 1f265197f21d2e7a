import numpy as np
import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation import measure_position_bias

PAIRS = 400


def judge(generator, *, bias, pairs=PAIRS):
    """Verdicts on the same pairs in both orders, and the true share: `bias` is added to the log odds of the first."""
    quality = generator.normal(0.4, 0.8, size=pairs)

    def verdicts(shift):
        return (generator.random(pairs) < 1 / (1 + np.exp(-quality - shift))).astype(float)

    return verdicts(bias), verdicts(-bias), float((1 / (1 + np.exp(-quality))).mean())


def test_a_planted_bias_is_detected_and_corrected_within_the_interval():
    generator, covered, detected = np.random.default_rng(263), 0, 0
    for _ in range(200):
        first, second, truth = judge(generator, bias=0.7)
        found = measure_position_bias(first, second)
        detected += found.p_value < 0.01
        covered += found.interval.low <= truth <= found.interval.high
        assert found.shown_first > 0.5
    assert detected == 200
    assert covered >= 0.93 * 200


def test_the_rate_in_one_order_alone_misses_the_truth_that_the_correction_finds():
    first, second, truth = judge(np.random.default_rng(1), bias=0.7, pairs=20_000)
    assert abs(first.mean() - truth) > 0.1
    assert measure_position_bias(first, second).corrected == pytest.approx(truth, abs=0.01)


def test_a_judge_that_does_not_mind_is_not_accused_more_often_than_the_level_says():
    generator = np.random.default_rng(2)
    found = [measure_position_bias(*judge(generator, bias=0)[:2]).p_value for _ in range(400)]
    assert np.mean(np.array(found) < 0.05) <= 0.07


def test_a_judge_that_always_takes_the_first_is_at_one_half_and_never_consistent():
    found = measure_position_bias([1.0] * 40, [0.0] * 40)
    assert (found.shown_first, found.consistent, found.corrected) == (1.0, 0.0, pytest.approx(0.5))
    assert found.p_value < 1e-10


def test_a_judge_that_only_sees_the_answers_keeps_its_rate():
    verdicts = [1.0] * 30 + [0.0] * 60 + [0.5] * 10
    found = measure_position_bias(verdicts, verdicts)
    assert (found.shown_first, found.consistent, found.p_value) == (0.5, 1.0, 1.0)
    assert found.corrected == pytest.approx(70.5 / 201, abs=1e-4)


def test_when_model_and_baseline_change_places_the_rate_turns_around():
    first, second, _ = judge(np.random.default_rng(3), bias=0.5)
    found, turned = measure_position_bias(first, second), measure_position_bias(1 - second, 1 - first)
    assert turned.corrected == pytest.approx(1 - found.corrected)
    assert (turned.shown_first, turned.p_value) == (pytest.approx(found.shown_first), found.p_value)


def test_pairs_that_do_not_match_are_refused():
    with pytest.raises(ConfigError, match=r"one share per pair each, got \(2,\) and \(1,\)"):
        measure_position_bias([1, 0], [1])
