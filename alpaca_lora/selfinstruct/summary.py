"""What a run of generation made, what it cost, and where each task went: as data, and for a terminal."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from alpaca_lora.selfinstruct.calls import Status
from alpaca_lora.selfinstruct.choosing import Decision
from alpaca_lora.selfinstruct.ledger import Booking, Budget

__all__ = ["ALPACA_USD_PER_ROW", "CHANGES", "Coverage", "Forecast", "GenerationSummary", "render_generation", "usd"]

ALPACA_USD_PER_ROW = Decimal("0.0096")
"""At most: Stanford names less than $500 for its 52,002 rows."""

CHANGES = {"budget": ", with a larger budget", "dry": ", with a larger --patience", "pilot": ", without --pilot"}
"""What the same command needs to go on where it ended, if that is anything, by status."""

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the whole run would take, if it goes on as it began."""

    requests: int
    usd: Decimal | None
    """None where the price is not known."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often each first word, and each topic, occurs among the kept tasks, the most frequent first."""

    verbs: Mapping[str, int]
    topics: Mapping[str, int]
    """Topics that were asked for and gave no row are here with 0."""

    with_input: int
    classification: int

    @classmethod
    def of(cls, kept: Sequence[Decision], topics: Sequence[str]) -> "Coverage":
        """Count the kept tasks of a run."""
        records = [decision.record for decision in kept if decision.record is not None]
        found = Counter(decision.topic for decision in kept if decision.topic)
        return cls(
            verbs=dict(Counter(_first_word(record.instruction) for record in records).most_common()),
            topics=dict(found.most_common()) | {topic: 0 for topic in topics if topic not in found},
            with_input=sum(bool(record.input) for record in records),
            classification=sum(decision.classification for decision in kept),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSummary:
    """One run of generation."""

    status: Status
    reason: str
    """Why it ended, where that is not because it is complete."""

    profile: str
    models: Mapping[str, str]
    """By role: `tasks`, `answers`, `judge`."""

    wanted: int
    kept: int
    requests: int
    """Requests for tasks that were looked at; answers beyond the last kept row wait in the journal."""

    dropped: Mapping[str, int]
    """Pieces of answers that are no rows, by rule."""

    settled: Booking
    doubtful: Booking
    budget: Budget
    priced: bool
    """Whether costs are known; if not, only tokens are counted."""

    estimated: int
    faults: Mapping[str, int]
    skipped: Mapping[str, str]
    coverage: Coverage
    deviations: Sequence[str]
    notes: Sequence[str]

    @property
    def pieces(self) -> int:
        """Return how many pieces there were: every one was kept or dropped."""
        return self.kept + sum(self.dropped.values())

    @property
    def usd_per_row(self) -> Decimal | None:
        """Return what a kept row costs, doubts included; None without rows or without prices."""
        return (self.settled.usd + self.doubtful.usd) / self.kept if self.priced and self.kept else None

    @property
    def forecast(self) -> Forecast | None:
        """Return what all wanted rows would take at the rate so far; None without a row."""
        if not self.kept:
            return None
        scale = Decimal(self.wanted) / self.kept
        booked = self.settled + self.doubtful
        spent = booked.usd * scale if self.priced else None
        return Forecast(-(-self.requests * self.wanted // self.kept), spent, int(booked.tokens * scale))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; money as decimal text."""
        values = asdict(self) | {"pieces": self.pieces, "usd_per_row": self.usd_per_row}
        for booking in (values["settled"], values["doubtful"]):
            del booking["unpriced"]  # which `priced` says
        plain: dict[str, Any] = _plain(values)
        return plain


def render_generation(summary: GenerationSummary, *, output_dir: str) -> str:
    """Render a run for the terminal: rows, funnel, ledger, coverage, and what to do next."""
    return "\n".join(
        [
            *_head(summary),
            "",
            *_funnel(summary),
            "",
            *_ledger(summary),
            "",
            *_coverage(summary.coverage),
            *(f"! {note}" for note in summary.notes),
            "",
            f"records     {output_dir}/records.jsonl",
            f"decisions   {output_dir}/decisions.jsonl (why each piece is in or out)",
            *_next(summary, output_dir),
        ]
    )


def usd(amount: Decimal | float) -> str:
    """Return an amount of money: two places from a dollar up, else four, or as many as its first digit needs."""
    value = Decimal(amount)
    if not value:
        return "$0"
    if value >= 1:
        return f"${value:,.2f}"
    return f"${value:.{max(4, 1 - value.adjusted())}f}"


def _head(summary: GenerationSummary) -> Iterator[str]:
    models = ", ".join(f"{role} by {model}" for role, model in summary.models.items())
    yield f"{summary.kept:,} of {summary.wanted:,} rows after {summary.requests:,} requests ({models})"
    if summary.reason:
        yield f"{summary.status}: {summary.reason}"
    if (forecast := summary.forecast) is not None and summary.kept < summary.wanted:
        cost = f"{forecast.tokens:,} tokens" if forecast.usd is None else usd(forecast.usd)
        yield f"forecast: {forecast.requests:,} requests and {cost} for all {summary.wanted:,} rows at this rate"
    yield ""
    count = len(summary.deviations)
    yield f"profile {summary.profile}, {count} deviations from the published generator:"
    yield from (f"- {text}" for text in summary.deviations)


def _funnel(summary: GenerationSummary) -> Iterator[str]:
    rows = [("pieces in the answers", summary.pieces), *summary.dropped.items(), ("kept", summary.kept)]
    width, digits = max(len(name) for name, _ in rows) + 2, len(f"{summary.pieces:,}") + 1
    for place, (name, number) in enumerate(rows):
        dropped = 0 < place < len(rows) - 1
        label = f"  {name}" if dropped else name
        yield f"{label:<{width}}{('-' if dropped else '') + format(number, ','):>{digits}}"


def _ledger(summary: GenerationSummary) -> Iterator[str]:
    def cost(booking: Booking) -> str:
        return f"{booking.tokens:,} tokens, {usd(booking.usd) if summary.priced else 'price unknown'}"

    yield f"spent       {cost(summary.settled)}"
    if summary.doubtful.tokens:
        yield f"in doubt    at most {cost(summary.doubtful)}: calls without an answer that may have been billed"
    caps = [usd(summary.budget.usd)] if summary.budget.usd is not None else []
    caps += [f"{summary.budget.tokens:,} tokens"] if summary.budget.tokens is not None else []
    yield f"budget      {' and '.join(caps) or 'none'}"
    if summary.usd_per_row is not None:
        yield f"per row     {usd(summary.usd_per_row)} (Alpaca: at most {usd(ALPACA_USD_PER_ROW)})"
    if summary.faults:
        listed = ", ".join(f"{number:,} {kind}" for kind, number in summary.faults.items())
        yield f"faults      {listed}; {len(summary.skipped):,} requests given up"
    if summary.estimated:
        yield f"estimated   {summary.estimated:,} answers without believable usage are booked at their worst case"


def _coverage(coverage: Coverage) -> Iterator[str]:
    yield f"kinds       {coverage.with_input:,} with input, {coverage.classification:,} asked as classification"
    for title, counts in (("verbs", coverage.verbs), ("topics", coverage.topics)):
        if counts:
            shown = ", ".join(f"{name} {number:,}" for name, number in list(counts.items())[:_SHOWN])
            empty = sum(number == 0 for number in counts.values())
            rest = f"; {len(counts) - _SHOWN:,} more" if len(counts) > _SHOWN else ""
            yield f"{title:<12}{shown}{rest}{f'; {empty:,} without a row' if empty else ''}"


def _next(summary: GenerationSummary, output_dir: str) -> Iterator[str]:
    if summary.kept:
        yield f"try it      alpaca-lora finetune --data {output_dir}/records.jsonl"
    if summary.status != "completed":
        yield f"go on       the same command{CHANGES.get(summary.status, '')}; no answer is paid twice"


def _first_word(instruction: str) -> str:
    words = [word.strip(".,:;!?\"'()") for word in instruction.lower().split()]
    polite = {"please", "can", "could", "would", "you", "kindly"}
    return next((word for word in words if word and word not in polite), "")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return f"{value:f}" if isinstance(value, Decimal) else value
