"""Win rates from the verdicts of a judge: as AlpacaEval counts them, and with the lengths of the answers taken out.

Raw: the mean share of the model, in per cent, for verdicts of AlpacaEval 1 (a winner) and 2 (weighted by the judge's
log probabilities). Names and figures are those of AlpacaEval's leaderboard.

Length-controlled: the rate that the judge would give if both answers were equally long. Judges like long answers, so
log odds of the model = quality + effect * tanh(characters by which its answer is longer / their deviation), and the
rate is the one at a difference of 0. This model is ours, and its figures are not the leaderboard's. AlpacaEval's
`length_controlled_v1` (Dubois et al., arXiv:2404.04475) has the same length term and also
- a difficulty of each instruction, estimated from all models on its leaderboard; ours has none, so that any evaluation
  set will do;
- rows of its baseline's concise and verbose variants, in a file for `gpt4_1106_preview`; ours takes such rows for your
  baseline, with the same weight, and measures all lengths in the deviation of the model's rows, not of each set's own;
- an L1 penalty chosen by cross-validation; ours is a weak normal prior;
- no error of the fit; ours has an interval, from the covariance clustered by instruction.

Where too few of the model's answers are longer, or too few shorter, its quality cannot be told from the effect of the
lengths by its own rows: then there is no length-controlled rate without the variants.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation.annotations import Annotation
from alpaca_lora.evaluation.logistic import fit_logistic
from alpaca_lora.evaluation.position import PositionBias, measure_position_bias
from alpaca_lora.evaluation.statistics import Interval, share_interval, standard_error

__all__ = ["UNCONTROLLED", "LengthControlled", "WinRate", "measure_win_rate"]

UNCONTROLLED = (
    "no win rate at equal lengths: too few answers are longer than the baseline's, or too few shorter, to tell quality "
    "from length"
)
"""Why a win rate has no length-controlled one."""

_VARIANT_WEIGHT = 0.1
"""Of a row of a variant of the baseline; two of them have AlpacaEval's 0.2 together."""

_FEWEST_ON_A_SIDE = 0.1
"""Smallest share of the comparisons in which the model's answer is the longer one, and the shorter one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControlled:
    """A win rate at equal lengths, in per cent, by the model of this module."""

    win_rate: float
    interval: Interval
    """95 % interval."""

    length_effect: float
    """Change of the log odds when the model's answer gets much longer; positive for a judge that likes length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """How often a judge prefers a model to a baseline; names and units are those of AlpacaEval's leaderboard."""

    model: str
    baseline: str
    annotator: str
    win_rate: float
    """Per cent; a draw counts half, a weighted verdict by its weight."""

    standard_error: float
    """Of `win_rate`, in points; NaN for one comparison."""

    interval: Interval
    """95 % interval of `win_rate`, in per cent, by `share_interval`."""

    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int
    """Comparisons with a preference; the two orders of one comparison count once."""

    n_missing: int
    """Comparisons for which the judge gave no preference; they are left out, as AlpacaEval does."""

    discrete_win_rate: float
    """Per cent, each verdict rounded to a win, a draw or a loss."""

    avg_length: float
    """Mean length of the model's answers, in characters."""

    avg_length_base: float
    """Mean length of the baseline's answers, in characters."""

    length_controlled: LengthControlled | None
    """None where the rows cannot tell quality from length."""

    position_bias: PositionBias | None
    """None where no comparison was judged in both orders."""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; an undefined standard error is null."""
        return asdict(self) | {
            "standard_error": None if np.isnan(self.standard_error) else self.standard_error,
            "position_bias": self.position_bias and self.position_bias._asdict(),
        }


def measure_win_rate(annotations: Sequence[Annotation], *, variants: Sequence[Annotation] = ()) -> WinRate:
    """Score one model against one baseline.

    Args:
        annotations: verdicts of one judge on one model and one baseline.
        variants: verdicts of the same judge on concise and verbose variants of that baseline (`output_2`) against the
            baseline itself, which tell the effect of length from quality.

    Raises:
        ConfigError: the rows are of several models, baselines or judges, none has a preference, or the variants have
            another baseline or judge.

    >>> rows = [Annotation(instruction=str(n), output_1="a", generator_1="old", output_2="b", generator_2="new",
    ...         preference=p) for n, p in enumerate([2, 2, 1, 1.5])]
    >>> rate = measure_win_rate(rows)
    >>> rate.win_rate, rate.n_wins, rate.n_draws
    (62.5, 2, 1)
    """
    model, baseline, annotator = _only_pair(annotations)
    if others := {(item.generator_1, item.annotator) for item in variants} - {(baseline, annotator)}:
        found = "; ".join(f"{base!r} by {judge!r}" for base, judge in sorted(others))
        raise ConfigError(
            f"variants must be judged against {baseline!r} by {annotator!r}, as the model is; got {found}"
        )
    scored, bias = _merge_orders(annotations)
    rows = [item for item in scored if item.preference is not None]
    if not rows:
        raise ConfigError(f"no comparison of {model!r} with {baseline!r} has a preference; judge them again")
    shares = _shares(rows)
    wins, draws = int((shares > 0.5).sum()), int((shares == 0.5).sum())
    low, high = share_interval(shares)
    return WinRate(
        model=model,
        baseline=baseline,
        annotator=annotator,
        win_rate=float(shares.mean()) * 100,
        standard_error=standard_error(shares) * 100,
        interval=Interval(low * 100, high * 100),
        n_wins=wins,
        n_wins_base=len(rows) - wins - draws,
        n_draws=draws,
        n_total=len(rows),
        n_missing=len(scored) - len(rows),
        discrete_win_rate=(wins + draws / 2) / len(rows) * 100,
        avg_length=float(np.mean([len(item.output_2) for item in scored])),
        avg_length_base=float(np.mean([len(item.output_1) for item in scored])),
        length_controlled=_control_length(rows, [item for item in variants if item.preference is not None]),
        position_bias=bias,
    )


def _only_pair(annotations: Sequence[Annotation]) -> tuple[str, str, str]:
    pairs = {(item.generator_2, item.generator_1, item.annotator): None for item in annotations}
    if len(pairs) != 1:
        found = "; ".join(f"{model!r} against {base!r} by {judge!r}" for model, base, judge in pairs) or "no rows"
        raise ConfigError(f"annotations must be of one model, baseline and judge, got {found}")
    return next(iter(pairs))


def _merge_orders(annotations: Sequence[Annotation]) -> tuple[list[Annotation], PositionBias | None]:
    """Return one row per comparison, and what the order did.

    A comparison that was judged in both orders has their mean where both have the same winner, and is a draw else. Of
    several comparisons of the same two answers, the n-th verdict in one order belongs to the n-th in the other.
    """
    groups: dict[tuple[object, ...], list[Annotation]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for number, item in enumerate(annotations):
        compared = (item.instruction, item.output_1, item.output_2)
        if item.is_switched_outputs is None:
            compared = (str(number), "", "")
        seen[*compared, item.is_switched_outputs] += 1
        groups.setdefault((*compared, seen[*compared, item.is_switched_outputs]), []).append(item)
    merged, ahead, behind = [], [], []
    for group in groups.values():
        if len(group) == 1:
            merged += group
            continue
        first, second = (item.share for item in sorted(group, key=lambda item: not item.is_switched_outputs))
        preference = None
        if first is not None and second is not None:
            ahead.append(first)
            behind.append(second)
            survives = (first - 0.5) * (second - 0.5) > 0
            preference = 1 + (first + second) / 2 if survives else 1.5
        merged.append(replace(group[0], preference=preference, is_switched_outputs=None))
    return merged, measure_position_bias(ahead, behind) if ahead else None


def _control_length(rows: Sequence[Annotation], variants: Sequence[Annotation]) -> LengthControlled | None:
    longer = _longer(rows)
    rarer = min(np.mean(longer > 0), np.mean(longer < 0))
    if not variants and longer.any() and rarer < _FEWEST_ON_A_SIDE:
        return None
    deviation = float(longer.std(ddof=1)) if len(rows) > 1 else 0.0
    every = [*rows, *variants]
    own = np.arange(len(every)) < len(rows)
    fit = fit_logistic(
        np.column_stack([own, np.tanh(_longer(every) / (deviation or 1.0))]),
        _shares(every),
        clusters=list(np.unique([item.instruction for item in every], return_inverse=True)[1]),
        weights=np.where(own, 1.0, _VARIANT_WEIGHT),
    )
    share, (low, high) = fit.share()
    return LengthControlled(
        win_rate=share * 100, interval=Interval(low * 100, high * 100), length_effect=float(fit.coefficients[1])
    )


def _longer(rows: Sequence[Annotation]) -> NDArray[np.float64]:
    """Return by how many characters the model's answers are longer than the baseline's."""
    return np.array([len(item.output_2) - len(item.output_1) for item in rows], dtype=float)


def _shares(rows: Sequence[Annotation]) -> NDArray[np.float64]:
    return np.array([item.share for item in rows], dtype=float)
