import pytest

from alpaca_lora.config import FinetuneConfig
from alpaca_lora.errors import ConfigError
from alpaca_lora.planning import validation_count


@pytest.mark.parametrize(
    ("size", "rows", "heldout", "count"),
    [
        (None, 899, 0, 44),
        (None, 51_760, 0, 500),
        (None, 19, 0, 0),
        (None, 20, 0, 1),
        (None, 300, 40, 40),
        (0, 300, 40, 0),
        (2_000, 51_760, 0, 2_000),
        (100, 300, 40, 100),
        (0.1, 30, 0, 3),
        (0.001, 30, 0, 1),
    ],
)
def test_so_many_records_are_held_out(size, rows, heldout, count):
    assert validation_count(FinetuneConfig(validation_size=size), rows, heldout) == count


def test_holding_out_everything_is_refused():
    with pytest.raises(ConfigError) as caught:
        validation_count(FinetuneConfig(validation_size=2_000), 899, 0)
    assert str(caught.value) == (
        "config.validation_size 2000 leaves none of 899 records to train on; hold out at most 898, "
        "or a share such as 0.05"
    )


def test_keeping_the_best_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"config\.keep_best needs held-out records, and 12 records are too few"):
        validation_count(FinetuneConfig(keep_best=True), 12, 0)
