import json
import math

import numpy as np
import pytest

from alpaca_lora.config import EvaluationConfig
from alpaca_lora.evaluation import bootstrap_difference
from alpaca_lora.evaluation.answering import Answered
from alpaca_lora.evaluation.measures import Measure, measure_models, repeated_share
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.models import RowLoss
from alpaca_lora.records import Record

CONFIG = EvaluationConfig(resamples=500)
TASKS = [
    Task(Record("a", "", "abcd"), expected="yes"),
    Task(Record("b", "", "é"), regex="o"),
    Task(Record("c", "", "")),
]


def said(texts, stopped, losses):
    return Answered(tuple(texts), tuple(stopped), tuple(losses))


@pytest.fixture
def measures():
    answered = {
        "adapter": said(["Yes.", "no", ""], [True, True, False], [RowLoss(2.0, 4), RowLoss(8.0, 2), None]),
        "base": said(
            ["Maybe", "yes", "a b c d a b c d"], [True, False, False], [RowLoss(4.0, 4), RowLoss(8.0, 2), None]
        ),
        "stored": said(["yes", "so", "x"], [None] * 3, [None] * 3),
    }
    return {measure.quantity.key: measure for measure in measure_models(TASKS, answered, CONFIG)}


def test_every_quantity_is_what_it_says(measures):
    found = {key: {name: one.value for name, one in item.estimates.items()} for key, item in measures.items()}
    assert found == {
        "loss": {"adapter": 10 / 6, "base": 12 / 6},
        "bits_per_byte": {"adapter": 10 / 6 / math.log(2), "base": pytest.approx(12 / 6 / math.log(2))},
        "stop_rate": {"adapter": 2 / 3, "base": 1 / 3},
        "exact_match": {"adapter": 1, "base": 0, "stored": 1},
        "regex_match": {"adapter": 1, "base": 0, "stored": 1},
        "repetition": {"adapter": 0, "base": pytest.approx(0.2 / 3), "stored": 0},
        "empty": {"adapter": 1 / 3, "base": 0, "stored": 0},
        "characters": {"adapter": 2, "base": pytest.approx(23 / 3), "stored": 2},
    }
    assert {key: item.rows for key, item in measures.items()} == {
        "loss": 2, "bits_per_byte": 2, "stop_rate": 3, "exact_match": 1, "regex_match": 1,
        "repetition": 3, "empty": 3, "characters": 3,
    }  # fmt: skip


def test_the_first_model_is_compared_with_every_other_that_has_the_quantity(measures):
    pairs = {key: [(item.model, item.against) for item in found.differences] for key, found in measures.items()}
    assert pairs["loss"] == [("adapter", "base")]
    assert pairs["characters"] == [("adapter", "base"), ("adapter", "stored")]


def test_losses_per_token_of_two_tokenizers_are_not_subtracted():
    one = said(["", ""], [True] * 2, [RowLoss(2.0, 4), RowLoss(3.0, 3)])
    other = said(["", ""], [True] * 2, [RowLoss(2.0, 5), RowLoss(3.0, 3)])
    loss, bits, *_ = measure_models(TASKS[:2], {"one": one, "other": other}, CONFIG)
    assert (loss.quantity.key, loss.differences) == ("loss", ())
    assert (bits.quantity.key, len(bits.differences)) == ("bits_per_byte", 1)


def test_what_is_written_is_read_back(measures):
    for measure in measures.values():
        written = json.loads(json.dumps(measure.to_json()))
        assert Measure.from_json(written) == measure


def test_perplexity_stands_beside_the_loss(measures):
    assert measures["loss"].to_json()["models"]["adapter"]["perplexity"] == math.exp(10 / 6)
    assert "perplexity" not in measures["stop_rate"].to_json()["models"]["adapter"]


@pytest.mark.parametrize(
    ("text", "share"), [("", 0), ("a b c", 0), ("a b c d", 0), ("go " * 7, 0.75), ("a b c d " * 100, 393 / 397)]
)
def test_repetition_is_the_share_of_runs_that_came_before(text, share):
    assert repeated_share(text) == share


def test_a_weighted_bootstrap_covers_a_mean_over_tokens():
    """Rows of very different lengths: 95 % intervals of the weighted mean have the truth 93 to 97 % of the times."""
    generator = np.random.default_rng(5)
    covered = 0
    for seed in range(300):
        tokens = generator.integers(1, 200, size=80)
        values = generator.normal(0.3, 1, size=80)
        low, high = bootstrap_difference(values, np.zeros(80), seed=seed, weights=tokens, resamples=400)
        covered += low <= 0.3 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_equal_weights_change_nothing_and_a_heavy_row_decides():
    first, second = [1.0, 2.0, 6.0], [0.0, 1.0, 1.0]
    plain = bootstrap_difference(first, second, seed=1, resamples=300)
    assert bootstrap_difference(first, second, seed=1, weights=[2, 2, 2], resamples=300) == pytest.approx(plain)
    low, high = bootstrap_difference([0.0, 5.0], [0.0, 0.0], seed=1, weights=[1, 1e9], resamples=300, level=0.5)
    assert high == pytest.approx(5)
