from decimal import Decimal

import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.teachers import Price, Usage, find_price


def test_a_price_is_read_and_multiplied_without_rounding(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text('{"m": {"input": 0.1, "output": 0.7}}')
    price = find_price("m", path)
    assert price == Price(Decimal("0.1"), Decimal("0.7"))
    assert price.cost(Usage(3, 1)) == Decimal("0.000001")


def test_a_model_that_the_file_does_not_have_has_no_price(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text("{}")
    assert find_price("m", path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "an object is expected"),
        ("{", "cannot be read"),
        ('{"m": {"input": 1}}', "'output' must be a number from 0 to 1,000,000, got None"),
        ('{"m": {"input": -1, "output": 1}}', "'input' must be a number from 0 to 1,000,000, got Decimal"),
        ('{"m": {"input": 1, "output": 1, "cached": 2}}', "unknown name 'cached'"),
        ('{"m": 3}', "'input' must be"),
        ('{"m": {"input": NaN, "output": 1}}', "'input' must be"),
        ('{"m": {"input": 1e999999999, "output": 1}}', "'input' must be"),
        ("[" * 200_000, "cannot be read"),
    ],
)
def test_a_price_that_is_none_is_refused_with_an_example(tmp_path, text, said):
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        find_price("m", path)
    assert '{"m": {"input": 0.15, "output": 0.6}}' in str(caught.value)


def test_a_file_that_is_named_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        find_price("m", tmp_path / "prices.json")
