import math

import numpy as np
import pytest

from alpaca_lora.evaluation import wilson_interval
from alpaca_lora.evaluation.logistic import fit_logistic


def test_a_constant_alone_gives_the_mean_with_one_more_draw_and_its_error():
    shares = [1.0] * 30 + [0.0] * 70
    fit = fit_logistic(np.ones((100, 1)), shares)
    share, interval = fit.share()
    assert share == pytest.approx(30.5 / 101, abs=1e-4)
    assert math.sqrt(fit.covariance[0, 0]) == pytest.approx(math.sqrt(1 / 30 + 1 / 70), rel=2e-2)
    assert interval.low < 0.3 < interval.high


def test_planted_coefficients_are_found_within_their_errors():
    generator = np.random.default_rng(5)
    x = np.column_stack([np.ones(20_000), generator.normal(size=20_000)])
    shares = generator.random(20_000) < 1 / (1 + np.exp(-x @ [-0.5, 1.2]))
    fit = fit_logistic(x, shares)
    assert np.abs((fit.coefficients - [-0.5, 1.2]) / np.sqrt(np.diag(fit.covariance))).max() < 3


def test_a_row_of_weight_two_is_two_rows_of_one_cluster():
    x, shares = np.array([[1.0], [1.0], [1.0]]), [1.0, 0.0, 0.4]
    doubled = fit_logistic(np.vstack([x, x]), shares * 2, clusters=[0, 1, 2, 0, 1, 2])
    weighted = fit_logistic(x, shares, weights=[2, 2, 2])
    assert np.allclose(doubled.coefficients, weighted.coefficients)
    assert np.allclose(doubled.covariance, weighted.covariance)
    assert doubled.covariance[0, 0] > 1.9 * fit_logistic(np.vstack([x, x]), shares * 2).covariance[0, 0]


@pytest.mark.parametrize("total", [5, 40, 805])
def test_where_all_agree_the_share_is_as_unsure_as_wilson_says(total):
    share, interval = fit_logistic(np.ones((total, 1)), np.ones(total)).share()
    assert share == pytest.approx((total + 0.5) / (total + 1), abs=0.02)
    wilson = wilson_interval(total, total)
    assert 1 - interval.low == pytest.approx(1 - wilson.low, rel=0.25)


def test_a_feature_on_which_the_data_say_nothing_stays_as_unsure_as_before():
    fit = fit_logistic(np.column_stack([np.ones(50), np.zeros(50)]), [0.0, 1.0] * 25)
    assert (fit.coefficients[1], fit.covariance[1, 1]) == (0.0, pytest.approx(100))
