"""What a judge found of a model and its baseline, and what it cost."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from alpaca_lora.evaluation.statistics import Interval, exact_interval
from alpaca_lora.evaluation.winrate import WinRate

__all__ = ["JudgeResult"]

_ANNOTATIONS = "annotations.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeResult:
    """What a judge found, and what it cost."""

    directory: Path
    win_rate: WinRate
    """Of the model against the baseline; a win that does not survive the swap is a draw."""

    comparisons: int
    identical: int
    """Comparisons of two equal answers, which are draws that nobody was asked about."""

    answers_without_verdict: int
    """Refusals, empty answers and whatever else was no verdict; they were paid for and decided nothing."""

    repeated: int
    """Verdicts that were given a second time."""

    repeated_alike: int
    """Those in which the judge agreed with itself."""

    tokens: int
    usd: str | None
    """What the answers cost, exactly; None where the price is not known."""

    doubtful_tokens: int
    """Worst case of the attempts that ended without an answer and may have been billed."""

    judge: dict[str, Any]
    """What decides its verdicts, as model and endpoint."""

    prompt_sha256: str
    seed: int
    notes: tuple[str, ...]

    @property
    def annotations(self) -> Path:
        """Return where the verdicts are, in AlpacaEval's format."""
        return self.directory / _ANNOTATIONS

    @property
    def self_consistency(self) -> Interval | None:
        """Return the 95 % interval of how often the judge agrees with itself; None where it was not asked twice."""
        return exact_interval(self.repeated_alike, self.repeated) if self.repeated else None

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "directory"}
        return values | {"win_rate": self.win_rate.to_json(), "self_consistency": self.self_consistency}
