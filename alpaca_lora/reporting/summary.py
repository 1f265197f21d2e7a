"""What a report needs to know about a run, as plain data.

Whoever ran the training fills these in; everything else in this package only reads them, so a report can be drawn again
from a stored run, in a test, or for a run of another trainer.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from alpaca_lora.reporting.shares import Interval, wilson_interval

__all__ = ["AnswerPair", "DataSummary", "ListedRow", "Metrics", "RunSummary", "Status"]

Metrics = Sequence[Mapping[str, Any]]
"""The lines of metrics.jsonl in the order of the file; see `curve.read_series` for what repeated steps mean."""

Status = Literal["completed", "preempted", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class ListedRow:
    """One row that was not trained on as it stood in the data."""

    origin: str
    """Where the row came from, as `data.jsonl:7`."""

    reason: str
    """Why it was dropped or shortened; rows of one reason are counted together."""

    tokens: int | None = None
    """Length of the whole row before anything was cut; None where it was never encoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """The rows of a run: how many were used, how long they were, and which were not."""

    name: str
    sha256: str
    """Of the source bytes, as 64 hex digits."""

    trained_rows: int
    heldout_rows: int = 0
    dropped: tuple[ListedRow, ...] = ()
    shortened: tuple[ListedRow, ...] = ()
    notes: tuple[str, ...] = ()
    """What the reader of the data announced: column mappings, warnings with counts."""

    length_quantiles: Mapping[float, int] = field(default_factory=dict)
    """Tokens of a trained row at shares of all rows, as {0.0: 31, 0.5: 96, 1.0: 503}."""

    hub_id: str | None = None
    """Hub dataset that the rows came from; None for a file or packaged data."""

    @property
    def dropped_by_reason(self) -> dict[str, int]:
        """Rows dropped for each reason, the most frequent first."""
        return dict(Counter(row.reason for row in self.dropped).most_common())


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPair:
    """One held-out record, answered by the base model and by the tuned one."""

    instruction: str
    input: str = ""
    reference: str
    """The record's own output."""

    before: str
    after: str
    before_stopped: bool
    """Whether the base model ended its answer by itself, before the limit of new tokens."""

    after_stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One fine-tuning run as a person asks about it afterwards."""

    base_model: str
    """As the user named it: an embedded model, a Hub id or a directory."""

    data: DataSummary
    output_dir: str
    status: Status
    steps: int
    """Optimizer steps done, those before a resume included."""

    total_steps: int
    """Optimizer steps planned."""

    seconds: float
    """Wall-clock time of the training loop."""

    tokens_trained: int
    """Tokens that went through the model in training, prompts included, padding not."""

    adapter_parameters: int
    config: Mapping[str, Any]
    """Every setting after all decisions, flat, as {"lora.rank": 16}."""

    decisions: tuple[str, ...] = ()
    """Why each setting left open became what it is."""

    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    command: str = ""
    """Command line that repeats the run; empty where there is none to give."""

    template: str = "alpaca"
    prompt_input: str = ""
    """The template's pattern for records with an input."""

    prompt_no_input: str = ""
    base_model_hub_id: str | None = None
    """Hub repository that the base model's weights descend from; None when unknown."""

    heldout_loss_before: float | None = None
    """Mean negative log-likelihood in nats per supervised token on the held-out rows; None when none were held out."""

    heldout_loss_after: float | None = None
    heldout_tokens: int = 0
    """Supervised tokens that both losses are means over."""

    stop_rate_before: float | None = None
    """Share, 0 to 1, of the answers that ended by themselves within the limit of new tokens."""

    stop_rate_after: float | None = None
    stop_rate_records: int = 0
    """Held-out records answered, the denominator of both rates."""

    samples: tuple[AnswerPair, ...] = ()

    @property
    def heldout_change(self) -> float | None:
        """Relative change of the held-out loss, -0.25 for a quarter less; None unless both losses are finite."""
        before, after = self.heldout_loss_before, self.heldout_loss_after
        if before is None or after is None or not math.isfinite(before) or not math.isfinite(after) or before <= 0:
            return None
        return after / before - 1

    @property
    def stop_rate_interval(self) -> Interval | None:
        """95 % interval of the stop rate after training; None when nothing was answered."""
        total = self.stop_rate_records
        if self.stop_rate_after is None or total == 0:
            return None
        return wilson_interval(self.stop_rate_after * total, total)
