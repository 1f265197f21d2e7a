"""What the votes of a blind comparison say, once its key is open, and what a judge said of the same answers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alpaca_lora.errors import ConfigError
from alpaca_lora.evaluation.annotations import Annotation
from alpaca_lora.evaluation.blind import BlindComparison, Key
from alpaca_lora.evaluation.statistics import Interval, exact_interval, share_interval, sign_test
from alpaca_lora.evaluation.winrate import WinRate, measure_win_rate

__all__ = ["BlindResult", "JudgeBeside", "score_votes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeBeside:
    """A judge's verdicts on the very answers that the rater compared."""

    win_rate: WinRate
    agreed: int
    """Comparisons in which rater and judge have the same winner, or both a draw."""

    compared: int
    """Comparisons on which the judge has a verdict."""

    agreement: Interval
    """95 % interval of the share in which they agree, exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindResult:
    """What a rater prefers; shares are from 0 to 1."""

    model: str
    baseline: str
    comparisons: int
    wins: int
    losses: int
    ties: int
    share: float
    """Of the model, a tie counting half."""

    share_interval: Interval
    """95 % score interval of that."""

    decided: Interval | None
    """95 % interval of wins among the comparisons that are no ties, exact; None where all are ties."""

    p_value: float
    """Exact two-sided sign test of wins and losses."""

    left: int
    """Votes for the left answer."""

    right: int
    sides_p_value: float
    """Exact two-sided sign test of left and right: small for a rater who favours a side."""

    judge: JudgeBeside | None

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        judge = None if self.judge is None else asdict(self.judge) | {"win_rate": self.judge.win_rate.to_json()}
        return asdict(self) | {"judge": judge}


def score_votes(comparison: BlindComparison, key: Key, annotations: Sequence[Annotation] = ()) -> BlindResult:
    """Count the votes of a comparison that is complete.

    Args:
        comparison: with all its votes.
        key: as it was unsealed.
        annotations: a judge's verdicts, those on other answers among them; empty for none.

    Raises:
        ConfigError: none of the annotations is on answers of the comparison, or they are of several judges.
    """
    shares = [
        0.5 if vote == "tie" else float((vote == "left") == model_left)
        for vote, model_left in zip(comparison.votes, key.model_left, strict=True)
    ]
    wins, losses, ties = (shares.count(share) for share in (1.0, 0.0, 0.5))
    left, right = (comparison.votes.count(side) for side in ("left", "right"))
    return BlindResult(
        model=key.model,
        baseline=key.baseline,
        comparisons=len(shares),
        wins=wins,
        losses=losses,
        ties=ties,
        share=sum(shares) / len(shares),
        share_interval=share_interval(shares),
        decided=exact_interval(wins, wins + losses) if wins + losses else None,
        p_value=sign_test(wins, losses),
        left=left,
        right=right,
        sides_p_value=sign_test(left, right),
        judge=_put_beside(comparison, key, shares, annotations) if annotations else None,
    )


def _put_beside(
    comparison: BlindComparison, key: Key, shares: Sequence[float], annotations: Sequence[Annotation]
) -> JudgeBeside:
    judged: dict[tuple[str, str, str], list[Annotation]] = {}
    for row in annotations:
        judged.setdefault((row.instruction, row.output_1, row.output_2), []).append(row)
    found, agreed, compared = [], 0, 0
    for pair, model_left, share in zip(comparison.pairs, key.model_left, shares, strict=True):
        base, model = (pair.right, pair.left) if model_left else (pair.left, pair.right)
        rows = judged.get((pair.instruction, base, model), [])
        found += rows
        if any(row.preference is not None for row in rows) and (rate := measure_win_rate(rows)).n_total:
            compared += 1
            agreed += (rate.n_wins, rate.n_draws) == (share == 1.0, share == 0.5)
    if not compared:
        raise ConfigError(
            f"annotations must be verdicts on answers of {key.model!r} (output_2) against those of {key.baseline!r} "
            "(output_1) that were compared, but none is: let a judge compare the same two files"
        )
    return JudgeBeside(
        win_rate=measure_win_rate(found), agreed=agreed, compared=compared, agreement=exact_interval(agreed, compared)
    )
