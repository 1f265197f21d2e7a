"""Everything that an evaluation found, and its form in results.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alpaca_lora._runs import environment
from alpaca_lora._version import __version__
from alpaca_lora.config import EvaluationConfig
from alpaca_lora.evaluation import JudgeResult
from alpaca_lora.evaluation.contamination import TrainingData
from alpaca_lora.evaluation.examples import Compared, Example
from alpaca_lora.evaluation.measures import Measure
from alpaca_lora.evaluation.sets import EvaluationSet
from alpaca_lora.evaluation.winrate import WinRate
from alpaca_lora.reporting.wording import public_name

__all__ = ["DroppedRow", "EvaluationResult"]


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row of the set that nothing is reported on."""

    origin: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What `evaluate` found."""

    output_dir: Path
    """Holds report.html, results.json and, for each model, its answers in AlpacaEval's format."""

    evaluated: EvaluationSet
    """The set as it was read; `rows` of it are reported on."""

    rows: int
    dropped: tuple[DroppedRow, ...]
    trained_on: TrainingData | None
    """What the set was compared with; None where nobody knows the training data."""

    other_trained_on: TrainingData | None
    """The same of an adapter that it is compared with; None without one too."""

    models: tuple[Mapping[str, Any], ...]
    """What decides the answers of each model, the adapter first."""

    measures: tuple[Measure, ...]
    tasks: Mapping[str, Mapping[str, Any]]
    """Figures of lm-evaluation-harness itself, by task and model."""

    versions: Mapping[str, str]
    """Of what else decides a figure, as lm-eval's."""

    judged: JudgeResult | None
    compared: tuple[Compared, ...]
    examples: tuple[Example, ...]
    config: EvaluationConfig

    @property
    def report(self) -> Path:
        """Return the page for a person."""
        return self.output_dir / "report.html"

    @property
    def results(self) -> Path:
        """Return the figures for a program."""
        return self.output_dir / "results.json"

    @property
    def win_rate(self) -> WinRate | None:
        """Return the adapter's win rate; None where no judge was asked."""
        return self.judged.win_rate if self.judged else None

    def measure(self, key: str) -> Measure:
        """Return one measure by its key, as `loss`, `stop_rate` or `mmlu/acc,none`."""
        return next(measure for measure in self.measures if measure.quantity.key == key)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold: no time and no directory, so that the same evaluation gives the same bytes."""
        return {
            "alpaca_lora": __version__,
            "set": {
                "name": public_name(self.evaluated.name),
                "sha256": self.evaluated.sha256,
                "read": len(self.evaluated.tasks),
                "rows": self.rows,
                "dropped": [asdict(row) for row in self.dropped],
            },
            "trained_on": _described(self.trained_on),
            "other_trained_on": _described(self.other_trained_on),
            "models": list(self.models),
            "config": self.config.model_dump(mode="json"),
            "measures": [measure.to_json() for measure in self.measures],
            "judge": self.judged and self.judged.to_json(),
            "tasks": self.tasks,
            "environment": environment() | dict(self.versions),
        }


def _described(trained: TrainingData | None) -> dict[str, Any] | None:
    if trained is None:
        return None
    return {"name": public_name(trained.name), "sha256": trained.sha256, "rows": len(trained.records)}
