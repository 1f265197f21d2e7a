"""The journal of a run: what was asked, what it may cost, what it cost, and every answer. Nothing else is remembered.

One line per event, each with a checksum over itself and the line before, each on the disk before anything follows from
it. A call is reserved at its worst case before it is sent; the line that settles it holds the answer, so an answer is
paid for and kept in the same instant. A run that was killed reads its journal and knows everything again.

What was reserved and never settled may have been billed: it stays booked at its worst case, as a `doubt`. So the sum of
the ledger is never below the bill, as far as endpoints report what they bill. An endpoint that bills repeated attempts
of one request once, and says so with the header `Idempotent-Replayed`, clears the doubts about that request.
"""

import json
import secrets
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora.config.calling import CallSettings
from alpaca_lora.errors import RunError
from alpaca_lora.teachers import Answer, Usage

__all__ = ["Booking", "Budget", "Ledger"]

_CHECK = ',"crc32":"'
_BALLAST = ".ballast"
_BALLAST_BYTES = 2 * 2**20


@dataclass(frozen=True, slots=True)
class Booking:
    """What a call costs, or may cost."""

    tokens: int = 0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    """Tokens whose price was not known, so that `usd` says nothing of them."""

    def __add__(self, other: "Booking") -> "Booking":
        return Booking(self.tokens + other.tokens, self.usd + other.usd, self.unpriced + other.unpriced)

    def __sub__(self, other: "Booking") -> "Booking":
        return Booking(self.tokens - other.tokens, self.usd - other.usd, self.unpriced - other.unpriced)


@dataclass(frozen=True, slots=True)
class Budget:
    """The caps of a run over all its sessions; None sets none."""

    tokens: int | None = None
    usd: Decimal | None = None

    @classmethod
    def of(cls, settings: CallSettings) -> "Budget":
        """Return the caps that settings give."""
        cap = settings.budget_usd
        return cls(settings.budget_tokens, None if cap is None else Decimal(repr(cap)))

    def admits(self, booking: Booking) -> bool:
        """Return whether a sum stays within both caps."""
        return (self.tokens is None or booking.tokens <= self.tokens) and (self.usd is None or booking.usd <= self.usd)


@dataclass
class Ledger:
    """The events of a run so far; `open` reads them, every other method adds one."""

    path: Path
    run: str = ""
    """Random name of the run, so that no other run's request is taken for one of this."""

    answers: dict[str, Answer] = field(default_factory=dict)
    """By request."""

    skipped: dict[str, str] = field(default_factory=dict)
    """Requests that were given up, with the reason."""

    settled: Booking = Booking()
    """What answers cost."""

    total: Booking = Booking()
    """Everything that was or may be billed, what is under way at its worst; no bill is above it."""

    doubts: dict[int, tuple[str, Booking]] = field(default_factory=dict)
    """Attempts that ended without an answer and may have been billed, with their requests."""

    reserved: dict[int, tuple[str, Booking]] = field(default_factory=dict)
    """Attempts under way."""

    estimated: int = 0
    """Answers whose reported usage was missing or could not be believed, booked at their worst case."""

    faults: dict[str, int] = field(default_factory=dict)
    """Attempts without an answer, by kind of fault."""

    fruitless: Counter[str] = field(default_factory=Counter)
    """The same, by request."""

    attempts: int = 0
    _stream: Any = None
    _crc: int = 0

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["Ledger"]:
        """Read a journal, or begin one; hold the lock of its directory meanwhile.

        Raises:
            RunError: a line does not agree with its checksum, or is no event.
        """
        ledger = cls(path)
        with _files.open_journal(path) as ledger._stream:
            for number, line in enumerate(path.read_text("utf-8", errors="replace").split("\n")[:-1], start=1):
                ledger._read_line(line, number)
            _files.reserve_space(path.with_name(_BALLAST), _BALLAST_BYTES)
            if not ledger.run:
                ledger._add({"event": "start", "run": secrets.token_hex(8)})
            for attempt in list(ledger.reserved):
                ledger.doubt(attempt, "interrupted")
            try:
                yield ledger
            finally:
                path.with_name(_BALLAST).unlink(missing_ok=True)

    @property
    def doubtful(self) -> Booking:
        """Return the worst case of the attempts that ended without an answer."""
        return sum((booking for _, booking in self.doubts.values()), Booking())

    def reserve(self, request: str, booking: Booking) -> int:
        """Book a call at its worst case before it is sent, and return its number."""
        attempt = self.attempts + 1
        self._add({"event": "reserve", "attempt": attempt, "request": request, **_written(booking)})
        return attempt

    def settle(self, attempt: int, booking: Booking, answer: Answer, *, estimated: bool) -> None:
        """Replace a reservation by what the call cost, and keep its answer."""
        usage = answer.usage or Usage(0, 0)
        self._add(
            {
                "event": "answer",
                "attempt": attempt,
                "request": self.reserved[attempt][0],
                **_written(booking),
                "estimated": estimated,
                "usage": [usage.prompt_tokens, usage.completion_tokens],
                "once": answer.once,
                "finish": answer.finish,
                "text": answer.text,
            }
        )

    def release(self, attempt: int, kind: str, text: str = "") -> None:
        """Give back a reservation of a call that was surely not billed."""
        self._add({"event": "release", "attempt": attempt, "kind": kind, "text": text})

    def doubt(self, attempt: int, kind: str, text: str = "") -> None:
        """Leave a reservation booked, as nobody here knows whether the call was billed."""
        self._add({"event": "doubt", "attempt": attempt, "kind": kind, "text": text})

    def skip(self, request: str, reason: str) -> None:
        """Give up a request for good."""
        self._add({"event": "skip", "request": request, "reason": reason})

    def _add(self, event: dict[str, Any]) -> None:
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        crc = zlib.crc32(body.encode("utf-8"), self._crc)
        line = f'{body[:-1]}{_CHECK}{crc:08x}"}}\n'
        try:
            _files.append_durably(self._stream, line)
        except OSError:
            self.path.with_name(_BALLAST).unlink(missing_ok=True)  # room for what is already paid
            if event["event"] == "reserve":
                raise
            _files.append_durably(self._stream, line)
        self._crc = crc
        self._apply(event)

    def _read_line(self, line: str, number: int) -> None:
        body, _, check = line.rpartition(_CHECK)
        body += "}"
        crc = zlib.crc32(body.encode("utf-8"), self._crc)
        if check != f'{crc:08x}"}}':
            raise RunError(
                f"{str(self.path)!r}:{number}: the line does not agree with its checksum, so it was changed or "
                "damaged: restore it from a copy, or give a new output_dir"
            )
        self._crc = crc
        try:
            self._apply(json.loads(body))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise RunError(
                f"{str(self.path)!r}:{number}: the line is no event that this version knows "
                f"({type(error).__name__}: {error}): give a new output_dir"
            ) from error

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start":
            self.run = event["run"]
        elif kind == "skip":
            self.skipped[event["request"]] = event["reason"]
        elif kind == "reserve":
            self.attempts = event["attempt"]
            self.reserved[self.attempts] = (event["request"], _read(event))
            self.total += _read(event)
        else:
            request, booking = self.reserved.pop(event["attempt"])
            if kind == "doubt":
                self.doubts[event["attempt"]] = (request, booking)
            else:
                self.total -= booking
            if kind == "answer":
                self._settle(request, event)
            else:
                self.faults[event["kind"]] = self.faults.get(event["kind"], 0) + 1
                self.fruitless[request] += 1

    def _settle(self, request: str, event: dict[str, Any]) -> None:
        self.settled += _read(event)
        self.total += _read(event)
        self.estimated += event["estimated"]
        self.answers[request] = Answer(
            text=event["text"], finish=event["finish"], usage=Usage(*event["usage"]), once=event["once"]
        )
        if event["once"]:
            for attempt in [number for number, (doubted, _) in self.doubts.items() if doubted == request]:
                self.total -= self.doubts.pop(attempt)[1]


def _written(booking: Booking) -> dict[str, Any]:
    return {"tokens": booking.tokens, "usd": None if booking.unpriced else f"{booking.usd:f}"}


def _read(event: dict[str, Any]) -> Booking:
    if event["usd"] is None:
        return Booking(event["tokens"], unpriced=event["tokens"])
    return Booking(event["tokens"], Decimal(event["usd"]))
