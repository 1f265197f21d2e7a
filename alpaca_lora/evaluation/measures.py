"""Numbers that need no judge: losses, ends, lengths, repetition and matches, each with its interval.

All models are measured on the same rows, and two of them are compared row by row.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alpaca_lora.config import EvaluationConfig
from alpaca_lora.evaluation.answering import Answered
from alpaca_lora.evaluation.sets import Task
from alpaca_lora.evaluation.statistics import Interval, bootstrap_difference, share_interval

__all__ = [
    "Difference",
    "Estimate",
    "Measure",
    "QUANTITIES",
    "Quantity",
    "Rows",
    "compare",
    "measure_models",
    "repeated_share",
]

_RUN_WORDS = 4
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Values = NDArray[np.float64]


class Quantity(NamedTuple):
    """What is measured of a row."""

    key: str
    title: str
    """May have `{limit}` in it, the longest answer in tokens."""

    unit: str
    better: Literal["lower", "higher", ""]
    """Empty where neither is."""

    share: bool = False
    """Whether a row's number is 0 or 1."""


QUANTITIES = (
    Quantity("loss", "Loss of the reference answers", "nats per token", "lower"),
    Quantity("bits_per_byte", "The same, for models of any tokenizer", "bits per byte", "lower"),
    Quantity("stop_rate", "Answers that end by themselves within {limit:,} tokens", "share", "higher", share=True),
    Quantity("exact_match", "Answers equal to the expected one", "share", "higher", share=True),
    Quantity("regex_match", "Answers with the pattern of a right one", "share", "higher", share=True),
    Quantity("repetition", "Runs of four words that came before in the answer", "share", "lower"),
    Quantity("empty", "Empty answers", "share", "lower", share=True),
    Quantity("characters", "Length of an answer", "characters", ""),
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over rows."""

    value: float
    interval: Interval
    """95 %."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How one model differs from another on the same rows."""

    model: str
    against: str
    value: float
    interval: Interval
    """95 %, by paired bootstrap."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity of every model that has it."""

    quantity: Quantity
    rows: int
    estimates: Mapping[str, Estimate]
    differences: tuple[Difference, ...]
    """Of the adapter from every other model; none where the models' units differ, as tokens of two tokenizers."""

    quantiles: Mapping[str, Mapping[str, float]]
    """Of lengths, per model: 5, 25, 50, 75 and 95 % of the rows are not above them."""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        own = self.quantity._asdict()
        estimates = {name: asdict(estimate) for name, estimate in self.estimates.items()}
        if own["key"] == "loss":
            for estimate in estimates.values():
                estimate["perplexity"] = math.exp(estimate["value"])
        own |= {"rows": self.rows, "models": estimates, "differences": [asdict(item) for item in self.differences]}
        return own | ({"quantiles": self.quantiles} if self.quantiles else {})

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Measure":
        """Return the measure that `to_json` wrote."""
        return cls(
            Quantity(*(written[name] for name in Quantity._fields)),
            written["rows"],
            {name: Estimate(one["value"], Interval(*one["interval"])) for name, one in written["models"].items()},
            tuple(Difference(**item | {"interval": Interval(*item["interval"])}) for item in written["differences"]),
            written.get("quantiles", {}),
        )


class Rows(NamedTuple):
    """One quantity of every row of one model."""

    values: Values
    """NaN where a row has none, shape (N,)."""

    weights: Values
    """How much each row counts, shape (N,)."""


def measure_models(
    tasks: Sequence[Task], answered: Mapping[str, Answered], config: EvaluationConfig
) -> tuple[Measure, ...]:
    """Measure all models on all rows.

    Args:
        tasks: the rows.
        answered: what each model said; the first one is compared with every other.
        config: seed and resamples count.

    Returns:
        One measure for each quantity that a model has, in the order of `QUANTITIES`.
    """
    found = []
    for quantity in QUANTITIES:
        rows = {name: _rows(quantity.key, tasks, said) for name, said in answered.items()}
        rows = {name: row for name, row in rows.items() if not np.isnan(row.values).all()}
        if rows:
            title = quantity.title.format(limit=config.max_new_tokens)
            found.append(compare(quantity._replace(title=title), rows, config))
    return tuple(found)


def compare(quantity: Quantity, rows: Mapping[str, Rows], config: EvaluationConfig) -> Measure:
    """Return a quantity of several models, on the rows where all of them have it."""
    usable = ~np.isnan(np.stack([row.values for row in rows.values()])).any(axis=0)
    kept = {name: Rows(row.values[usable], row.weights[usable]) for name, row in rows.items()}
    (first, own), *others = kept.items()
    return Measure(
        quantity=quantity,
        rows=int(usable.sum()),
        estimates={name: _estimate(quantity, row, config) for name, row in kept.items()},
        differences=tuple(
            Difference(first, name, _mean(own) - _mean(row), _bootstrap(own, row.values, config))
            for name, row in others
            if np.array_equal(own.weights, row.weights)
        ),
        quantiles={name: _quantiles(row.values) for name, row in kept.items() if quantity.key == "characters"},
    )


def repeated_share(text: str) -> float:
    """Return which share of the runs of four words of a text came before in it; 0 for shorter ones.

    >>> repeated_share("a b c d a b c d"), repeated_share("one two three four five")
    (0.2, 0.0)
    """
    words = text.split()
    runs = [tuple(words[start : start + _RUN_WORDS]) for start in range(len(words) - _RUN_WORDS + 1)]
    return (len(runs) - len(set(runs))) / len(runs) if runs else 0.0


def _rows(key: str, tasks: Sequence[Task], said: Answered) -> Rows:
    if key == "loss":
        return _per_unit([(loss.nll, loss.tokens) if loss else None for loss in said.losses])
    if key == "bits_per_byte":
        sizes = [len(task.record.output.encode()) for task in tasks]
        return _per_unit(
            [(loss.nll / math.log(2), size) if loss else None for loss, size in zip(said.losses, sizes, strict=True)]
        )
    readers: dict[str, Callable[[int], float | None]] = {
        "stop_rate": lambda place: said.stopped[place],
        "exact_match": lambda place: tasks[place].equals_expected(said.texts[place]),
        "regex_match": lambda place: tasks[place].matches_regex(said.texts[place]),
        "repetition": lambda place: repeated_share(said.texts[place]),
        "empty": lambda place: not said.texts[place],
        "characters": lambda place: len(said.texts[place]),
    }
    numbers = [readers[key](place) for place in range(len(tasks))]
    return Rows(np.array([math.nan if number is None else float(number) for number in numbers]), np.ones(len(tasks)))


def _per_unit(sums: Sequence[tuple[float, int] | None]) -> Rows:
    """Return sums over so many units as means that count by their units."""
    values = [math.nan if item is None else item[0] / item[1] for item in sums]
    return Rows(np.array(values), np.array([0.0 if item is None else item[1] for item in sums]))


def _estimate(quantity: Quantity, row: Rows, config: EvaluationConfig) -> Estimate:
    interval = share_interval(row.values) if quantity.share else _bootstrap(row, np.zeros_like(row.values), config)
    return Estimate(_mean(row), interval)


def _bootstrap(row: Rows, other: Values, config: EvaluationConfig) -> Interval:
    return bootstrap_difference(row.values, other, seed=config.seed, weights=row.weights, resamples=config.resamples)


def _mean(row: Rows) -> float:
    return float((row.values * row.weights).sum() / row.weights.sum())


def _quantiles(values: Values) -> dict[str, float]:
    return {f"{share:g}": float(np.quantile(values, share)) for share in _QUANTILES}
