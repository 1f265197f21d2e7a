"""What a token costs. Prices come from a file of the user, since they change without notice and a stale one is a lie.

The file is a JSON object: {"model-name": {"input": 0.15, "output": 0.6}}, in US dollars per million tokens. Sums are
exact decimals.
"""

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from alpaca_lora._paths import expanded
from alpaca_lora.errors import ConfigError
from alpaca_lora.teachers.protocol import Usage

__all__ = ["FREE", "Price", "default_price_file", "find_price"]

_MILLION = 1_000_000
_MOST = 10**6
_EXAMPLE = '{"%s": {"input": 0.15, "output": 0.6}}'


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """Return the exact price of a request in US dollars.

        >>> Price(Decimal("0.15"), Decimal("0.6")).cost(Usage(1000, 200))
        Decimal('0.00027')
        """
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / _MILLION


FREE = Price(Decimal(0), Decimal(0))


def default_price_file() -> Path:
    """Return where prices are looked up when no file is named."""
    return user_config_path("alpaca-lora") / "prices.json"


def find_price(model: str, path: str | Path | None = None) -> Price | None:
    """Return the price of a model.

    Args:
        model: its name, exactly as in the file.
        path: the price file; None is the user's own, which need not exist.

    Returns:
        The price, or None if the file does not have it.

    Raises:
        ConfigError: the file cannot be read, or its entry for this model is no price.
    """
    file = default_price_file() if path is None else expanded(path)
    if path is None and not file.is_file():
        return None
    try:
        prices = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
        if not isinstance(prices, dict):
            raise ValueError(f"an object is expected, found {type(prices).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"price file {str(file)!r} cannot be read: {error}; write {_EXAMPLE % model}") from error
    return None if model not in prices else _price(prices[model], f"price file {str(file)!r}: {model!r}", model)


def _price(entry: Any, where: str, model: str) -> Price:
    given = entry if isinstance(entry, dict) else {}
    faults = [f"unknown name {name!r}" for name in given if name not in ("input", "output")]
    values = []
    for name in ("input", "output"):
        try:
            values.append(Decimal(given[name]))
            if not values[-1].is_finite() or not 0 <= values[-1] <= _MOST:
                raise ValueError
        except (KeyError, TypeError, ValueError, InvalidOperation):
            faults.append(f"{name!r} must be a number from 0 to {_MOST:,}, got {given.get(name)!r}")
    if faults:
        raise ConfigError(f"{where}: {'; '.join(faults)}; write {_EXAMPLE % model} in US dollars per million tokens")
    return Price(*values)
