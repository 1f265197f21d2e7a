import pytest

from alpaca_lora.evaluation import Interval
from alpaca_lora.evaluation.measures import QUANTITIES, Difference, Estimate, Measure
from alpaca_lora.evaluation.page import written, written_difference


def measure(key):
    quantity = next(item for item in QUANTITIES if item.key == key)
    return Measure(quantity, 10, {"a": Estimate(0.5, Interval(0.4, 0.6))}, (), {})


@pytest.mark.parametrize(
    ("key", "value", "interval", "text"),
    [
        ("loss", -0.25, (-0.3, -0.2), "-0.250 (-0.300 to -0.200), better"),
        ("loss", 0.25, (0.2, 0.3), "+0.250 (+0.200 to +0.300), worse"),
        ("loss", -0.25, (-0.6, 0.1), "-0.250 (-0.600 to +0.100), not told from 0"),
        ("stop_rate", 0.25, (0.1, 0.4), "+25.0 points (+10.0 to +40.0), better"),
        ("repetition", 0.25, (0.1, 0.4), "+25.0 points (+10.0 to +40.0), worse"),
        ("characters", 120.4, (80.2, 160.6), "+120 (+80 to +161)"),
    ],
)
def test_a_difference_is_called_better_or_worse_only_where_its_interval_tells(key, value, interval, text):
    assert written_difference(measure(key), Difference("a", "b", value, Interval(*interval))) == text


def test_shares_are_written_as_per_cent():
    assert [written(measure(key), 0.5) for key in ("loss", "stop_rate", "characters")] == ["0.500", "50.0 %", "0"]
